"""The quality gate: what a file keeps, on validation, of the performance of the model that it was made of."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pepr_edge.export.check import Logits, flips
from pepr_edge.records import Quality, SessionSettings
from pepr_edge.scoring.intervals import estimate
from pepr_edge.scoring.metrics import Counts, metric

# Beside the recipe's metric: accuracy alone would let a rare class go unseen.
ALWAYS = "balanced_accuracy"
# Reported, not judged: int8 may keep every decision and still spoil the probabilities.
REPORTED = ("accuracy", "auroc", "expected_calibration_error")


def judge(
    logits: Logits,
    before: Logits,
    labels: NDArray[np.int64],
    performance: str,
    threshold: float,
    settings: SessionSettings,
) -> Quality:
    """Whether a file keeps enough of its model's performance.

    Args:
        logits: of the file on validation, as it would run on the device, shape (n, classes).
        before: of PyTorch in float32, shape (n, classes).
        labels: shape (n,).
        performance: the metric that the ranking rests on.
        threshold: the least share of the model's own value to be kept, by that metric and by balanced accuracy.
        settings: how the file was run.
    Source: MLPerf Inference, the 99 % rule for accuracy after quantisation.
    """
    gated = tuple(dict.fromkeys((performance, ALWAYS)))
    kept = {name: share for name in gated if (share := _kept(name, logits, before, labels)) is not None}
    drawn: dict[bool, Counts] = {}
    found = {
        name: estimate(name, logits, labels, "val", drawn) for name in dict.fromkeys((*gated, *REPORTED))
    }
    # A share that rounding alone takes below the threshold is no loss.
    lost = [f"{name} is {share:.1%} of float32's" for name, share in kept.items() if share < threshold - 1e-9]
    return Quality(
        settings=settings,
        threshold=threshold,
        performance={name: value for name, value in found.items() if value is not None},
        kept=kept,
        flips=flips(logits, before, "val"),
        passed=not lost,
        reason=f"{' and '.join(lost)} on {len(labels)} validation images, expected at least {threshold:.1%}"
        if lost
        else "",
    )


def _kept(name: str, logits: Logits, before: Logits, labels: NDArray[np.int64]) -> float | None:
    """The share of a metric that is left; None where validation does not define it. Of nothing all is left."""
    own, after = metric(name)(before, labels), metric(name)(logits, labels)
    if math.isnan(own) or math.isnan(after):
        return None
    return after / own if own > 0 else 1.0
