"""When a latency may be believed: MLPerf's rules for a single stream.

Source: MLPerf Inference, loadgen: a minimum of queries and of time, and early-stopping percentiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from pepr_edge.measure.job import MeasurementRules
from pepr_edge.records import RulesName, Sustained, Validity
from pepr_edge.scoring.percentiles import overlatency_allowed

FULL = MeasurementRules(warmup_runs=10, warmup_s=2.0, queries=1024, duration_s=60.0, cap_s=600.0)
QUICK = FULL._replace(queries=128, duration_s=10.0)
# Before a training: enough to tell that a budget is broken, not to rank by.
SCREENING = FULL._replace(warmup_s=0.5, queries=100, duration_s=1.0, cap_s=30.0)
RULES: dict[RulesName, MeasurementRules] = {"full": FULL, "quick": QUICK, "look": SCREENING}

# Drift: more than this between the medians of the first and the last third means that the device was not in one state.
MAX_DRIFT = 0.15
# Paced load: so many images may take longer than the pace before the device cannot be said to keep it.
MAX_LATE = 0.10


def validity(
    latencies_s: Sequence[float], duration_s: float, rules: MeasurementRules, paced_s: float | None = None
) -> Validity:
    """VALID, or INVALID with each reason and what to do.

    Args:
        latencies_s: raw latencies in the order they were taken, seconds.
        duration_s: of the timed loop, seconds.
        rules: those that it was measured by.
        paced_s: time between images in paced load, seconds; None for a single stream.
    """
    n = len(latencies_s)
    reasons = []
    if duration_s < rules.duration_s:
        reasons.append(f"minimum time: {duration_s:.1f} s, expected {rules.duration_s:g} s. Measure again.")
    if n < rules.queries:
        advice = (
            "Measure with --quick, or take a smaller model"
            if rules.queries > QUICK.queries
            else "Take a smaller model"
        )
        reasons.append(f"minimum queries: {n} in {duration_s:.0f} s, expected {rules.queries}. {advice}.")
    if overlatency_allowed(n, 0.90) < 1:
        reasons.append(f"early stopping: {n} latencies are too few for p90, expected 64. Measure for longer.")
    if (reason := _drift(latencies_s)) is not None:
        reasons.append(reason)
    if paced_s is not None and (reason := _too_slow(latencies_s, paced_s)) is not None:
        reasons.append(reason)
    return Validity(valid=not reasons, reasons=tuple(reasons))


def cut_short(n: int, duration_s: float, rules: MeasurementRules) -> Validity:
    """INVALID: after so many latencies and seconds somebody or something ended it."""
    asked = f"at least {rules.queries} and {rules.duration_s:g} s, and then the memory"
    return Validity(
        valid=False,
        reasons=(f"cut short: {n} latencies in {duration_s:.1f} s, expected {asked}. Measure again.",),
    )


def sustained(latencies_s: Sequence[float]) -> Sustained | None:
    """Medians of the first and of the last third of latencies in the order they were taken; None where there are fewer than three."""
    third = len(latencies_s) // 3
    if third == 0:
        return None
    return Sustained(first_third_s=median(latencies_s[:third]), last_third_s=median(latencies_s[-third:]))


def _drift(latencies_s: Sequence[float]) -> str | None:
    thirds = sustained(latencies_s)
    if thirds is None:
        return None
    first, last = thirds.first_third_s, thirds.last_third_s
    if abs(last - first) <= MAX_DRIFT * first:
        return None
    change = f"{last / first - 1:+.0%}" if first > 0 else "from nothing"
    return (
        f"drift: median {first * 1e3:.3g} ms in the first third, {last * 1e3:.3g} ms in the last ({change}, expected at most "
        f"{MAX_DRIFT:.0%}). Close other programs, plug the device in, let it cool, and measure again."
    )


def _too_slow(latencies_s: Sequence[float], paced_s: float) -> str | None:
    late = sum(latency > paced_s for latency in latencies_s)
    if late <= MAX_LATE * len(latencies_s):
        return None
    return f"pace: {late} of {len(latencies_s)} images took longer than {paced_s * 1e3:g} ms. Give a longer --paced."
