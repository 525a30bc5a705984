"""The tests: independent and paired t-test, Wilcoxon's signed ranks, effect sizes, Holm's adjustment.

Undefined values are None: t and interval of constant values, any test of fewer than two values. scipy is
imported when a test is made.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Interval = tuple[float, float]
CONFIDENCE = 0.95
# Scores lie in [0, 1] and are sums of a few rounded terms: a smaller variation is rounding.
TOLERANCE = 1e-12


@dataclass(frozen=True)
class Independent:
    """Second group minus first. `ci`, of the difference of means, and Cohen's `d` use the pooled variance."""

    difference: float | None
    ci: Interval | None = None
    t: float | None = None
    p: float | None = None
    d: float | None = None


@dataclass(frozen=True)
class Paired:
    """B minus A on the same architectures. `higher` and `lower`: the numbers of pairs with that sign."""

    difference: float | None
    higher: int = 0
    lower: int = 0
    ci: Interval | None = None
    t: float | None = None
    p: float | None = None
    wilcoxon_p: float | None = None
    d_z: float | None = None


def independent(first: Array, second: Array) -> Independent:
    """Student's t-test of two independent groups with equal variances, as in the paper.

    Args:
        first, second: values of the groups, shapes (n,) and (m,), finite.
    Source: Selvan et al. 2025, section 4; Cohen 1988 for d.
    """
    if not first.size or not second.size:
        return Independent(None)
    difference = float(second.mean() - first.mean())
    if min(first.size, second.size) < 2:
        return Independent(difference)
    if is_constant(first) and is_constant(second):
        return Independent(difference)
    with _no_warnings():
        test = _scipy_stats().ttest_ind(second, first, equal_var=True)
        interval = test.confidence_interval(CONFIDENCE)
    t = float(test.statistic)
    # t = d / sqrt(1/n + 1/m), both with the pooled standard deviation.
    d = t * math.sqrt(1 / first.size + 1 / second.size)
    return Independent(difference, (float(interval.low), float(interval.high)), t, float(test.pvalue), d)


def paired(first: Array, second: Array) -> Paired:
    """Paired t-test and Wilcoxon's signed-rank test of second minus first.

    Args:
        first, second: values of the same architectures in the same order, shape (n,), finite.
    Source: Lakens 2013 for d_z, mean over standard deviation of the differences.
    """
    change = second - first
    if not change.size:
        return Paired(None)
    change = np.where(np.abs(change) <= TOLERANCE, 0.0, change)
    difference = float(change.mean())
    higher = int((change > 0).sum())
    lower = int((change < 0).sum())
    if change.size < 2:
        return Paired(difference, higher, lower)
    wilcoxon_p = _wilcoxon(change)
    if is_constant(change):
        return Paired(difference, higher, lower, wilcoxon_p=wilcoxon_p)
    with _no_warnings():
        test = _scipy_stats().ttest_1samp(change, 0.0)
        interval = test.confidence_interval(CONFIDENCE)
    t = float(test.statistic)
    ci = (float(interval.low), float(interval.high))
    d_z = t / math.sqrt(change.size)
    return Paired(difference, higher, lower, ci, t, float(test.pvalue), wilcoxon_p, d_z)


def _wilcoxon(change: Array) -> float | None:
    """Return the two-sided p, without the pairs that do not differ; None if no pair differs."""
    # Differences that are equal except for rounding share a rank.
    rounded = np.round(change, 12)
    if not rounded.any():
        return None
    with _no_warnings():
        return float(_scipy_stats().wilcoxon(rounded).pvalue)


def holm(values: Sequence[float | None]) -> list[float | None]:
    """Return p-values adjusted for the number of tests; None, a test that was not made, stays None.

    Source: Holm 1979, Scandinavian Journal of Statistics 6.
    """
    ascending = sorted((value, place) for place, value in enumerate(values) if value is not None)
    adjusted: list[float | None] = [None] * len(values)
    highest = 0.0
    for rank, (value, place) in enumerate(ascending):
        highest = max(highest, min(1.0, (len(ascending) - rank) * value))
        adjusted[place] = highest
    return adjusted


def is_constant(values: Array) -> bool:
    """True if values do not vary except for rounding."""
    return float(np.ptp(values)) <= TOLERANCE


def _scipy_stats() -> Any:
    """Import scipy's tests: scipy is on the workstation only, and has no types."""
    from scipy import stats  # type: ignore[import-untyped,unused-ignore]

    return stats


@contextmanager
def _no_warnings() -> Iterator[None]:
    """Ignore scipy's warnings about nearly equal values and about ties that rule out an exact p."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        warnings.simplefilter("ignore", UserWarning)
        yield
