"""Performance of a classifier from its logits. numpy only: the field needs none of scikit-learn.

Every metric takes logits of shape (n, classes), any real numbers, and labels of shape (n,), integers below classes; it is NaN where it is
not defined. Each is written once, for many resamples side by side: a resample is how often each image was drawn.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pepr_edge.errors import ScoreError

Logits = NDArray[np.floating]
Labels = NDArray[np.integer]
Floats = NDArray[np.float64]
Counts = NDArray[
    np.integer
]  # how often each image was drawn: (resamples, n) outside, (n, resamples) inside, where the sums run fast
Prepare = Callable[
    [Logits, Labels], Callable[[Counts], Floats]
]  # a metric of these images: counts (n, resamples) -> values (resamples,)
BINS = 15  # Guo et al. 2017
LEVEL = 0.9
CELLS = 2**18  # images times resamples worked on at once: they fit into a processor's cache


def softmax(logits: Logits) -> Floats:
    """Class probabilities, shape (n, classes)."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True), dtype=np.float64)


def confusion_matrix(logits: Logits, labels: Labels) -> NDArray[np.int64]:
    """Number of images by true class (rows) and predicted class (columns), shape (classes, classes)."""
    classes = logits.shape[1]
    cells = labels.astype(np.int64) * classes + logits.argmax(axis=1)
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes)


def accuracy(logits: Logits, labels: Labels) -> float:
    """Share of images whose greatest logit is that of their label."""
    return _once("accuracy", logits, labels)


def balanced_accuracy(logits: Logits, labels: Labels) -> float:
    """Mean over the classes that occur of the share of their images decided rightly."""
    return _once("balanced_accuracy", logits, labels)


def auroc(logits: Logits, labels: Labels) -> float:
    """Area under the ROC curve: of class 1 for two classes, else the mean over the classes of one against the rest.

    NaN where only one class occurs. Source: Mann-Whitney U with mid-ranks for ties.
    """
    return _once("auroc", logits, labels)


def f1(logits: Logits, labels: Labels) -> float:
    """Harmonic mean of sensitivity and precision: of class 1 for two classes, else the mean over the classes that occur or are predicted.

    NaN for two classes where class 1 neither occurs nor is predicted. Source: van Rijsbergen 1979; the mean as scikit-learn's "macro".
    """
    return _once("f1", logits, labels)


def sensitivity_at_specificity(logits: Logits, labels: Labels, level: float = LEVEL) -> float:
    """Greatest sensitivity at any threshold whose specificity is at least `level`, strictly in (0, 1); classes as for the AUROC."""
    return _once(f"sensitivity_at_specificity_{level}", logits, labels)


def specificity_at_sensitivity(logits: Logits, labels: Labels, level: float = LEVEL) -> float:
    """Greatest specificity at any threshold whose sensitivity is at least `level`, strictly in (0, 1); classes as for the AUROC."""
    return _once(f"specificity_at_sensitivity_{level}", logits, labels)


def expected_calibration_error(logits: Logits, labels: Labels) -> float:
    """How far the predicted class's probability is from how often it is right, in [0, 1], less is better: mean over 15 bins by images.

    Chance alone makes it greater than 0. Source: Guo et al. 2017, On calibration of modern neural networks; bins of equal width.
    """
    return _once("expected_calibration_error", logits, labels)


def cohen_kappa(logits: Logits, labels: Labels) -> float:
    """Agreement of decisions and labels beyond chance, in [-1, 1]. NaN where chance alone agrees on all. Source: Cohen 1960."""
    return _once("cohen_kappa", logits, labels)


METRICS: dict[str, Callable[[Logits, Labels], float]] = {
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
    "auroc": auroc,
    "f1": f1,
    "sensitivity_at_specificity": sensitivity_at_specificity,
    "specificity_at_sensitivity": specificity_at_sensitivity,
    "expected_calibration_error": expected_calibration_error,
    "cohen_kappa": cohen_kappa,
}
# What is no performance in the sense of PePR, and why.
_NO_PERFORMANCE = {
    "expected_calibration_error": "of the expected calibration error less is better",
    "cohen_kappa": "Cohen's kappa can be below 0",
    "confusion_matrix": "a confusion matrix is a table, not one figure",
}
PERFORMANCES = tuple(name for name in METRICS if name not in _NO_PERFORMANCE)


def metric(name: str) -> Callable[[Logits, Labels], float]:
    """The metric of that name; a level may follow it, as in `sensitivity_at_specificity_0.95`.

    Raises:
        ScoreError: it is not known.
    """
    _prepare(name)
    return METRICS.get(name, partial(_once, name))


