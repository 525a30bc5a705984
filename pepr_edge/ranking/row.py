"""One artifact of a run as a row of the ranking: what was measured of it and its status. No score or rank yet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pepr_edge.intervals import estimate
from pepr_edge.ranking.field import Measured
from pepr_edge.records import DeviceProfile, Estimate, RankingRow, Split
from pepr_edge.results import Entry, used


def row_of(entry: Entry, metric: str, budgets: Mapping[str, float], images: int | None, measured: Measured | None) -> RankingRow:
    """What was measured of an entry, and its status.

    Args:
        entry: one candidate in one variant.
        metric: whose value on validation is its performance.
        budgets: in SI units, see `Recipe.limits`.
        images: of the training split; None where that is not known.
        measured: in the field, which takes the place of what was measured here.
    """
    known: dict[str, Any] = {
        "candidate": entry.candidate.id,
        "architecture": entry.candidate.architecture,
        "variant": entry.variant,
        "num_params": entry.trained.num_params if entry.trained else None,
        "size_bytes": entry.artifact.size_bytes if entry.artifact else None,
        "artifact_sha256": entry.artifact.sha256 if entry.artifact else None,
    }
    resources, methods = used(entry, images)
    if measured is not None and entry.artifact is not None:
        brought, how = measured.of(entry.artifact.sha256)
        resources |= brought
        methods |= how
    known["inference_energy_j"] = resources.pop("inference_energy")
    if entry.artifact is not None:
        chosen, test = _performance(entry, metric, "val"), _performance(entry, metric, "test")
        known |= {"performance": chosen.value, "performance_ci": chosen.ci} if chosen else {}
        known |= {"test_performance": test.value, "test_performance_ci": test.ci} if test else {}
    if entry.artifact is None or entry.profile is None:
        reason = f"{entry.failure.stage}: {entry.failure.reason}" if entry.failure else "not done yet: run the same command again"
        return RankingRow(rank=None, status="failed", reason=reason, resources=resources, methods=methods, **known)
    sha256 = entry.artifact.sha256
    if measured is not None and (reason := measured.reason_against(sha256)):
        return RankingRow(rank=None, status="failed", reason=reason, resources=resources, methods=methods, **known)
    doubts = (measured.doubts[sha256],) if measured is not None and sha256 in measured.doubts else ()
    broken = over_budget(budgets, resources, entry.artifact.size_bytes)
    undefined = "" if "performance" in known else f"no score: {metric} is not defined on the validation images. Take another metric"
    return RankingRow(
        rank=None,
        status="over_budget" if broken else "ok",
        reason="; ".join(broken) or undefined,
        resources=resources,
        methods=methods,
        warnings=_warnings(entry, entry.profile) + doubts,
        **known,
    )


def _performance(entry: Entry, metric: str, split: Split) -> Estimate | None:
    """A metric of the ONNX file on a split: as recorded, else from its predictions, as for a level that the run did not ask for."""
    assert entry.artifact is not None
    if (recorded := entry.artifact.performance.get(metric if split == "test" else f"{split}_{metric}")) is not None:
        return recorded
    logits = entry.predictions()
    return estimate(metric, logits[split], logits[f"{split}_labels"].astype(np.int64), split) if split in logits else None


def over_budget(budgets: Mapping[str, float], resources: Mapping[str, float | None], size_bytes: int) -> list[str]:
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


def _warnings(entry: Entry, profile: DeviceProfile) -> tuple[str, ...]:
    assert entry.artifact is not None
    parity = entry.artifact.parity
    found = [] if profile.validity.valid else [f"measurement INVALID: {reason}" for reason in profile.validity.reasons]
    if not parity.passed:
        found.append(f"logits differ from PyTorch's by up to {parity.max_abs_diff:.2g}, tolerance {parity.tolerance:.2g}")
    return tuple(found)
