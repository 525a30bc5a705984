"""Ordinal classification: each image has one of several grades, which have an order.

Labels are the numbers of the grades, shape (n,), the lowest grade 0. Logits have the shape (n, grades), and
their softmax is the probability of each grade. The decision is the median of that distribution: it has the
lowest expected distance from the true grade, and a grade between two likely ones is no surprise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pepr_edge.tasks import single_label
from pepr_edge.tasks.single_label import (
    baseline,
    class_counts,
    constant_logits,
    example_labels,
    probabilities,
)
from pepr_edge.tasks.task import ClassCounts, Decisions, Labels, Logits, Mask

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "DEFAULT_PERFORMANCE",
    "GATE_METRIC",
    "METRICS",
    "agree",
    "baseline",
    "class_counts",
    "constant_logits",
    "correct",
    "decide",
    "errors",
    "example_labels",
    "loss",
    "margin",
    "perfect_logits",
    "probabilities",
]

METRICS: tuple[str, ...] = ("quadratic_kappa", "mean_absolute_error", *single_label.METRICS)
GATE_METRIC = "quadratic_kappa"
DEFAULT_PERFORMANCE = "quadratic_kappa"


def decide(logits: Logits) -> Decisions:
    """Return the lowest grade that has, with those below it, a probability of one half, shape (n,)."""
    return np.asarray((_log_odds_below(logits) < 0).sum(axis=1), dtype=np.int64)


def _log_odds_below(logits: Logits) -> NDArray[np.float64]:
    """Return the log-odds of each grade but the highest, or one below it, shape (n, grades - 1)."""
    values = logits.astype(np.float64)
    below = np.logaddexp.accumulate(values, axis=1)[:, :-1]
    above = np.logaddexp.accumulate(values[:, ::-1], axis=1)[:, ::-1][:, 1:]
    return np.asarray(below - above, dtype=np.float64)


def perfect_logits(labels: Labels, classes: int) -> NDArray[np.float32]:
    """Return logits whose decisions are the labels, shape (n, grades)."""
    certain = np.float32(2 + np.log(classes))  # more likely than all other grades together
    return np.asarray(certain * np.eye(classes, dtype=np.float32)[labels], dtype=np.float32)


def correct(logits: Logits, labels: Labels) -> Mask:
    """True for each image whose decision is its grade, shape (n,)."""
    return np.asarray(decide(logits) == labels)


def errors(logits: Logits, labels: Labels) -> NDArray[np.float64]:
    """Return the number of grades between decision and label, shape (n,)."""
    return np.asarray(np.abs(decide(logits) - labels), dtype=np.float64)


def agree(logits: Logits, others: Logits) -> Mask:
    """True for each image on which two models decide for the same grade, shape (n,)."""
    return np.asarray(decide(logits) == decide(others))


def margin(logits: Logits) -> NDArray[np.float32]:
    """Return the distance of the nearest log-odds from another decision, shape (n,).

    A change of all logits by less than half of it keeps the decision, as in single-label classification.
    """
    return np.asarray(np.abs(_log_odds_below(logits)).min(axis=1), dtype=np.float32)


def loss(class_counts: ClassCounts | None = None, images: int = 0) -> nn.Module:
    """Return cross-entropy plus the ranked probability score; with class counts, every grade weighs the same.

    Cross-entropy alone takes the wrong grades for equally wrong. The ranked probability score is the sum of
    the squared differences between the cumulated probabilities and those of the true grade. Both are proper
    scoring rules, so the best probabilities for their sum are the true ones.

    Args:
        class_counts: training images of each grade, shape (grades,).
        images: not needed.
    Source: Epstein 1969, A scoring system for probability forecasts of ranked categories.
    """
    from pepr_edge.tasks.losses import OrdinalLoss

    return OrdinalLoss(class_counts)
