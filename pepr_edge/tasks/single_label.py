"""Single-label classification: each image has exactly one of several classes.

Labels are class numbers, shape (n,). Logits have the shape (n, classes).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pepr_edge.tasks.task import ClassCounts, Decisions, Labels, Logits, Mask

if TYPE_CHECKING:
    from torch import nn

METRICS: tuple[str, ...] = (
    "accuracy",
    "balanced_accuracy",
    "auroc",
    "f1",
    "sensitivity_at_specificity",
    "specificity_at_sensitivity",
    "expected_calibration_error",
    "cohen_kappa",
)
# Accuracy alone would hide the loss of a rare class.
GATE_METRIC = "balanced_accuracy"
DEFAULT_PERFORMANCE = "accuracy"


def decide(logits: Logits) -> Decisions:
    """Return the class with the highest logit, shape (n,); of equal logits the first."""
    return np.asarray(logits.argmax(axis=1), dtype=np.int64)


def correct(logits: Logits, labels: Labels) -> Mask:
    """True for each image whose decision is its label, shape (n,)."""
    return np.asarray(decide(logits) == labels)


def errors(logits: Logits, labels: Labels) -> NDArray[np.float64]:
    """Return 1 for each image that is decided wrongly, else 0, shape (n,)."""
    return (~correct(logits, labels)).astype(np.float64)


def agree(logits: Logits, others: Logits) -> Mask:
    """True for each image on which two models decide for the same class, shape (n,)."""
    return np.asarray(decide(logits) == decide(others))


def margin(logits: Logits) -> NDArray[np.float32]:
    """Return the distance of the highest logit from the second highest, shape (n,)."""
    ordered = np.sort(logits, axis=1)
    return np.asarray(ordered[:, -1] - ordered[:, -2], dtype=np.float32)


def probabilities(logits: Logits) -> NDArray[np.float64]:
    """Return the softmax of the logits, shape (n, classes)."""
    exponentials = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True), dtype=np.float64)


def class_counts(labels: Labels, classes: int) -> NDArray[np.int64]:
    """Return the number of images of each class, shape (classes,)."""
    return np.bincount(labels, minlength=classes).astype(np.int64)


def example_labels(class_counts: ClassCounts, images: int = 0) -> NDArray[np.int64]:
    """Return class numbers of which each occurs as often as its count says, shape (images,)."""
    return np.repeat(np.arange(len(class_counts)), class_counts).astype(np.int64)


def perfect_logits(labels: Labels, classes: int) -> NDArray[np.float32]:
    """Return logits whose decisions are the labels, shape (n, classes)."""
    return np.eye(classes, dtype=np.float32)[labels]


def loss(class_counts: ClassCounts | None = None, images: int = 0) -> nn.Module:
    """Return the cross-entropy loss; with class counts, every class weighs the same.

    Args:
        class_counts: training images of each class, shape (classes,).
        images: not needed.
    """
    import torch
    from torch import nn

    if class_counts is None:
        return nn.CrossEntropyLoss()
    # No batch has images of an empty class, so its weight does not matter.
    present = np.maximum(class_counts, 1)
    weights = np.sum(class_counts) / (len(class_counts) * present)
    return nn.CrossEntropyLoss(weight=torch.tensor(weights, dtype=torch.float32))


def baseline(
    train_counts: ClassCounts, counts: ClassCounts, train_images: int = 0, images: int = 0
) -> tuple[int, float]:
    """Return the majority class of the training split and its share of another split."""
    majority = int(np.argmax(train_counts))
    return majority, float(counts[majority] / np.sum(counts))


def constant_logits(class_counts: ClassCounts, images: int = 0) -> dict[int, Logits]:
    """Return logits of shape (1, classes) for each class, of a model that always decides for this class.

    Args:
        class_counts: training images of each class; the most frequent class comes first.
        images: not needed.
    """
    one_hot = np.eye(len(class_counts), dtype=np.float32)
    order = np.argsort(-np.asarray(class_counts), kind="stable")
    return {int(label): one_hot[[label]] for label in order}
