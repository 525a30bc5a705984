"""The tests: independent and paired t-test, Wilcoxon's signed ranks, effect sizes, Holm's adjustment. scipy is imported when one is made.

What is not defined is None: a t and an interval where nothing varies, any test of fewer than two values.
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
# Scores lie in [0, 1] and are sums of a few rounded terms: what varies by less than this does not vary.
NOTHING = 1e-12


@dataclass(frozen=True)
class Independent:
    """Second group minus first. `ci` is that of the difference of the means, by the pooled variance; `d` is Cohen's, by the same."""

    difference: float | None
    ci: Interval | None = None
    t: float | None = None
    p: float | None = None
    d: float | None = None


@dataclass(frozen=True)
class Paired:
    """B minus A on the same architectures. `higher` counts those that are greater in B, `lower` those that are less."""

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
    if flat(first) and flat(second):
        return Independent(difference)
    with _quiet():
        found = _stats().ttest_ind(second, first, equal_var=True)
        interval = found.confidence_interval(CONFIDENCE)
    # t = d / sqrt(1/n + 1/m), both by the pooled standard deviation.
    d = float(found.statistic) * math.sqrt(1 / first.size + 1 / second.size)
    return Independent(
        difference,
        (float(interval.low), float(interval.high)),
        float(found.statistic),
        float(found.pvalue),
        d,
    )


def paired(first: Array, second: Array) -> Paired:
    """Paired t-test and Wilcoxon's signed-rank test of second minus first.

    Args:
        first, second: values of the same architectures in the same order, shape (n,), finite.
    Source: Lakens 2013 for d_z, mean over standard deviation of the differences.
    """
    change = second - first
    if not change.size:
        return Paired(None)
    change = np.where(np.abs(change) <= NOTHING, 0.0, change)
    difference, higher, lower = float(change.mean()), int((change > 0).sum()), int((change < 0).sum())
    if change.size < 2:
        return Paired(difference, higher, lower)
    wilcoxon_p = _wilcoxon(change)
    if flat(change):
        return Paired(difference, higher, lower, wilcoxon_p=wilcoxon_p)
    with _quiet():
        found = _stats().ttest_1samp(change, 0.0)
        interval = found.confidence_interval(CONFIDENCE)
    d_z = float(found.statistic) / math.sqrt(change.size)
    ci = (float(interval.low), float(interval.high))
    return Paired(difference, higher, lower, ci, float(found.statistic), float(found.pvalue), wilcoxon_p, d_z)


def _wilcoxon(change: Array) -> float | None:
    """Two-sided p, pairs without a difference left out; None where no pair has one."""
    # Differences that are equal but for rounding share a rank.
    rounded = np.round(change, 12)
    if not rounded.any():
        return None
    with _quiet():
        return float(_stats().wilcoxon(rounded).pvalue)


def holm(values: Sequence[float | None]) -> list[float | None]:
    """p-values adjusted for all tests that were made; None, a test that was not, stays None and does not count.

    Source: Holm 1979, Scandinavian Journal of Statistics 6.
    """
    made = sorted((value, place) for place, value in enumerate(values) if value is not None)
    adjusted: list[float | None] = [None] * len(values)
    least = 0.0
    for rank, (value, place) in enumerate(made):
        least = max(least, min(1.0, (len(made) - rank) * value))
        adjusted[place] = least
    return adjusted


def flat(values: Array) -> bool:
    """Whether values do not vary, rounding apart."""
    return float(np.ptp(values)) <= NOTHING


def _stats() -> Any:
    """scipy's tests: it is on the workstation only, and has no types."""
    from scipy import stats  # type: ignore[import-untyped,unused-ignore]

    return stats


@contextmanager
def _quiet() -> Iterator[None]:
    """scipy warns where values are nearly equal and where ties rule out an exact p; both are as good as they get."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        warnings.simplefilter("ignore", UserWarning)
        yield
