"""Performance metrics of a classifier, from its logits. Needs numpy only, not scikit-learn.

Every metric takes logits of shape (n, classes), any real numbers, and labels of shape (n,), integers below
`classes`; use `metric` to get one by its name. It is NaN if it is not defined on these images. Each metric is
written once, for many bootstrap resamples side by side: a resample is given by how often it contains each
image.

Of two classes, one is positive: its class number is `positive`, 1 unless the caller says 0.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from pepr_edge.errors import ScoreError
from pepr_edge.scoring.multilabel_metrics import (
    mean_auroc,
    mean_average_precision,
    pooled_calibration_error,
)
from pepr_edge.scoring.ordinal_metrics import mean_absolute_error, quadratic_kappa
from pepr_edge.scoring.resampling import (
    BINS,
    Counts,
    Floats,
    Prepare,
    Resampler,
    View,
    chunks,
    mean_defined,
    ratio,
)
from pepr_edge.scoring.roc import Roc, auroc, cumulative, roc_of, sensitivity, specificity
from pepr_edge.tasks import DEFAULT_TASK, Labels, Logits, TaskKind, task_of

DEFAULT_LEVEL = 0.9  # the sensitivity or specificity that is required if a metric's name gives none


def confusion_matrix(logits: Logits, labels: Labels, kind: TaskKind = DEFAULT_TASK) -> NDArray[np.int64]:
    """Number of images by true class (rows) and decision (columns), shape (classes, classes)."""
    return confusion(task_of(kind).decide(logits), labels, logits.shape[1])


def confusion(decisions: Labels, labels: Labels, classes: int) -> NDArray[np.int64]:
    """Return the number of images by true class (rows) and decision (columns).

    Args:
        decisions, labels: class numbers, shape (n,); or 0 and 1 for each class, shape (n, classes).
        classes: number of classes.
    Returns:
        Shape (classes, classes); for several findings an image (classes, 2, 2).
    """
    if labels.ndim == 2:
        columns = zip(decisions.T, labels.T, strict=True)
        return np.stack([confusion(decided, label, 2) for decided, label in columns])
    cells = labels.astype(np.int64) * classes + decisions.astype(np.int64)
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes).astype(np.int64)


# Metrics that cannot be the P of PePR, with the reason.
_NO_PERFORMANCE = {
    "expected_calibration_error": "a lower expected calibration error is better",
    "cohen_kappa": "Cohen's kappa can be below 0",
    "mean_absolute_error": "a lower mean absolute error is better",
    "confusion_matrix": "a confusion matrix is a table, not one number",
}


def metric(name: str, positive: int = 1, kind: TaskKind = DEFAULT_TASK) -> Callable[[Logits, Labels], float]:
    """Return the metric with this name, which may end in a level, as in `sensitivity_at_specificity_0.95`.

    Args:
        name: the metric.
        positive: class number of the positive of two classes.
        kind: of task.
    Raises:
        ScoreError: the metric is unknown.
    """
    _prepare(name)
    return partial(_value, name, positive=positive, kind=kind)


def fits(name: str, kind: TaskKind) -> bool:
    """True if a metric that exists is one of this kind of task."""
    if kind == "multilabel":
        return name in MULTILABEL_METRICS
    return name not in MULTILABEL_METRICS and (name not in ORDINAL_METRICS or kind == "ordinal")


def metrics_of(kind: TaskKind) -> tuple[str, ...]:
    """Return the names of the metrics by which models of a kind of task can be ranked."""
    return tuple(name for name in PERFORMANCES if fits(name, kind))


def is_one_sided(name: str) -> bool:
    """True if a metric of two classes has another value when the other class is the positive one."""
    return name.startswith(("f1", *_AT_LEVEL)) or name in DECISION_METRICS


def performance_fault(name: str) -> str:
    """Return an empty string if a metric can be the P of PePR, else the expected names and the reason."""
    expected = f"one of {_listed(RANKED_BY)}"
    if name in _NO_PERFORMANCE:
        reason = f"{_NO_PERFORMANCE[name]}; PePR needs a number in [0, 1] where higher is better"
        return f"{expected} ({reason})"
    try:
        _prepare(name)
    except ScoreError:
        return expected
    return ""


def guessing_level(name: str) -> float | None:
    """Return the value that guessing reaches in a metric of the ROC curve; None for other metrics."""
    if name in ("auroc", "mean_auroc"):
        return 0.5
    for base in _AT_LEVEL:
        if name == base:
            return 1 - DEFAULT_LEVEL
        if name.startswith(f"{base}_"):
            return 1 - float(name.rpartition("_")[2])
    return None


def _listed(names: Iterable[str]) -> str:
    return f"{', '.join(names)}, or with a level, as in sensitivity_at_specificity_0.95"


def _value(name: str, logits: Logits, labels: Labels, *, positive: int, kind: TaskKind) -> float:
    """Return a metric of the images, each counted once."""
    once = np.ones((1, len(labels)), np.uint16)
    return float(resampled(name, logits, labels, once, positive, kind)[0])


def _from_decisions(
    formula: Callable[[Floats, Floats, Floats], Floats], logits: Logits, labels: Labels, view: View
) -> Resampler:
    """Return a metric of the diagonal, row sums and column sums of the confusion matrix.

    Args:
        formula: takes the three as arrays of shape (classes, resamples); of two classes the positive is last.
    """
    classes = np.arange(logits.shape[1])[:, None]
    if len(classes) == 2 and view.positive == 0:
        classes = classes[::-1]
    true = labels == classes
    predicted = task_of(view.kind).decide(logits) == classes
    # float32 holds the sums exactly, up to 2**24 images.
    members = np.concatenate([true & predicted, true, predicted]).astype(np.float32)

    def values(counts: Counts) -> Floats:
        sums = (members @ counts.astype(np.float32)).astype(np.float64)
        return formula(*sums.reshape(3, len(classes), -1))

    return values


def _accuracy(hits: Floats, true: Floats, predicted: Floats) -> Floats:
    """Share of images that are decided correctly."""
    return ratio(hits.sum(axis=0), true.sum(axis=0))


def _balanced_accuracy(hits: Floats, true: Floats, predicted: Floats) -> Floats:
    """Share of each class's images that are decided correctly, averaged over the classes that occur."""
    return mean_defined(ratio(hits, true))


