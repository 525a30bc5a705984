"""Early-stopping percentiles of latency, as in MLPerf."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pepr_edge.errors import MeasurementError
from pepr_edge.records import Percentiles

CONFIDENCE = 0.99


def early_stopping_percentile(latencies_s: Sequence[float], percentile: float) -> float | None:
    """Early-stopping estimate of a latency percentile.

    Args:
        latencies_s: raw latencies after warm-up, seconds, any order.
        percentile: in (0, 1).
    Returns:
        Seconds, or None where there are too few latencies to support it.
    Raises:
        MeasurementError: a latency is negative or not finite.
    Source: MLPerf Inference, loadgen early stopping.
    """
    return _estimate(_rising(latencies_s), percentile)


def _rising(latencies_s: Sequence[float]) -> Sequence[float]:
    if any(not (math.isfinite(latency) and latency >= 0) for latency in latencies_s):
        raise MeasurementError("a latency is negative or not finite, expected seconds >= 0. Measure again.")
    return sorted(latencies_s)


def _estimate(rising_s: Sequence[float], percentile: float) -> float | None:
    allowed = overlatency_allowed(len(rising_s), percentile)
    return float(rising_s[-allowed]) if allowed >= 1 else None


def overlatency_allowed(n: int, percentile: float) -> int:
    """The largest t with P[Binom(n, 1 - percentile) <= t] <= 1 - CONFIDENCE; -1 where there is none.

    The terms are summed as logarithms, since the first of them underflow for large n.
    """
    odds = math.log1p(-percentile) - math.log(percentile)
    log_term, total, t = n * math.log(percentile), 0.0, -1
    while t < n:
        total += math.exp(log_term)
        if total > 1 - CONFIDENCE:
            break
        t += 1
        log_term += math.log((n - t) / (t + 1)) + odds if t < n else 0.0
    return t


def percentiles(latencies_s: Sequence[float]) -> Percentiles:
    """Early-stopping estimates of p50, p90, p95 and p99; None for those that there are too few latencies for."""
    rising_s = _rising(latencies_s)  # once: a report is written while the model is measured
    p50, p90, p95, p99 = (_estimate(rising_s, percentile) for percentile in (0.50, 0.90, 0.95, 0.99))
    return Percentiles(p50=p50, p90=p90, p95=p95, p99=p99)
