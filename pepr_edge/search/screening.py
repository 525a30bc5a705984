"""Screening: measure every candidate untrained on the device, and reject those that cannot keep a budget."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from pepr_edge.engine.engine import Engine
from pepr_edge.engine.job import CandidateFiles
from pepr_edge.engine.measurement_host import MeasurementHost
from pepr_edge.errors import MeasurementError
from pepr_edge.export.screened import screened_variants
from pepr_edge.measure.runtimes.pytorch import PROGRAM
from pepr_edge.progress import ProgressView
from pepr_edge.ranking import over_budget
from pepr_edge.recipe import Recipe
from pepr_edge.records import Candidate, ProfileRequest, ScreeningResult
from pepr_edge.run_dir.current import current_screening
from pepr_edge.run_dir.keys import screening_key
from pepr_edge.run_dir.layout import MODEL, SCREENING, candidate_folder, screening_folder
from pepr_edge.run_dir.reader import Results
from pepr_edge.run_dir.store import sha256_file, write_record
from pepr_edge.scoring.percentiles import early_stopping_percentile, overlatency_allowed
from pepr_edge.search.jobs import make_job, run_jobs

# Peak memory varies with the allocator. A quantised file varies with what can be folded after training.
MEMORY_TOLERANCE = 1.1
SIZE_TOLERANCE = 1.05
# Autotune tries more variants, runtimes and options than screening, and may find one that is this many times
# faster. A wide assumption, not measured.
AUTOTUNE_GAIN = 3.0

Screenings = dict[str, tuple[ScreeningResult, ...]]


def is_screening_wanted(recipe: Recipe) -> bool:
    """True if there is a budget to break, or a search that needs the resources on the device."""
    return bool(recipe.limits()) or recipe.search.adaptive


def screen(
    results: Results,
    files: CandidateFiles,
    engine: Engine,
    host: MeasurementHost,
    view: ProgressView,
) -> Screenings:
    """Screen the candidates of a run, and return the screenings by candidate id.

    Current screenings are reused. A failed measurement is repeated in each run: a process that was killed
    does not prove anything about the model.
    """
    _delete_failed(results, host)
    waiting = [
        candidate for candidate in results.info.candidates if not _is_settled(results, candidate, host)
    ]
    jobs = [make_job(results, candidate, files, engine, kind="screen") for candidate in waiting]
    run_jobs(jobs, engine, "files for screening", view)
    variants = screened_variants(results.recipe.export)
    with host.reserve(), view.bar("screening") as bar:
        for done, candidate in enumerate(waiting):
            bar.update(done, len(waiting), candidate.id)
            known = _current(results, candidate, host)
            for variant in variants:
                if known[variant] is None and not _is_settled(results, candidate, host):
                    _measure(results, candidate, host, variant)
            _repeat_if_rejected(results, candidate, host)
    for candidate in results.info.candidates:
        for variant in variants:
            # As large as the models, and no longer needed.
            folder = _folder(results, candidate, variant)
            (folder / MODEL).unlink(missing_ok=True)
            (folder / PROGRAM).unlink(missing_ok=True)
    return {candidate.id: _known(results, candidate, host) for candidate in results.info.candidates}


def _folder(results: Results, candidate: Candidate, variant: str) -> Path:
    return screening_folder(candidate_folder(results.folder, candidate), variant)


def _delete_failed(results: Results, host: MeasurementHost) -> None:
    for candidate in results.info.candidates:
        for screening in _known(results, candidate, host):
            if screening.profile is None and screening.machine is not None:
                (_folder(results, candidate, screening.variant) / SCREENING).unlink()


def _is_settled(results: Results, candidate: Candidate, host: MeasurementHost) -> bool:
    """True if a candidate needs no more screening.

    A policy needs all variants. Without a policy, one variant within the budgets or a training is enough.
    """
    screenings = _current(results, candidate, host).values()
    if None not in screenings:
        return True
    if results.recipe.search.adaptive:
        return False
    if any(entry.candidate == candidate and entry.trained is not None for entry in results.entries):
        return True
    return any(
        screening.profile is not None and not _broken_budgets(screening, results.recipe)
        for screening in screenings
        if screening is not None
    )


def _current(
    results: Results, candidate: Candidate, host: MeasurementHost
) -> dict[str, ScreeningResult | None]:
    """Return the current screening of each variant; None if there is none."""
    folder = candidate_folder(results.folder, candidate)
    return {
        variant: current_screening(folder, variant, results.recipe, candidate, host.machine)
        for variant in screened_variants(results.recipe.export)
    }


def _known(results: Results, candidate: Candidate, host: MeasurementHost) -> tuple[ScreeningResult, ...]:
    """Return the current screenings of a candidate."""
    screenings = _current(results, candidate, host).values()
    return tuple(screening for screening in screenings if screening is not None)


def _measure(
    results: Results,
    candidate: Candidate,
    host: MeasurementHost,
    variant: str,
    before: ScreeningResult | None = None,
) -> None:
    """Measure a variant, if its file exists, and record the result, unless `before` was faster."""
    folder = _folder(results, candidate, variant)
    path = folder / MODEL
    if not path.is_file():
        return
    px = candidate.image_size_px
    device = results.recipe.device
    profile = None
    reason = ""
    try:
        request = ProfileRequest(
            sha256=sha256_file(path),
            settings=device.settings(),
            rules="look",
            input_shape=(1, candidate.in_channels, px, px),
            watts_per_core=device.watts_per_core,
        )
        profile = host.profile(path, request)
    except MeasurementError as fault:
        reason = str(fault)
    screening = ScreeningResult(
        key=screening_key(candidate, variant, results.recipe),
        candidate=candidate,
        variant=variant,
        machine=host.machine,
        size_bytes=path.stat().st_size,
        profile=profile,
        reason=reason,
    )
    if before is None or _latency_or_inf(screening) < _latency_or_inf(before):
        write_record(folder / SCREENING, screening)


def _repeat_if_rejected(results: Results, candidate: Candidate, host: MeasurementHost) -> None:
    """Measure a candidate again before rejecting it: another program may have disturbed the measurement."""
    screenings = _known(results, candidate, host)
    if rejection(screenings, results.recipe):
        for screening in screenings:
            if screening.profile is not None:
                _measure(results, candidate, host, screening.variant, before=screening)


def rejection(screenings: Sequence[ScreeningResult], recipe: Recipe) -> str:
    """Return why no variant of a candidate can keep the budgets; empty if one may.

    Measured values are corrected by their uncertainty in favour of the candidate.
    """
    is_measured = all(screening.profile is not None for screening in screenings)
    if not screenings or not is_measured or len(screenings) < len(screened_variants(recipe.export)):
        return ""  # an unmeasured variant may keep the budgets
    broken = {screening.variant: _broken_budgets(screening, recipe) for screening in screenings}
    if not all(broken.values()):
        return ""
    fastest = min(screenings, key=_latency_or_inf).variant
    return f"before its training: {fastest} {'; '.join(broken[fastest])}"


def _broken_budgets(screening: ScreeningResult, recipe: Recipe) -> list[str]:
    """Return the budgets that a variant breaks by more than the uncertainty, with the measured values."""
    assert screening.profile is not None
    assert screening.size_bytes is not None
    memory = screening.profile.peak_memory_bytes
    gain = AUTOTUNE_GAIN if recipe.export.auto else 1.0
    minimum = {
        "latency_p90_s": p90_at_least_s(screening.profile.latencies_s) / gain,
        "peak_memory_bytes": 0.0 if memory is None else memory / MEMORY_TOLERANCE,
        "size_bytes": screening.size_bytes / SIZE_TOLERANCE,
    }
    broken = {name: limit for name, limit in recipe.limits().items() if minimum[name] > limit}
    resources = {"latency": latency_s(screening), "peak_memory": memory}
    return over_budget(broken, resources, screening.size_bytes)


def latency_s(screening: ScreeningResult) -> float | None:
    """Return the measured p90; None if it was not measured."""
    if screening.profile is None:
        return None
    return early_stopping_percentile(screening.profile.latencies_s, 0.9)


def _latency_or_inf(screening: ScreeningResult) -> float:
    return latency_s(screening) or math.inf


def p90_at_least_s(latencies_s: Sequence[float]) -> float:
    """Return a lower bound of the p90, with the confidence of early stopping."""
    return sorted(latencies_s)[max(0, overlatency_allowed(len(latencies_s), 0.1))]
