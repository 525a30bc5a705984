"""The measuring rules: how long to measure, what a percentile may claim, and when a measurement is INVALID.

Source: MLPerf Inference, loadgen: single stream, early stopping.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from pepr_edge.errors import MeasurementError
from pepr_edge.records import Percentiles, Validity

CONFIDENCE = 0.99
MAX_DRIFT = 0.15  # of the median of the first third


@dataclass(frozen=True)
class Rules:
    """Warm-up runs AND seconds, then queries AND seconds, and the cap that ends a measurement whatever was reached."""

    warmup_runs: int = 10
    warmup_s: float = 2.0
    queries: int = 1024
    duration_s: float = 60.0
    cap_s: float = 600.0


RULES: dict[Literal["full", "quick"], Rules] = {"full": Rules(), "quick": Rules(queries=128, duration_s=10.0)}


@cache
def allowed_above(n: int, percentile: float) -> int:
    """How many of n latencies may lie above the percentile's estimate: the largest t with P[Binom(n, 1-p) <= t] <= 1 - confidence; -1 if none.

    Summed from t = 0 upwards in logarithms, so that large n do not underflow to a wrong answer.
    """
    above = 1 - percentile
    log_term = n * math.log1p(-above)
    total, t = 0.0, -1
    while True:
        total += math.exp(log_term)
        if total > 1 - CONFIDENCE or t + 1 >= n:
            return t
        t += 1
        log_term += math.log(n - t) - math.log(t + 1) + math.log(above) - math.log1p(-above)


def early_stopping_percentile(latencies_s: Sequence[float], percentile: float) -> float | None:
    """Early-stopping estimate of a latency percentile.

    Args:
        latencies_s: raw latencies after warm-up, seconds, shape (n,), any order.
        percentile: in (0, 1).
    Returns:
        Seconds, or None where n is too small to support it.
    Raises:
        MeasurementError: a latency is negative or not finite.
    Source: MLPerf Inference, loadgen early stopping.
    """
    if any(not math.isfinite(latency) or latency < 0 for latency in latencies_s):
        raise MeasurementError("a latency is negative or not finite: the clock of this machine cannot be relied on.")
    t = allowed_above(len(latencies_s), percentile) if latencies_s else -1
    return sorted(latencies_s)[len(latencies_s) - t] if t >= 1 else None


def percentiles(latencies_s: Sequence[float]) -> Percentiles:
    """p50, p90, p95 and p99, seconds; None where there are too few latencies."""
    found = {f"p{round(100 * p)}": early_stopping_percentile(latencies_s, p) for p in (0.5, 0.9, 0.95, 0.99)}
    return Percentiles(**found)


def drift(latencies_s: Sequence[float]) -> float:
    """Change of the median from the first third to the last, as a share of the first."""
    third = len(latencies_s) // 3
    if third == 0:
        return 0.0
    first, last = statistics.median(latencies_s[:third]), statistics.median(latencies_s[-third:])
    return (last - first) / first if first > 0 else 0.0


def validity(latencies_s: Sequence[float], duration_s: float, rules: Rules) -> Validity:
    """Whether a measurement may be relied on.

    Args:
        latencies_s: raw latencies after warm-up, in the order they were taken.
        duration_s: wall time of the measurement.
        rules: that it was taken by.
    """
    reasons = []
    if duration_s < rules.duration_s:
        reasons.append(f"measured for {duration_s:.1f} s, expected at least {rules.duration_s:g} s: run it again")
    if len(latencies_s) < rules.queries:
        reasons.append(f"{len(latencies_s)} queries, expected at least {rules.queries}: the model is too slow for these rules")
    if early_stopping_percentile(latencies_s, 0.9) is None:
        reasons.append(f"{len(latencies_s)} queries do not support a p90: 64 are needed")
    change = drift(latencies_s)
    if abs(change) > MAX_DRIFT:
        word = "slower" if change > 0 else "faster"
        reasons.append(f"the last third was {abs(change):.0%} {word} than the first: close other programs, let it cool, run it again")
    return Validity(valid=not reasons, reasons=tuple(reasons))
