"""The ROC curve of one class or finding, for many resamples side by side."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pepr_edge.scoring.resampling import Counts, Floats, ratio


class Roc(NamedTuple):
    """The images of one class (positive) and of the others (negative), each by descending score."""

    positive: NDArray[np.intp]
    negative: NDArray[np.intp]
    above: NDArray[np.intp]  # for each negative: number of positives with a higher score
    reached: NDArray[np.intp]  # for each negative: number of positives with the same or a higher score
    passed: NDArray[np.intp]  # for each positive: number of negatives with the same or a higher score


def roc_of(scores: NDArray[np.floating[Any]], is_positive: NDArray[np.bool_]) -> Roc:
    """Return the curve of scores, of any scale, shape (n,)."""
    descending = -scores
    order = np.argsort(descending, kind="stable")
    of_positive = is_positive[order]
    positive = order[of_positive]
    negative = order[~of_positive]
    positive_scores = descending[positive]
    negative_scores = descending[negative]
    return Roc(
        positive=positive,
        negative=negative,
        above=np.searchsorted(positive_scores, negative_scores, "left"),
        reached=np.searchsorted(positive_scores, negative_scores, "right"),
        passed=np.searchsorted(negative_scores, positive_scores, "right"),
    )


def cumulative(counts: Counts) -> Counts:
    """Return how many of the first 0, 1, ... m images were drawn, shape (m + 1, resamples)."""
    sums = np.zeros((len(counts) + 1, counts.shape[1]), np.int32)
    np.cumsum(counts, axis=0, dtype=np.int32, out=sums[1:])
    return sums


def auroc(roc: Roc, true: Counts, false: Counts) -> Floats:
    """Area under the ROC curve; NaN if only one class occurs.

    Source: Mann-Whitney U with mid-ranks for ties.
    """
    # Twice the Mann-Whitney U: a tie is half a pair in the right order.
    before = (true[roc.above] + true[roc.reached]).astype(np.float64)
    pairs = np.einsum("ij,ij->j", np.diff(false, axis=0).astype(np.float64), before)
    return ratio(pairs, 2.0 * true[-1] * false[-1])


def sensitivity(roc: Roc, true: Counts, false: Counts, level: float) -> Floats:
    """Maximum sensitivity at any threshold with at least this specificity."""
    # The threshold lies just above the first negative that would make the specificity too low.
    specificity = ratio(false[-1] - false[1:], false[-1])
    first = (specificity < level).argmax(axis=0)
    sensitivity = ratio(true[roc.above[first], np.arange(len(first))], true[-1])
    return np.where(false[-1] > 0, sensitivity, np.nan)


def specificity(roc: Roc, true: Counts, false: Counts, level: float) -> Floats:
    """Maximum specificity at any threshold with at least this sensitivity."""
    # The threshold lies at the first positive that makes the sensitivity high enough.
    sensitivity = ratio(true[1:], true[-1])
    first = (sensitivity >= level).argmax(axis=0)
    specificity = ratio(false[-1] - false[roc.passed[first], np.arange(len(first))], false[-1])
    return np.where(true[-1] > 0, specificity, np.nan)