def _f1(hits: Floats, true: Floats, predicted: Floats) -> Floats:
    """Harmonic mean of sensitivity and precision.

    Of the positive of two classes, else the mean over the classes that occur or are predicted. NaN for
    two classes if the positive neither occurs nor is predicted. Source: van Rijsbergen 1979; the mean as
    scikit-learn's "macro".
    """
    by_class = ratio(2 * hits, true + predicted)
    return by_class[1] if len(hits) == 2 else mean_defined(by_class)


def _share_of_positive(hits: Floats, true: Floats, predicted: Floats) -> Floats:
    """Sensitivity: share of the positive images that are found."""
    return ratio(hits[1], true[1])


def _share_of_negative(hits: Floats, true: Floats, predicted: Floats) -> Floats:
    """Specificity: share of the other images that are left."""
    return ratio(hits[0], true[0])


def _share_of_alarms(hits: Floats, true: Floats, predicted: Floats) -> Floats:
    """Positive predictive value: share of the alarms that are right."""
    return ratio(hits[1], predicted[1])


def _share_of_rejections(hits: Floats, true: Floats, predicted: Floats) -> Floats:
    """Negative predictive value: share of the other answers that are right."""
    return ratio(hits[0], predicted[0])


def _cohen_kappa(hits: Floats, true: Floats, predicted: Floats) -> Floats:
    """Agreement of decisions and labels beyond chance, in [-1, 1]; NaN if chance alone agrees on all images.

    Source: Cohen 1960.
    """
    n = true.sum(axis=0)
    by_chance = (true * predicted).sum(axis=0)
    return ratio(n * hits.sum(axis=0) - by_chance, n * n - by_chance)


def log_odds(logits: Logits, label: int) -> Floats:
    """Return log p - log(1 - p) of one class, shape (n,).

    It orders images as their probabilities do, without the ties that occur when probabilities round to 1.
    """
    # Sorted, so that the sum does not depend on which class has which logit: equal images stay equal.
    others = np.sort(np.delete(logits.astype(np.float64), label, axis=1), axis=1)
    highest = others[:, -1]
    rest = np.log(np.exp(others - highest[:, None]).sum(axis=1))
    return np.asarray(logits[:, label] - highest - rest, dtype=np.float64)


def _from_roc(
    formula: Callable[[Roc, Counts, Counts], Floats], logits: Logits, labels: Labels, view: View
) -> Resampler:
    """Return a metric of the ROC curve: of the positive of two, else the mean of one against the rest."""
    classes = [view.positive] if logits.shape[1] == 2 else range(logits.shape[1])
    curves = [roc_of(log_odds(logits, label), labels == label) for label in classes]
    curves = [roc for roc in curves if len(roc.positive) and len(roc.negative)]

    def values(counts: Counts) -> Floats:
        if not curves:
            return np.full(counts.shape[1], np.nan)
        by_class = [
            formula(roc, cumulative(counts[roc.positive]), cumulative(counts[roc.negative])) for roc in curves
        ]
        return mean_defined(np.stack(by_class))

    return values


