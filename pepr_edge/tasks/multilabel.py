"""Multi-label classification: each image has any number of findings, also none.

Labels are 0 or 1 for each finding, shape (n, findings). Logits have the same shape; their sigmoid is the
probability of each finding. Without thresholds of its own, a finding is named from a probability of one half.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pepr_edge.tasks.task import ClassCounts, Decisions, Labels, Logits, Mask

if TYPE_CHECKING:
    from torch import nn

METRICS: tuple[str, ...] = ("mean_auroc", "mean_average_precision", "expected_calibration_error")
# Findings are rare: an area under the ROC curve alone would hide false alarms among them.
GATE_METRIC = "mean_average_precision"
DEFAULT_PERFORMANCE = "mean_auroc"


def decide(logits: Logits) -> Decisions:
    """Return 1 for each finding with a probability of one half or more, else 0, shape (n, findings)."""
    return np.asarray(logits >= 0, dtype=np.int64)


def errors(logits: Logits, labels: Labels) -> NDArray[np.float64]:
    """Return the number of findings that are decided wrongly, shape (n,)."""
    return np.asarray((decide(logits) != labels).sum(axis=1), dtype=np.float64)


def correct(logits: Logits, labels: Labels) -> Mask:
    """True for each image of which all findings are decided rightly, shape (n,)."""
    return np.asarray((decide(logits) == labels).all(axis=1))


def agree(logits: Logits, others: Logits) -> Mask:
    """True for each image on which two models name the same findings, shape (n,)."""
    return np.asarray((decide(logits) == decide(others)).all(axis=1))


def margin(logits: Logits) -> NDArray[np.float32]:
    """Return twice the distance of the nearest logit from another decision, shape (n,).

    A change of all logits by less than half of it keeps the decisions, as in single-label classification.
    """
    return np.asarray(2 * np.abs(logits).min(axis=1), dtype=np.float32)


def probabilities(logits: Logits) -> NDArray[np.float64]:
    """Return the sigmoid of the logits, shape (n, findings)."""
    values = logits.astype(np.float64)
    return np.asarray(np.exp(-np.logaddexp(0, -values)), dtype=np.float64)


def class_counts(labels: Labels, classes: int) -> NDArray[np.int64]:
    """Return the number of images with each finding, shape (findings,)."""
    return np.asarray(labels.reshape(-1, classes).sum(axis=0), dtype=np.int64)


def example_labels(class_counts: ClassCounts, images: int) -> NDArray[np.int64]:
    """Return labels of that many images with these counts of findings, shape (images, findings)."""
    numbers = np.arange(images)[:, None]
    return np.asarray(numbers < np.asarray(class_counts)[None, :], dtype=np.int64)


def perfect_logits(labels: Labels, classes: int) -> NDArray[np.float32]:
    """Return logits whose decisions are the labels, shape (n, findings)."""
    return np.asarray(2 * labels.reshape(-1, classes) - 1, dtype=np.float32)


def loss(class_counts: ClassCounts | None = None, images: int = 0) -> nn.Module:
    """Return the binary cross-entropy, the mean over all findings of a batch.

    Args:
        class_counts: training images with each finding; with them, a finding weighs as much as its absence.
        images: their total number.
    """
    from pepr_edge.tasks.losses import FindingsLoss

    return FindingsLoss(class_counts, images)


def baseline(
    train_counts: ClassCounts, counts: ClassCounts, train_images: int = 0, images: int = 0
) -> tuple[int, float]:
    """Return the most frequent finding of training, and how often the more frequent answer is right.

    For each finding the answer, present or absent, is the more frequent one of training; the share is that of
    all answers on another split.
    """
    train = np.asarray(train_counts)
    is_usual = 2 * train > train_images
    shares = np.asarray(counts) / max(1, images)
    right = np.where(is_usual, shares, 1 - shares)
    return int(train.argmax()), float(right.mean())


def constant_logits(class_counts: ClassCounts, images: int = 0) -> dict[int, Logits]:
    """Return the logits, shape (1, findings), of a model that gives each finding its frequency in training.

    By metrics of the order of images, such as the area under the ROC curve, all such models are alike.
    """
    shares = (np.asarray(class_counts, dtype=np.float64) + 0.5) / (images + 1)
    logits = np.log(shares / (1 - shares)).astype(np.float32)
    return {int(np.argmax(class_counts)): logits[None, :]}
