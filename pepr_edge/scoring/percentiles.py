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
