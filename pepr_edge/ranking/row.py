"""One artifact of a run as a row of the ranking, with its measurements and status, before scores and rank."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from statistics import fmean, stdev
from typing import Any

from pepr_edge.ranking.field import ABSENT, FieldMeasurement, FieldMeasurements
from pepr_edge.records import (
    NOT_DONE,
    Artifact,
    CostEstimate,
    DeviceProfile,
    Estimate,
    RankingRow,
)
from pepr_edge.run_dir.reader import VariantState
from pepr_edge.run_dir.variant_figures import deployed_params, performance, resources_used, seed_performances


def row_of(
    entry: VariantState,
    metric: str,
    performances: Mapping[str, Any],
    budgets: Mapping[str, float],
    images: int | None,
    measured: FieldMeasurements | None,
) -> RankingRow:
    """Return the row of an entry, with its measurements and status.

    Args:
        entry: one candidate in one variant.
        metric: the performance that decides.
        performances: values of the metric, see `performances_of`.
        budgets: in SI units, see `Recipe.limits`.
        images: number of training images; None if not known.
        measured: values from the field, which replace those measured here.
    """
    resources, methods = resources_used(entry, images)
    size_bytes = entry.artifact.size_bytes if entry.artifact else None
    estimate = _estimate(entry)
    if estimate is not None:
        resources |= estimate.resources
        methods |= estimate.methods
        size_bytes = size_bytes or estimate.size_bytes
    in_field = None
    if measured is not None and entry.artifact is not None:
        in_field = measured.get(entry.artifact.sha256, FieldMeasurement(unusable=ABSENT))
        for name, figure in in_field.figures.items():
            resources[name] = figure.value
            methods[name] = figure.method
    row = RankingRow(
        rank=None,
        candidate=entry.candidate.id,
        architecture=entry.candidate.architecture,
        weights=entry.candidate.weights,
        variant=entry.variant,
        status="failed",
        num_params=deployed_params(entry),
        trained_params=entry.trained.num_params if entry.trained else None,
        size_bytes=size_bytes,
        artifact_sha256=entry.artifact.sha256 if entry.artifact else None,
        inference_energy_j=resources.pop("inference_energy"),
        resources=resources,
        methods=methods,
        **performances,
    )
    return _with_status(row, entry, metric, budgets, in_field)


def _estimate(entry: VariantState) -> CostEstimate | None:
    """Return the estimated resources of a pruned candidate in this variant; for autotune, the fastest."""
    if entry.profile is not None or entry.pruned is None:
        return None
    estimates = entry.pruned.prospects
    of_variant = [estimate for estimate in estimates if estimate.variant == entry.variant]
    return min(of_variant or estimates, key=_latency_or_inf, default=None)


def _latency_or_inf(estimate: CostEstimate) -> float:
    return estimate.resources.get("latency") or math.inf


def performances_of(entry: VariantState, metric: str) -> dict[str, Any]:
    """Return the metric on validation and test with intervals, as fields of a row, where it is defined.

    On validation it is the mean over the seeds of the training: the file's own performance, changed by as
    much as its seed differs from the mean of all seeds in PyTorch. On test it is the file's own.
    """
    fields: dict[str, Any] = {"repeats": max(1, len(entry.repeats))}
    validation = performance(entry, metric, "val")
    if validation is not None:
        fields |= _over_seeds(entry, metric, validation)
    test = performance(entry, metric, "test")
    if test is not None:
        fields |= {"test_performance": test.value, "test_performance_ci": test.ci}
        on_test = seed_performances(entry, metric, "test") if len(entry.repeats) > 1 else ()
        if on_test:
            fields |= {"test_performance_mean": fmean(on_test), "test_performance_sd": stdev(on_test)}
    return fields


def _over_seeds(entry: VariantState, metric: str, validation: Estimate) -> dict[str, Any]:
    """Return the performance on validation with its interval, and its deviation over seeds, as fields."""
    on_validation = seed_performances(entry, metric, "val") if len(entry.repeats) > 1 else ()
    if entry.trained not in entry.repeats or not on_validation:
        return {"performance": validation.value, "performance_ci": validation.ci}
    own = on_validation[entry.repeats.index(entry.trained)]
    change = fmean(on_validation) - own
    low, high = validation.ci
    return {
        "performance": _share(validation.value + change),
        "performance_ci": (_share(low + change), _share(high + change)),
        "performance_sd": stdev(on_validation),
    }


def _share(value: float) -> float:
    return min(1.0, max(0.0, value))


def _with_status(
    row: RankingRow,
    entry: VariantState,
    metric: str,
    budgets: Mapping[str, float],
    in_field: FieldMeasurement | None,
) -> RankingRow:
    """Return a row with its status, reason and warnings."""
    artifact = entry.artifact
    profile = entry.profile
    if artifact is None or profile is None:
        return _without_measurement(row, entry)
    if in_field is not None and in_field.unusable:
        return row.replace(reason=in_field.unusable)
    reasons = over_budget(budgets, row.resources, artifact.size_bytes)
    if artifact.quality is not None and not artifact.quality.passed:
        reasons.append(f"quality: {artifact.quality.reason}")
    reason = "; ".join(reasons)
    if not reason and row.performance is None:
        reason = f"no score: {metric} is not defined on the validation images. Take another metric"
    warnings: list[str] = []
    if in_field is None or "latency" not in in_field.figures:
        warnings += _measurement_warnings(profile)
    if entry.trained is not None:
        warnings += dict.fromkeys(fair.warning for fair in entry.fair_costs if fair.warning)
    warnings += _artifact_warnings(artifact)
    if in_field is not None:
        warnings += in_field.warnings
    return row.replace(status="over_budget" if reasons else "ok", reason=reason, warnings=tuple(warnings))


def _without_measurement(row: RankingRow, entry: VariantState) -> RankingRow:
    """Return the row of an entry that was pruned, failed, or is not done yet."""
    pruned = entry.pruned
    if pruned is not None and pruned.verdict != "failed" and pruned.reason:
        status = "over_budget" if pruned.verdict == "rejected" else "dropped"
        return row.replace(status=status, reason=pruned.reason)
    if entry.failure is not None:
        return row.replace(reason=f"{entry.failure.stage}: {entry.failure.reason}")
    return row.replace(reason=NOT_DONE)


def is_rankable(row: RankingRow) -> bool:
    """True if a row is in the set of the bounds. A member without a weighted resource has no rank."""
    return row.status == "ok" and row.performance is not None


def scored_performance(row: RankingRow, by_skill: bool) -> float:
    """Return the P of a member's score: its performance, or its skill if the recipe ranks by skill."""
    value = row.skill if by_skill else row.performance
    return max(0.0, value or 0.0)  # Cohen's kappa may be below 0


