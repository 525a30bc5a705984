"""Performance of a classifier from its logits, with 95 % intervals. numpy only: the field needs none of scikit-learn.

Every metric takes logits of shape (n, classes), any real numbers, and labels of shape (n,), integers below classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pepr_edge.records import Estimate, Split

Logits = NDArray[np.floating]
Labels = NDArray[np.integer]
Z_95 = 1.959963984540054  # standard normal quantile at 0.975
RESAMPLES = 500


def softmax(logits: Logits) -> NDArray[np.float64]:
    """Class probabilities, shape (n, classes)."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True), dtype=np.float64)


def accuracy(logits: Logits, labels: Labels) -> float:
    """Share of images whose greatest logit is that of their label."""
    return float((logits.argmax(axis=1) == labels).mean())


def balanced_accuracy(logits: Logits, labels: Labels) -> float:
    """Mean over the classes that occur of the share of their images decided rightly."""
    right = logits.argmax(axis=1) == labels
    return float(np.mean([right[labels == label].mean() for label in np.unique(labels)]))


def auroc(logits: Logits, labels: Labels) -> float:
    """Area under the ROC curve: of class 1 for two classes, else the mean over the classes of one against the rest.

    NaN where only one class occurs. Source: Mann-Whitney U with mid-ranks for ties.
    """
    classes = [1] if logits.shape[1] == 2 else range(logits.shape[1])
    areas = [_auroc_binary(_log_odds(logits, label), labels == label) for label in classes]
    known = [area for area in areas if not math.isnan(area)]
    return float(np.mean(known)) if known else math.nan


def _log_odds(logits: Logits, label: int) -> NDArray[np.float64]:
    """log p - log(1 - p) of one class: the order of its probabilities, without the ties that come where they round to 1."""
    # Sorted, so that the sum does not depend on which class has which logit: images that are equal stay so.
    others = np.sort(np.delete(logits.astype(np.float64), label, axis=1), axis=1)
    highest = others[:, -1]
    rest = np.log(np.exp(others - highest[:, None]).sum(axis=1))
    return np.asarray(logits[:, label] - highest - rest, dtype=np.float64)


def _auroc_binary(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    if not n_positive or not n_negative:
        return math.nan
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    mid_ranks = np.cumsum(counts) - (counts - 1) / 2
    u = mid_ranks[inverse][positive].sum() - n_positive * (n_positive + 1) / 2
    return float(u / (n_positive * n_negative))


METRICS: dict[str, Callable[[Logits, Labels], float]] = {
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
    "auroc": auroc,
}


def wilson(successes: int, n: int) -> tuple[float, float]:
    """95 % interval of a proportion. Source: Wilson 1927."""
    p, z2 = successes / n, Z_95**2
    centre, half = p + z2 / (2 * n), Z_95 * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return max(0.0, (centre - half) / (1 + z2 / n)), min(1.0, (centre + half) / (1 + z2 / n))


def bootstrap(metric: Callable[[Logits, Labels], float], logits: Logits, labels: Labels, seed: int = 0) -> tuple[float, float]:
    """95 % interval by resampling images within each class (stratified percentile bootstrap)."""
    rng = np.random.default_rng(seed)
    by_class = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    values = []
    for _ in range(RESAMPLES):
        chosen = np.concatenate([rng.choice(indices, size=len(indices)) for indices in by_class])
        values.append(metric(logits[chosen], labels[chosen]))
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def estimate(name: str, logits: Logits, labels: Labels, split: Split) -> Estimate | None:
    """One metric with its interval; None where it is not defined on this split (one class only)."""
    value = METRICS[name](logits, labels)
    if math.isnan(value):
        return None
    n = len(labels)
    interval = wilson(round(value * n), n) if name == "accuracy" else bootstrap(METRICS[name], logits, labels)
    # The bootstrap of a value at the edge may leave the value itself outside by rounding.
    return Estimate(value=value, ci=(min(interval[0], value), max(interval[1], value)), split=split, n=n)


def estimates(logits: dict[Split, Logits], labels: dict[Split, Labels]) -> dict[str, Estimate]:
    """All metrics on validation (`val_<metric>`) and test (`<metric>`)."""
    found = {}
    for split in logits:
        for name in METRICS:
            if (result := estimate(name, logits[split], labels[split], split)) is not None:
                found[name if split == "test" else f"{split}_{name}"] = result
    return found


def mcnemar(right_a: NDArray[np.bool_], right_b: NDArray[np.bool_]) -> float:
    """Exact two-sided p-value that two classifiers, on the same images, are right equally often.

    Args:
        right_a, right_b: which images each decided rightly, shape (n,).
    Source: McNemar 1947, exact binomial form.
    """
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    n = only_a + only_b
    if n == 0:
        return 1.0
    # In logarithms: with thousands of discordant images 2**n no longer fits a float.
    terms = [math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) - n * math.log(2) for k in range(min(only_a, only_b) + 1)]
    return min(1.0, 2 * sum(math.exp(term) for term in terms))
