"""One artifact of a run as a row of the ranking: what was measured of it and its status. No score or rank yet."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from pepr_edge.ranking.field import ABSENT, FieldFindings, Measured
from pepr_edge.records import NOT_DONE, CostEstimate, DeviceProfile, RankingRow, TrainResult
from pepr_edge.run_dir.reader import VariantState, performance, used

# An epoch takes as long as another. Where their mean is so many times the quickest quarter's, something else was at work. On machines left
# alone it was at most 1.2 times.
UNEVEN, LEAST_EPOCHS = 1.5, 4


def row_of(
    entry: VariantState,
    metric: str,
    performances: Mapping[str, Any],
    budgets: Mapping[str, float],
    images: int | None,
    measured: Measured | None,
) -> RankingRow:
    """What was measured of an entry, and its status.

    Args:
        entry: one candidate in one variant.
        metric: whose value on validation is its performance.
        performances: its values of the metric, see `performances_of`.
        budgets: in SI units, see `Recipe.limits`.
        images: of the training split; None where that is not known.
        measured: in the field, which takes the place of what was measured here.
    """
    resources, methods = used(entry, images)
    ahead = _prospect(entry)
    if ahead is not None:
        resources, methods = resources | ahead.resources, methods | ahead.methods
    found = (
        measured.get(entry.artifact.sha256, FieldFindings(against=ABSENT))
        if measured is not None and entry.artifact is not None
        else None
    )
    if found is not None:
        resources |= {name: figure.value for name, figure in found.figures.items()}
        methods |= {name: figure.method for name, figure in found.figures.items()}
    row = RankingRow(
        rank=None,
        candidate=entry.candidate.id,
        architecture=entry.candidate.architecture,
        variant=entry.variant,
        status="failed",
        num_params=entry.trained.num_params if entry.trained else None,
        size_bytes=entry.artifact.size_bytes if entry.artifact else ahead.size_bytes if ahead else None,
        artifact_sha256=entry.artifact.sha256 if entry.artifact else None,
        inference_energy_j=resources.pop("inference_energy"),
        resources=resources,
        methods=methods,
        **performances,
    )
    return row.model_copy(update=_standing(entry, row, metric, budgets, found))


def _prospect(entry: VariantState) -> CostEstimate | None:
    """What a candidate that was spared its training would use in this variant, as far as it is known; for a ladder, in its quickest."""
    if entry.profile is not None or entry.pruned is None:
        return None
    own = [one for one in entry.pruned.prospects if one.variant == entry.variant] or entry.pruned.prospects
    return min(own, key=lambda one: one.resources.get("latency") or math.inf, default=None)


def performances_of(entry: VariantState, metric: str) -> dict[str, Any]:
    """The performance that the choice rests on, and that of the test split, with their intervals, where they are defined."""
    known: dict[str, Any] = {}
    for prefix, found in (
        ("", performance(entry, metric, "val")),
        ("test_", performance(entry, metric, "test")),
    ):
        if found is not None:
            known |= {f"{prefix}performance": found.value, f"{prefix}performance_ci": found.ci}
    return known


def _standing(
    entry: VariantState,
    row: RankingRow,
    metric: str,
    budgets: Mapping[str, float],
    found: FieldFindings | None,
) -> dict[str, Any]:
    """Status, reason and warnings of a row."""
    pruned = entry.pruned
    if (
        (entry.artifact is None or entry.profile is None)
        and pruned is not None
        and pruned.verdict != "failed"
        and pruned.reason
    ):
        status = "over_budget" if pruned.verdict == "rejected" else "dropped"
        return {"status": status, "reason": pruned.reason}
    if entry.artifact is None or entry.profile is None:
        return {"reason": f"{entry.failure.stage}: {entry.failure.reason}" if entry.failure else NOT_DONE}
    if found is not None and found.against:
        return {"reason": found.against}
    broken = over_budget(budgets, row.resources, entry.artifact.size_bytes)
    quality = entry.artifact.quality
    broken += [f"quality: {quality.reason}"] if quality is not None and not quality.passed else []
    undefined = (
        f"no score: {metric} is not defined on the validation images. Take another metric"
        if row.performance is None
        else ""
    )
    return {
        "status": "over_budget" if broken else "ok",
        "reason": "; ".join(broken) or undefined,
        "warnings": _warnings(
            entry, entry.profile if found is None or "latency" not in found.figures else None, found
        ),
    }


def is_member(row: RankingRow) -> bool:
    """Whether a row belongs to the set that bounds rest on; it need not have a rank, where a resource of it was not measured."""
    return row.status == "ok" and row.performance is not None


def bears_on(row: RankingRow) -> bool:
    """Whether bounds rest on a row: on the members, and on those that a search spared, so that scores are those of the whole set."""
    return is_member(row) or row.status == "dropped"


def over_budget(
    budgets: Mapping[str, float], resources: Mapping[str, float | None], size_bytes: int
) -> list[str]:
    """The budgets that a model breaks, each in words. A budget on what was not measured is broken: it cannot be shown to hold."""
    checks = [
        ("latency_p90_s", "latency at p90", resources.get("latency"), 1e3, "ms"),
        ("peak_memory_bytes", "peak memory", resources.get("peak_memory"), 2.0**-20, "MiB"),
        ("size_bytes", "file size", size_bytes, 2.0**-20, "MiB"),
    ]
    broken = []
    for key, what, value, scale, unit in checks:
        limit = budgets.get(key)
        if limit is None:
            continue
        if value is None:
            broken.append(f"{what} could not be measured, budget {limit * scale:.4g} {unit}")
        elif value > limit:
            broken.append(f"{what} {value * scale:.4g} {unit}, budget {limit * scale:.4g} {unit}")
    return broken


def _warnings(
    entry: VariantState, profile: DeviceProfile | None, found: FieldFindings | None
) -> tuple[str, ...]:
    """What is doubtful of a row. `profile` is None where the field's figures stand for those of home."""
    assert entry.artifact is not None
    parity = entry.artifact.parity
    warnings = [
        *(_of_home(profile) if profile is not None else ()),
        *(_of_training(entry.trained) if entry.trained is not None else ()),
    ]
    if not parity.passed:
        warnings.append(
            f"logits differ from PyTorch's by up to {parity.max_abs_diff:.2g}, tolerance {parity.tolerance:.2g}"
        )
    return (*warnings, *entry.artifact.notes, *(found.warnings if found is not None else ()))


def _of_home(profile: DeviceProfile) -> Iterator[str]:
    for reason in () if profile.validity.valid else profile.validity.reasons:
        yield f"measurement INVALID: {reason}"
    if profile.load_before is not None and profile.load_before > profile.device.cores:
        busy = f"load {profile.load_before:g} on {profile.device.cores} cores"
        yield f"measured while other programs were at work ({busy}): its latency and its energy are too high"


def _of_training(trained: TrainResult) -> Iterator[str]:
    durations_s = sorted(
        epoch.duration_s for epoch in trained.epochs[1:]
    )  # the first may do what is done once
    if len(durations_s) < LEAST_EPOCHS:
        return
    if sum(durations_s) / len(durations_s) > UNEVEN * durations_s[len(durations_s) // 4]:
        span = f"from {durations_s[0]:.2g} to {durations_s[-1]:.2g} s an epoch"
        yield f"trained while other programs were at work ({span}): its time and its energy are too high"