def affects_bounds(row: RankingRow) -> bool:
    """True for members and for pruned candidates, so that scores are those of the whole set."""
    return is_rankable(row) or row.status == "dropped"


def over_budget(
    budgets: Mapping[str, float], resources: Mapping[str, float | None], size_bytes: int
) -> list[str]:
    """Return a text for each budget that a model breaks.

    A budget for an unmeasured resource counts as broken, because nothing shows that it is kept.
    """
    checks = [
        ("latency_p90_s", "latency at p90", resources.get("latency"), 1e3, "ms"),
        ("peak_memory_bytes", "peak memory", resources.get("peak_memory"), 2.0**-20, "MiB"),
        ("size_bytes", "file size", size_bytes, 2.0**-20, "MiB"),
    ]
    broken = []
    for key, name, value, scale, unit in checks:
        limit = budgets.get(key)
        if limit is None:
            continue
        budget = f"budget {limit * scale:.4g} {unit}"
        if value is None:
            broken.append(f"{name} could not be measured, {budget}")
        elif value > limit:
            broken.append(f"{name} {value * scale:.4g} {unit}, {budget}")
    return broken


def _measurement_warnings(profile: DeviceProfile) -> Iterator[str]:
    if not profile.validity.valid:
        for reason in profile.validity.reasons:
            yield f"measurement INVALID: {reason}"
    if profile.load_before is not None and profile.load_before > profile.device.cores:
        load = f"load {profile.load_before:g} on {profile.device.cores} cores"
        yield f"measured while other programs used the CPU ({load}): latency and energy are probably too high"


def _artifact_warnings(artifact: Artifact) -> Iterator[str]:
    parity = artifact.parity
    if not parity.passed:
        difference = f"up to {parity.max_abs_diff:.2g}, tolerance {parity.tolerance:.2g}"
        yield f"logits differ from PyTorch's by {difference}"
    if artifact.form_note:
        yield artifact.form_note
    yield from artifact.notes