def positive_class(name: str, labels: Sequence[str]) -> str | None:
    """The class that a metric is of: the second of two for those that tell the two apart, None for those that are of all classes."""
    one_sided = name.startswith(("f1", *_AT_LEVEL))
    return labels[1] if one_sided and len(labels) == 2 else None


def performance_fault(name: str) -> str:
    """What is expected in the place of a name that cannot be the P of a PePR score, with the reason; empty where it can."""
    expected = f"one of {_listed(PERFORMANCES)}"
    if name in _NO_PERFORMANCE:
        return f"{expected} ({_NO_PERFORMANCE[name]}; PePR needs a figure in [0, 1] of which more is better)"
    try:
        _prepare(name)
    except ScoreError:
        return expected
    return ""


def _listed(names: Iterable[str]) -> str:
    return f"{', '.join(names)}, or with a level, as in sensitivity_at_specificity_0.95"


def _once(name: str, logits: Logits, labels: Labels) -> float:
    return float(resampled(name, logits, labels, np.ones((1, len(labels)), np.uint16))[0])


def _share(part: NDArray[np.generic], whole: NDArray[np.generic]) -> Floats:
    """part / whole, NaN where there is nothing to have a part of."""
    return np.divide(
        part, whole, out=np.full(np.broadcast_shapes(part.shape, whole.shape), np.nan), where=whole > 0
    )  # type: ignore[operator]


def _mean_known(values: Floats) -> Floats:
    """Mean over the first axis of what is not NaN; NaN where nothing is."""
    known = ~np.isnan(values)
    return _share(np.where(known, values, 0.0).sum(axis=0), known.sum(axis=0))


def _by_decision(
    of: Callable[[Floats, Floats, Floats], Floats], logits: Logits, labels: Labels
) -> Callable[[Counts], Floats]:
    """A metric of the diagonal, the row sums and the column sums of the confusion matrix, each (classes, resamples)."""
    classes = np.arange(logits.shape[1])[:, None]
    true, predicted = labels == classes, logits.argmax(axis=1) == classes
    # float32 holds the sums exactly, up to 2**24 images.
    members = np.concatenate([true & predicted, true, predicted]).astype(np.float32)
    return lambda counts: of(
        *(members @ counts.astype(np.float32)).astype(np.float64).reshape(3, len(classes), -1)
    )


def _f1(hits: Floats, true: Floats, predicted: Floats) -> Floats:
    by_class = _share(2 * hits, true + predicted)
    return by_class[1] if len(hits) == 2 else _mean_known(by_class)


def _kappa(hits: Floats, true: Floats, predicted: Floats) -> Floats:
    n, by_chance = true.sum(axis=0), (true * predicted).sum(axis=0)
    return _share(n * hits.sum(axis=0) - by_chance, n * n - by_chance)


def log_odds(logits: Logits, label: int) -> Floats:
    """log p - log(1 - p) of one class: the order of its probabilities, without the ties that come where they round to 1."""
    # Sorted, so that the sum does not depend on which class has which logit: images that are equal stay so.
    others = np.sort(np.delete(logits.astype(np.float64), label, axis=1), axis=1)
    highest = others[:, -1]
    rest = np.log(np.exp(others - highest[:, None]).sum(axis=1))
    return np.asarray(logits[:, label] - highest - rest, dtype=np.float64)


class _Roc(NamedTuple):
    """Images of a class and the others, each by falling score, and how many of one kind stand before each of the other."""

    positive: NDArray[np.intp]
    negative: NDArray[np.intp]
    above: NDArray[np.intp]  # per negative, the positives with a greater score
    reached: NDArray[np.intp]  # per negative, the positives with a greater score or the same
    passed: NDArray[np.intp]  # per positive, the negatives with a greater score or the same


def _roc(logits: Logits, labels: Labels, label: int) -> _Roc:
    falling = -log_odds(logits, label)
    order = np.argsort(falling, kind="stable")
    positive, negative = order[labels[order] == label], order[labels[order] != label]
    own, other = falling[positive], falling[negative]
    above, reached = np.searchsorted(own, other, "left"), np.searchsorted(own, other, "right")
    return _Roc(positive, negative, above, reached, np.searchsorted(other, own, "right"))


def _by_threshold(
    of: Callable[[_Roc, Counts, Counts], Floats], logits: Logits, labels: Labels
) -> Callable[[Counts], Floats]:
    """A metric of the ROC curve: of class 1 for two classes, else the mean over the classes of one against the rest."""
    curves = [
        _roc(logits, labels, label) for label in ([1] if logits.shape[1] == 2 else range(logits.shape[1]))
    ]
    curves = [roc for roc in curves if len(roc.positive) and len(roc.negative)]

    def values(counts: Counts) -> Floats:
        found = [of(roc, _running(counts[roc.positive]), _running(counts[roc.negative])) for roc in curves]
        return _mean_known(np.stack(found)) if found else np.full(counts.shape[1], np.nan)

    return values


