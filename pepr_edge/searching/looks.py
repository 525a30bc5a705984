"""Device first: every candidate is measured before a joule goes into its training, and those that break a budget are rejected."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from pepr_edge.engine.bench import Bench
from pepr_edge.engine.engine import Engine
from pepr_edge.errors import MeasurementError
from pepr_edge.export.untrained import looked_at
from pepr_edge.field.rules import early_stopping_percentile, overlatency_allowed
from pepr_edge.field.runtimes.pytorch import PROGRAM
from pepr_edge.ranking import over_budget
from pepr_edge.recipe import Recipe
from pepr_edge.records import Candidate, FirstLook
from pepr_edge.results import LOOK, LOOKS, Results, candidate_folder, current_look, look_key
from pepr_edge.searching.jobs import carry_out, job_of
from pepr_edge.store import sha256_file, write_record
from pepr_edge.view import View

MODEL = "model.onnx"
# What a figure may be off by: memory varies with what the allocator does, a quantised file with what folds once it is trained.
MEMORY_TOLERANCE, SIZE_TOLERANCE = 1.1, 1.05
# A ladder tries more variants, runtimes and options than are looked at. So many times as fast its choice may be: set wide, not measured.
LADDER_GAIN = 3.0

Looks = dict[str, tuple[FirstLook, ...]]


def looks_wanted(recipe: Recipe) -> bool:
    """Whether the device comes first: where it may reject something, or a search needs what a candidate uses there."""
    return bool(recipe.limits()) or recipe.search.chooses


def look(results: Results, folders: Mapping[int, Path], engine: Engine, bench: Bench, view: View) -> Looks:
    """First looks at the candidates by id, in each variant that is looked at. A current one is not taken again unless it failed."""
    _forget_failures(results, bench)
    waiting = [one for one in results.info.candidates if not _is_settled(results, one, bench)]
    jobs = [job_of(results, one, folders, engine, first_look=True) for one in waiting]
    carry_out(jobs, engine, "files for first looks", view)
    with bench.held(), view.bar("first looks") as bar:
        for done, candidate in enumerate(waiting):
            bar.to(done, len(waiting), candidate.id)
            for variant, found in zip(looked_at(results.recipe.export), _current(results, candidate, bench), strict=True):
                if found is None and not _is_settled(results, candidate, bench):
                    _measure(results, candidate, bench, variant)
            _look_again(results, candidate, bench)
    for candidate in results.info.candidates:
        # The files are as large as the models, and no longer needed.
        for variant in looked_at(results.recipe.export):
            for name in (MODEL, PROGRAM):
                (candidate_folder(results.folder, candidate) / LOOKS / variant / name).unlink(missing_ok=True)
    return {one.id: tuple(found for found in _current(results, one, bench) if found is not None) for one in results.info.candidates}


def _forget_failures(results: Results, bench: Bench) -> None:
    """What could not be measured is tried again in each run: a process that was killed says nothing of a model."""
    for candidate in results.info.candidates:
        for found in _current(results, candidate, bench):
            if found is not None and found.profile is None and found.machine is not None:
                (candidate_folder(results.folder, candidate) / LOOKS / found.variant / LOOK).unlink()


def _is_settled(results: Results, candidate: Candidate, bench: Bench) -> bool:
    """Whether a candidate needs no more looks: a policy weighs all of its variants; without one, one that keeps the budgets will do."""
    found = _current(results, candidate, bench)
    if None not in found or results.recipe.search.chooses:
        return None not in found
    trained = (entry.candidate for entry in results.entries if entry.trained is not None)
    return candidate in trained or any(one.profile is not None and not _broken(one, results.recipe) for one in found if one is not None)


def _current(results: Results, candidate: Candidate, bench: Bench) -> tuple[FirstLook | None, ...]:
    folder, recipe = candidate_folder(results.folder, candidate), results.recipe
    return tuple(current_look(folder, variant, recipe, candidate, bench.machine) for variant in looked_at(recipe.export))


def _measure(results: Results, candidate: Candidate, bench: Bench, variant: str, before: FirstLook | None = None) -> None:
    """Look at one file, if there is one, and write down what was seen; of two looks the quicker stands."""
    folder = candidate_folder(results.folder, candidate) / LOOKS / variant
    path, px, device = folder / MODEL, candidate.image_size_px, results.recipe.device
    if not path.is_file():
        return
    key = look_key(candidate, variant, results.recipe)
    found = FirstLook(key=key, candidate=candidate, variant=variant, machine=bench.machine, size_bytes=path.stat().st_size)
    shape = (1, candidate.in_channels, px, px)
    try:
        seen = bench.profile(
            path, sha256_file(path), device.settings(), rules="look", input_shape=shape, watts_per_core=device.watts_per_core
        )
        found = found.model_copy(update={"profile": seen})
    except MeasurementError as fault:
        found = found.model_copy(update={"reason": str(fault)})
    if before is None or (latency_s(found) or math.inf) < (latency_s(before) or math.inf):
        write_record(folder / LOOK, found)


def _look_again(results: Results, candidate: Candidate, bench: Bench) -> None:
    """Once more at what would be rejected: another program may have been in the way."""
    current = [found for found in _current(results, candidate, bench) if found is not None]
    if rejection(current, results.recipe):
        for found in current:
            if found.profile is not None:
                _measure(results, candidate, bench, found.variant, before=found)


def rejection(looks: Sequence[FirstLook], recipe: Recipe) -> str:
    """Why none of a candidate's variants can keep the budgets, for all that its looks are uncertain; empty where one may."""
    if not looks or any(found.profile is None for found in looks) or len(looks) < len(looked_at(recipe.export)):
        return ""  # what could not be looked at may still be within them
    broken = {found.variant: "; ".join(_broken(found, recipe)) for found in looks}
    if not all(broken.values()):
        return ""
    quickest = min(looks, key=lambda found: latency_s(found) or math.inf)
    return f"before its training: {quickest.variant} {broken[quickest.variant]}"


def _broken(found: FirstLook, recipe: Recipe) -> list[str]:
    """The budgets that a variant breaks by more than its look is uncertain, in words that give what was measured."""
    assert found.profile is not None
    assert found.size_bytes is not None
    memory = found.profile.peak_memory_bytes
    at_least = {
        "latency_p90_s": p90_at_least_s(found.profile.latencies_s) / (LADDER_GAIN if recipe.export.auto else 1.0),
        "peak_memory_bytes": memory / MEMORY_TOLERANCE if memory is not None else 0.0,
        "size_bytes": found.size_bytes / SIZE_TOLERANCE,
    }
    surely = {name: limit for name, limit in recipe.limits().items() if at_least[name] > limit}
    return over_budget(surely, {"latency": latency_s(found), "peak_memory": memory}, found.size_bytes)


def latency_s(found: FirstLook) -> float | None:
    """The p90 that was seen, if any."""
    return early_stopping_percentile(found.profile.latencies_s, 0.9) if found.profile is not None else None


def p90_at_least_s(latencies_s: Sequence[float]) -> float:
    """What the p90 is at least, with the confidence of early stopping."""
    return sorted(latencies_s)[max(0, overlatency_allowed(len(latencies_s), 0.1))]