def calibration_gaps(logits: Logits, labels: Labels) -> tuple[Floats, Floats, Floats]:
    """Assign each image to a bin by the probability of its predicted class.

    Returns:
        The probabilities, shape (n,); 1 where an image is in a bin, shape (bins, n); and there also 1 or 0
        for a correct or wrong decision less the probability, 0 elsewhere, shape (bins, n).
    """
    task = task_of()
    probability = task.probabilities(logits).max(axis=1)
    bins = np.searchsorted(np.arange(1, BINS) / BINS, probability)
    member = np.arange(BINS)[:, None] == bins
    gaps = member * (task.correct(logits, labels) - probability)
    return probability, member.astype(np.float64), gaps


def _calibration_error(logits: Logits, labels: Labels, view: View) -> Resampler:
    """Difference between the probability of the predicted class and how often it is correct.

    In [0, 1], lower is better. The mean over 15 bins of equal width, weighted by images. Chance alone makes
    it greater than 0. Source: Guo et al. 2017, On calibration of modern neural networks.
    """
    if view.kind == "multilabel":
        return pooled_calibration_error(logits, labels)
    _, _, gaps = calibration_gaps(logits, labels)

    def values(counts: Counts) -> Floats:
        gap = np.abs(gaps @ counts.astype(np.float64)).sum(axis=0)
        return ratio(gap, counts.sum(axis=0, dtype=np.int64))

    return values


_AT_LEVEL = {"sensitivity_at_specificity": sensitivity, "specificity_at_sensitivity": specificity}
# The key of every entry is the name of a metric; its function documents range, direction and source.
METRICS: dict[str, Prepare] = {
    "accuracy": partial(_from_decisions, _accuracy),
    "balanced_accuracy": partial(_from_decisions, _balanced_accuracy),
    "auroc": partial(_from_roc, auroc),
    "f1": partial(_from_decisions, _f1),
    "sensitivity_at_specificity": partial(_from_roc, partial(sensitivity, level=DEFAULT_LEVEL)),
    "specificity_at_sensitivity": partial(_from_roc, partial(specificity, level=DEFAULT_LEVEL)),
    "expected_calibration_error": _calibration_error,
    "cohen_kappa": partial(_from_decisions, _cohen_kappa),
}
# Metrics of grades alone.
ORDINAL_METRICS: dict[str, Prepare] = {
    "quadratic_kappa": quadratic_kappa,
    "mean_absolute_error": mean_absolute_error,
}
# Metrics of several findings alone.
MULTILABEL_METRICS: dict[str, Prepare] = {
    "mean_auroc": mean_auroc,
    "mean_average_precision": mean_average_precision,
}
ALL_METRICS = METRICS | ORDINAL_METRICS | MULTILABEL_METRICS
PERFORMANCES = tuple(name for name in ALL_METRICS if name not in _NO_PERFORMANCE)


# Metrics of two classes by a file's own decision: their logits are certain of it, see `ranking.decided`.
DECISION_METRICS: dict[str, Prepare] = {
    "sensitivity_at_decision": partial(_from_decisions, _share_of_positive),
    "specificity_at_decision": partial(_from_decisions, _share_of_negative),
    "ppv_at_decision": partial(_from_decisions, _share_of_alarms),
    "npv_at_decision": partial(_from_decisions, _share_of_rejections),
}
RANKED_BY = (*PERFORMANCES, *DECISION_METRICS)


def training_metric(name: str) -> str:
    """Return the metric by which epochs and files are compared in place of one that needs a decision."""
    return "auroc" if name in DECISION_METRICS else name


def _prepare(name: str) -> Prepare:
    if name in DECISION_METRICS:
        return DECISION_METRICS[name]
    if name in ALL_METRICS:
        return ALL_METRICS[name]
    match = re.fullmatch(rf"({'|'.join(_AT_LEVEL)})_(0\.[0-9]+)", name)
    if match is None or not 0 < float(match[2]) < 1:
        raise ScoreError(f"metric {name!r}, expected one of {_listed(ALL_METRICS)}.")
    return partial(_from_roc, partial(_AT_LEVEL[match[1]], level=float(match[2])))


def resampled(
    name: str,
    logits: Logits,
    labels: Labels,
    counts: Counts,
    positive: int = 1,
    kind: TaskKind = DEFAULT_TASK,
) -> Floats:
    """Return a metric of each resample, shape (resamples,); NaN for resamples on which it is not defined.

    Args:
        name: the metric, with or without a level.
        counts: how often a resample contains each image, shape (resamples, n), as from `resample_counts`. Use
            the same counts for several models to get paired values.
        positive: class number of the positive of two classes.
        kind: of task.
    Raises:
        ScoreError: the metric is unknown.
    """
    values = _prepare(name)(logits, labels, View(positive, kind))
    return np.concatenate([values(counts[chunk].T) for chunk in chunks(len(counts), len(labels))])
