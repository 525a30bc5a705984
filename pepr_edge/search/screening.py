"""Device first: every candidate is measured before a joule goes into its training, and those that break a budget are rejected."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from pepr_edge.engine.engine import Engine
from pepr_edge.engine.measurement_host import MeasurementHost
from pepr_edge.errors import MeasurementError
from pepr_edge.export.untrained import screened_variants
from pepr_edge.measure.runtimes.pytorch import PROGRAM
from pepr_edge.progress import ProgressView
from pepr_edge.ranking import over_budget
from pepr_edge.recipe import Recipe
from pepr_edge.records import Candidate, ScreeningResult
from pepr_edge.run_dir.keys import SCREENING, SCREENINGS, candidate_folder, screening_key
from pepr_edge.run_dir.reader import Results, current_screening
from pepr_edge.run_dir.store import sha256_file, write_record
from pepr_edge.scoring.percentiles import early_stopping_percentile, overlatency_allowed
from pepr_edge.search.jobs import carry_out, job_of

MODEL = "model.onnx"
# What a figure may be off by: memory varies with what the allocator does, a quantised file with what folds once it is trained.
MEMORY_TOLERANCE, SIZE_TOLERANCE = 1.1, 1.05
# A ladder tries more variants, runtimes and options than are looked at. So many times as fast its choice may be: set wide, not measured.
AUTOTUNE_GAIN = 3.0

Screenings = dict[str, tuple[ScreeningResult, ...]]


def is_screening_wanted(recipe: Recipe) -> bool:
    """Whether the device comes first: where it may reject something, or a search needs what a candidate uses there."""
    return bool(recipe.limits()) or recipe.search.chooses


def screen(
    results: Results, folders: Mapping[int, Path], engine: Engine, host: MeasurementHost, view: ProgressView
) -> Screenings:
    """First looks at the candidates by id, in each variant that is looked at. A current one is not taken again unless it failed."""
    _forget_failures(results, host)
    waiting = [one for one in results.info.candidates if not _is_settled(results, one, host)]
    jobs = [job_of(results, one, folders, engine, screening=True) for one in waiting]
    carry_out(jobs, engine, "files for first looks", view)
    with host.reserve(), view.bar("first looks") as bar:
        for done, candidate in enumerate(waiting):
            bar.to(done, len(waiting), candidate.id)
            for variant, found in zip(
                screened_variants(results.recipe.export), _current(results, candidate, host), strict=True
            ):
                if found is None and not _is_settled(results, candidate, host):
                    _measure(results, candidate, host, variant)
            _screen_again(results, candidate, host)
    for candidate in results.info.candidates:
        # The files are as large as the models, and no longer needed.
        for variant in screened_variants(results.recipe.export):
            for name in (MODEL, PROGRAM):
                (candidate_folder(results.folder, candidate) / SCREENINGS / variant / name).unlink(
                    missing_ok=True
                )
    return {
        one.id: tuple(found for found in _current(results, one, host) if found is not None)
        for one in results.info.candidates
    }


def _forget_failures(results: Results, host: MeasurementHost) -> None:
    """What could not be measured is tried again in each run: a process that was killed says nothing of a model."""
    for candidate in results.info.candidates:
        for found in _current(results, candidate, host):
            if found is not None and found.profile is None and found.machine is not None:
                (
                    candidate_folder(results.folder, candidate) / SCREENINGS / found.variant / SCREENING
                ).unlink()


def _is_settled(results: Results, candidate: Candidate, host: MeasurementHost) -> bool:
    """Whether a candidate needs no more looks: a policy weighs all of its variants; without one, one that keeps the budgets will do."""
    found = _current(results, candidate, host)
    if None not in found or results.recipe.search.chooses:
        return None not in found
    trained = (entry.candidate for entry in results.entries if entry.trained is not None)
    return candidate in trained or any(
        one.profile is not None and not _broken(one, results.recipe) for one in found if one is not None
    )


def _current(
    results: Results, candidate: Candidate, host: MeasurementHost
) -> tuple[ScreeningResult | None, ...]:
    folder, recipe = candidate_folder(results.folder, candidate), results.recipe
    return tuple(
        current_screening(folder, variant, recipe, candidate, host.machine)
        for variant in screened_variants(recipe.export)
    )


def _measure(
    results: Results,
    candidate: Candidate,
    host: MeasurementHost,
    variant: str,
    before: ScreeningResult | None = None,
) -> None:
    """Look at one file, if there is one, and write down what was seen; of two looks the quicker stands."""
    folder = candidate_folder(results.folder, candidate) / SCREENINGS / variant
    path, px, device = folder / MODEL, candidate.image_size_px, results.recipe.device
    if not path.is_file():
        return
    key = screening_key(candidate, variant, results.recipe)
    found = ScreeningResult(
        key=key, candidate=candidate, variant=variant, machine=host.machine, size_bytes=path.stat().st_size
    )
    shape = (1, candidate.in_channels, px, px)
    try:
        seen = host.profile(
            path,
            sha256_file(path),
            device.settings(),
            rules="look",
            input_shape=shape,
            watts_per_core=device.watts_per_core,
        )
        found = found.model_copy(update={"profile": seen})
    except MeasurementError as fault:
        found = found.model_copy(update={"reason": str(fault)})
    if before is None or (latency_s(found) or math.inf) < (latency_s(before) or math.inf):
        write_record(folder / SCREENING, found)


def _screen_again(results: Results, candidate: Candidate, host: MeasurementHost) -> None:
    """Once more at what would be rejected: another program may have been in the way."""
    current = [found for found in _current(results, candidate, host) if found is not None]
    if rejection(current, results.recipe):
        for found in current:
            if found.profile is not None:
                _measure(results, candidate, host, found.variant, before=found)


def rejection(screenings: Sequence[ScreeningResult], recipe: Recipe) -> str:
    """Why none of a candidate's variants can keep the budgets, for all that its looks are uncertain; empty where one may."""
    if (
        not screenings
        or any(found.profile is None for found in screenings)
        or len(screenings) < len(screened_variants(recipe.export))
    ):
        return ""  # what could not be looked at may still be within them
    broken = {found.variant: "; ".join(_broken(found, recipe)) for found in screenings}
    if not all(broken.values()):
        return ""
    quickest = min(screenings, key=lambda found: latency_s(found) or math.inf)
    return f"before its training: {quickest.variant} {broken[quickest.variant]}"


def _broken(found: ScreeningResult, recipe: Recipe) -> list[str]:
    """The budgets that a variant breaks by more than its look is uncertain, in words that give what was measured."""
    assert found.profile is not None
    assert found.size_bytes is not None
    memory = found.profile.peak_memory_bytes
    at_least = {
        "latency_p90_s": p90_at_least_s(found.profile.latencies_s)
        / (AUTOTUNE_GAIN if recipe.export.auto else 1.0),
        "peak_memory_bytes": memory / MEMORY_TOLERANCE if memory is not None else 0.0,
        "size_bytes": found.size_bytes / SIZE_TOLERANCE,
    }
    surely = {name: limit for name, limit in recipe.limits().items() if at_least[name] > limit}
    return over_budget(surely, {"latency": latency_s(found), "peak_memory": memory}, found.size_bytes)


def latency_s(found: ScreeningResult) -> float | None:
    """The p90 that was seen, if any."""
    return early_stopping_percentile(found.profile.latencies_s, 0.9) if found.profile is not None else None


def p90_at_least_s(latencies_s: Sequence[float]) -> float:
    """What the p90 is at least, with the confidence of early stopping."""
    return sorted(latencies_s)[max(0, overlatency_allowed(len(latencies_s), 0.1))]
