"""Metrics of several findings an image: each is the mean over the findings that occur and are not everywhere.

Labels are 0 or 1, shape (n, findings), and logits have the same shape.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pepr_edge.scoring.resampling import BINS, Counts, Floats, Resampler, View, mean_defined, ratio
from pepr_edge.scoring.roc import auroc, cumulative, roc_of
from pepr_edge.tasks import Labels, Logits, multilabel

# The number of images that were drawn of each resample.
Drawn = NDArray[np.float64]


def mean_auroc(logits: Logits, labels: Labels, view: View) -> Resampler:
    """Area under the ROC curve, in [0, 1], higher is better; 0.5 is guessing. Source: Mann-Whitney U."""
    return _mean([auroc_of(logits[:, number], labels[:, number] == 1) for number in _defined(labels)])


def mean_average_precision(logits: Logits, labels: Labels, view: View) -> Resampler:
    """Average precision, in [0, 1], higher is better; guessing reaches the frequency of the finding.

    The precision at each threshold, weighted by how many of the finding's images it adds, without
    interpolation. Source: Zhu 2004; as in scikit-learn.
    """
    found = [average_precision_of(logits[:, number], labels[:, number] == 1) for number in _defined(labels)]
    return _mean(found)


def _defined(labels: Labels) -> list[int]:
    """Return the findings that some images have, and some have not."""
    present = (labels == 1).any(axis=0) & (labels != 1).any(axis=0)
    return [int(number) for number in np.flatnonzero(present)]


def _mean(each: list[Resampler]) -> Resampler:
    def values(counts: Counts) -> Floats:
        if not each:
            return np.full(counts.shape[1], np.nan)
        return mean_defined(np.stack([of_finding(counts) for of_finding in each]))

    return values


def auroc_of(scores: Logits, is_positive: NDArray[np.bool_]) -> Resampler:
    """Return the area under the ROC curve of one finding; `scores` have the shape (n,)."""
    curve = roc_of(scores, is_positive)

    def values(counts: Counts) -> Floats:
        return auroc(curve, cumulative(counts[curve.positive]), cumulative(counts[curve.negative]))

    return values


def average_precision_of(scores: Logits, is_positive: NDArray[np.bool_]) -> Resampler:
    """Return the average precision of one finding; `scores` have the shape (n,)."""
    order = np.argsort(-scores, kind="stable")
    # Images of equal scores are named together: the last of each group is a threshold.
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    of_positive = is_positive[order][:, None]

    def values(counts: Counts) -> Floats:
        drawn = counts[order]
        named = np.cumsum(drawn, axis=0, dtype=np.int32)[last]
        hits = np.cumsum(drawn * of_positive, axis=0, dtype=np.int32)[last]
        added = np.diff(hits, axis=0, prepend=0)
        precision = np.nan_to_num(ratio(hits, named))
        return ratio((added * precision).sum(axis=0), hits[-1])

    return values


def mean_f1(decisions: Labels, labels: Labels) -> Resampler:
    """Return F1 of decisions at fixed thresholds, the mean over findings that occur or are named."""

    def formula(hits: Floats, named: Floats, true: Floats) -> Floats:
        return ratio(2 * hits, named + true)

    return _of_decisions(formula, decisions, labels)


def mean_sensitivity(decisions: Labels, labels: Labels) -> Resampler:
    """Return the share of a finding's images in which it is named, the mean over the findings that occur."""

    def formula(hits: Floats, named: Floats, true: Floats) -> Floats:
        return ratio(hits, true)

    return _of_decisions(formula, decisions, labels)


def mean_specificity(decisions: Labels, labels: Labels) -> Resampler:
    """Return the share of the images without a finding in which it is not named, the mean over findings."""
    return mean_sensitivity(1 - decisions, 1 - labels)


def _of_decisions(
    formula: Callable[[Floats, Floats, Floats], Floats], decisions: Labels, labels: Labels
) -> Resampler:
    """Return the mean of a formula of the hits, the named and the true images of each finding."""
    parts = np.stack([decisions & labels, decisions, labels]).astype(np.float32)
    members = parts.transpose(0, 2, 1).reshape(-1, len(labels))
    findings = labels.shape[1]

    def values(counts: Counts) -> Floats:
        sums = (members @ counts.astype(np.float32)).astype(np.float64)
        return mean_defined(formula(*sums.reshape(3, findings, -1)))

    return values


def pooled_calibration_error(logits: Logits, labels: Labels) -> Resampler:
    """Difference between the probability of a finding and how often it is there, over all findings.

    In [0, 1], lower is better: the mean over 15 bins of equal width, weighted by answers, one for each image
    and finding. Chance alone makes it greater than 0. Source: Guo et al. 2017.
    """
    probability = multilabel.probabilities(logits)
    bins = np.searchsorted(np.arange(1, BINS) / BINS, probability)
    gaps = np.stack([((labels - probability) * (bins == number)).sum(axis=1) for number in range(BINS)])
    gaps /= labels.shape[1]

    def values(counts: Counts) -> Floats:
        gap = np.abs(gaps @ counts.astype(np.float64)).sum(axis=0)
        return ratio(gap, counts.sum(axis=0, dtype=np.int64))

    return values