def _running(counts: Counts) -> Counts:
    """Number drawn of the first 0, 1, ... m images, shape (m + 1, resamples)."""
    sums = np.zeros((len(counts) + 1, counts.shape[1]), np.int32)
    np.cumsum(counts, axis=0, dtype=np.int32, out=sums[1:])
    return sums


def _auroc(roc: _Roc, true: Counts, false: Counts) -> Floats:
    # Twice Mann-Whitney's U: a tie is half a pair in the right order.
    before = (true[roc.above] + true[roc.reached]).astype(np.float64)
    pairs = np.einsum("ij,ij->j", np.diff(false, axis=0).astype(np.float64), before)
    return _share(pairs, 2.0 * true[-1] * false[-1])


def _sensitivity(roc: _Roc, true: Counts, false: Counts, level: float) -> Floats:
    # The threshold stands just above the first negative that may no longer pass.
    first = (_share(false[-1] - false[1:], false[-1]) < level).argmax(axis=0)
    found = _share(true[roc.above[first], np.arange(len(first))], true[-1])
    return np.where(false[-1] > 0, found, np.nan)


def _specificity(roc: _Roc, true: Counts, false: Counts, level: float) -> Floats:
    # The threshold stands at the first positive with which enough are found.
    first = (_share(true[1:], true[-1]) >= level).argmax(axis=0)
    found = _share(false[-1] - false[roc.passed[first], np.arange(len(first))], false[-1])
    return np.where(true[-1] > 0, found, np.nan)


def calibration_gaps(logits: Logits, labels: Labels) -> tuple[Floats, Floats, Floats]:
    """Probability of the predicted class, shape (n,); which images are in which bin, and right less probability there, (bins, n)."""
    probability = softmax(logits).max(axis=1)
    member = np.arange(BINS)[:, None] == np.searchsorted(np.arange(1, BINS) / BINS, probability)
    return probability, member.astype(np.float64), member * ((logits.argmax(axis=1) == labels) - probability)


def _calibration_error(logits: Logits, labels: Labels) -> Callable[[Counts], Floats]:
    _, _, gaps = calibration_gaps(logits, labels)
    return lambda counts: _share(
        np.abs(gaps @ counts.astype(np.float64)).sum(axis=0), counts.sum(axis=0, dtype=np.int64)
    )


_AT_LEVEL = {"sensitivity_at_specificity": _sensitivity, "specificity_at_sensitivity": _specificity}
_PREPARE: dict[str, Prepare] = {
    "accuracy": partial(
        _by_decision, lambda hits, true, predicted: _share(hits.sum(axis=0), true.sum(axis=0))
    ),
    "balanced_accuracy": partial(_by_decision, lambda hits, true, predicted: _mean_known(_share(hits, true))),
    "auroc": partial(_by_threshold, _auroc),
    "f1": partial(_by_decision, _f1),
    **{name: partial(_by_threshold, partial(of, level=LEVEL)) for name, of in _AT_LEVEL.items()},
    "expected_calibration_error": _calibration_error,
    "cohen_kappa": partial(_by_decision, _kappa),
}


def _prepare(name: str) -> Prepare:
    if name in _PREPARE:
        return _PREPARE[name]
    found = re.fullmatch(rf"({'|'.join(_AT_LEVEL)})_(0\.[0-9]+)", name)
    if found is None or not 0 < float(found[2]) < 1:
        raise ScoreError(f"metric {name!r}, expected one of {_listed(METRICS)}.")
    return partial(_by_threshold, partial(_AT_LEVEL[found[1]], level=float(found[2])))


def chunks(resamples: int, n: int) -> Iterator[slice]:
    """Resamples of n images by the portion that is worked on at once."""
    step = max(32, CELLS // max(n, 1))
    return (slice(start, min(start + step, resamples)) for start in range(0, resamples, step))


def resampled(name: str, logits: Logits, labels: Labels, counts: Counts) -> Floats:
    """A metric of each resample, shape (resamples,): of the images, each as often as it was drawn. NaN where that does not define it.

    Args:
        name: of the metric, with or without a level.
        counts: whole numbers, shape (resamples, n), as of `resample_counts`. The same counts make the values of several models paired.
    Raises:
        ScoreError: the metric is not known.
    """
    values = _prepare(name)(logits, labels)
    return np.concatenate([values(counts[chunk].T) for chunk in chunks(len(counts), len(labels))])
