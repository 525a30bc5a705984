"""The quality gate: the share of a model's validation performance that an exported file keeps."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pepr_edge.export.check import Logits, flips
from pepr_edge.records import Quality, SessionSettings
from pepr_edge.scoring.intervals import estimate
from pepr_edge.scoring.metrics import Counts, metric
from pepr_edge.tasks import task_of

# Reported, not part of the gate: int8 may keep every decision and still degrade the probabilities.
REPORTED = ("accuracy", "auroc", "expected_calibration_error")
# A share that is below the threshold only because of rounding passes.
ROUNDING = 1e-9


def assess_quality(
    logits: Logits,
    before: Logits,
    labels: NDArray[np.int64],
    performance: str,
    threshold: float,
    settings: SessionSettings,
) -> Quality:
    """Judge how much of its model's performance a file keeps.

    Args:
        logits: of the file on validation, run as on the device, shape (n, classes).
        before: of PyTorch in float32, shape (n, classes).
        labels: shape (n,).
        performance: the metric that the ranking uses.
        threshold: the smallest accepted share of the model's own value, for this metric and the task's gate
            metric.
        settings: how the file was run.
    Source: MLPerf Inference, the 99 % rule for accuracy after quantisation.
    """
    gated = dict.fromkeys((performance, task_of().GATE_METRIC))
    kept = {}
    for name in gated:
        share = _kept_share(name, logits, before, labels)
        if share is not None:
            kept[name] = share
    resamples: dict[bool, Counts] = {}
    estimates = {}
    for name in dict.fromkeys((*gated, *REPORTED)):
        value = estimate(name, logits, labels, "val", resamples)
        if value is not None:
            estimates[name] = value
    lost = [
        f"{name} is {share:.1%} of float32's" for name, share in kept.items() if share < threshold - ROUNDING
    ]
    reason = ""
    if lost:
        images = f"{len(labels)} validation images"
        reason = f"{' and '.join(lost)} on {images}, expected at least {threshold:.1%}"
    return Quality(
        settings=settings,
        threshold=threshold,
        performance=estimates,
        kept=kept,
        flips=flips(logits, before, "val"),
        passed=not lost,
        reason=reason,
    )


def _kept_share(name: str, logits: Logits, before: Logits, labels: NDArray[np.int64]) -> float | None:
    """Return the kept share of a metric: None if undefined on validation, 1 if the model itself has 0."""
    model_value = metric(name)(before, labels)
    file_value = metric(name)(logits, labels)
    if math.isnan(model_value) or math.isnan(file_value):
        return None
    return file_value / model_value if model_value > 0 else 1.0
