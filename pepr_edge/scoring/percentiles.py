"""Percentiles of latency: MLPerf's early-stopping estimates, and the interval of the p90."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pepr_edge.errors import MeasurementError
from pepr_edge.records import Percentiles

CONFIDENCE = 0.99
Z_95 = 1.959963984540054  # standard normal quantile at 0.975, for two-sided 95 % intervals


def early_stopping_percentile(latencies_s: Sequence[float], percentile: float) -> float | None:
    """Early-stopping estimate of a latency percentile.

    Args:
        latencies_s: raw latencies after warm-up, seconds, any order.
        percentile: in (0, 1).
    Returns:
        Seconds, or None if there are too few latencies to support it.
    Raises:
        MeasurementError: a latency is negative or not finite.
    Source: MLPerf Inference, loadgen early stopping.
    """
    return _estimate(_sorted(latencies_s), percentile)


def _sorted(latencies_s: Sequence[float]) -> Sequence[float]:
    if any(not (math.isfinite(latency) and latency >= 0) for latency in latencies_s):
        raise MeasurementError("a latency is negative or not finite, expected seconds >= 0. Measure again.")
    return sorted(latencies_s)


def _estimate(sorted_s: Sequence[float], percentile: float) -> float | None:
    allowed = overlatency_allowed(len(sorted_s), percentile)
    return float(sorted_s[-allowed]) if allowed >= 1 else None


def overlatency_allowed(n: int, percentile: float) -> int:
    """Return the largest t with P[Binom(n, 1 - percentile) <= t] <= 1 - CONFIDENCE; -1 if there is none.

    The terms are computed as logarithms, since the first of them underflow for large n.
    """
    log_odds = math.log1p(-percentile) - math.log(percentile)
    log_term = n * math.log(percentile)
    total = 0.0
    t = -1
    while t < n:
        total += math.exp(log_term)
        if total > 1 - CONFIDENCE:
            break
        t += 1
        if t < n:
            log_term += math.log((n - t) / (t + 1)) + log_odds
    return t


def percentiles(latencies_s: Sequence[float]) -> Percentiles:
    """Return the early-stopping estimates of p50, p90, p95 and p99; None if there are too few latencies."""
    sorted_s = _sorted(latencies_s)  # sorted once: reports are written while a model is measured
    return Percentiles(
        p50=_estimate(sorted_s, 0.50),
        p90=_estimate(sorted_s, 0.90),
        p95=_estimate(sorted_s, 0.95),
        p99=_estimate(sorted_s, 0.99),
    )


# Latencies near each other share what disturbs them (other programs, clock rates), so the spread between
# blocks counts. Blocks are also joined two by two, four by four, ... while MIN_GROUPS are left: a
# disturbance that lasts for several blocks then shows.
MIN_GROUPS = 4
# A profile without block lengths is cut into this many blocks.
DEFAULT_BLOCKS = 16


def p90_interval(latencies_s: Sequence[float], blocks: Sequence[int] = ()) -> tuple[float, float] | None:
    """Return the 95 % interval of the p90, seconds; None if there are too few latencies or blocks for it.

    The share of latencies above the p90 varies between blocks more than between independent latencies. From
    that variation follows which order statistics hold the true p90 (Woodruff's interval for a sample of
    clusters).

    Args:
        latencies_s: raw latencies after warm-up, seconds, in the order they were taken.
        blocks: the number of latencies in each block, in order; empty: blocks of equal length.
    Source: Woodruff, Confidence intervals for medians and other position measures, JASA 47 (1952).
    """
    latencies = np.asarray(latencies_s, dtype=np.float64)
    n = len(latencies)
    # Blocks that are not those of these latencies come from a damaged or foreign file.
    is_whole = sum(blocks) == n and all(length > 0 for length in blocks)
    lengths = np.asarray(blocks if is_whole else _equal_blocks(n), dtype=np.int64)
    if len(lengths) < MIN_GROUPS or not n:
        return None
    ordered = np.sort(latencies)
    above = latencies > ordered[math.ceil(0.9 * n) - 1]
    starts = np.concatenate(([0], np.cumsum(lengths)[:-1]))
    # By how many latencies above the p90 a block has more than its share.
    excess = np.add.reduceat(above.astype(np.float64), starts) - above.mean() * lengths
    margin = max(Z_95 * math.sqrt(0.9 * 0.1 / n), _largest_margin(excess) / n)
    low = max(0, math.floor(n * (0.9 - margin)))
    high = min(n, math.ceil(n * (0.9 + margin))) - 1
    return float(ordered[low]), float(ordered[high])


def p90_error(latencies_s: Sequence[float], blocks: Sequence[int] = ()) -> float | None:
    """Return the standard error of the p90, seconds, by its 95 % interval; None if there is none."""
    interval_s = p90_interval(latencies_s, blocks)
    return None if interval_s is None else (interval_s[1] - interval_s[0]) / (2 * Z_95)


def _equal_blocks(n: int) -> list[int]:
    """Return the lengths of DEFAULT_BLOCKS blocks of about equal length; none for too few latencies."""
    if n < 2 * DEFAULT_BLOCKS:
        return []
    ends = [n * number // DEFAULT_BLOCKS for number in range(DEFAULT_BLOCKS + 1)]
    return [end - start for start, end in pairwise(ends)]


def _largest_margin(excess: NDArray[np.float64]) -> float:
    """Return the half-width of the interval of the sum of `excess`: the largest over joined blocks."""
    largest = 0.0
    groups = len(excess)
    while groups >= MIN_GROUPS:
        starts = np.arange(groups) * len(excess) // groups
        sums = np.add.reduceat(excess, starts)
        error = math.sqrt(groups / (groups - 1) * float((sums**2).sum()))
        largest = max(largest, _student_quantile(groups - 1) * error)
        groups //= 2
    return largest


def _student_quantile(degrees: int) -> float:
    """Return the quantile of Student's t for a two-sided 95 % interval; within 1 % from 3 degrees of freedom.

    Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.5.
    """
    z = Z_95
    return (
        z
        + (z**3 + z) / (4 * degrees)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * degrees**3)
    )
