"""When a latency counts as valid: MLPerf's rules for a single stream.

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
# Before a training: enough to tell that a budget is exceeded, not enough for a ranking.
SCREENING = FULL._replace(warmup_s=0.5, queries=100, duration_s=1.0, cap_s=30.0)
RULES: dict[RulesName, MeasurementRules] = {"full": FULL, "quick": QUICK, "look": SCREENING}

# Drift: a larger difference between the medians of the first and the last third means that the device was not
# in a steady state.
MAX_DRIFT = 0.15
# Paced load: share of images that may take longer than the pace.
MAX_LATE_SHARE = 0.10


def validity(
    latencies_s: Sequence[float], duration_s: float, rules: MeasurementRules, paced_s: float | None = None
) -> Validity:
    """Judge a measurement: VALID, or INVALID with each reason and its remedy.

    Args:
        latencies_s: raw latencies in the order they were taken, seconds.
        duration_s: duration of the timed loop, seconds.
        rules: the rules of the measurement.
        paced_s: time between images in paced load, seconds; None for a single stream.
    """
    checks = (
        _too_short(duration_s, rules),
        _too_few(len(latencies_s), duration_s, rules),
        _too_few_for_p90(len(latencies_s)),
        _drift(latencies_s),
        None if paced_s is None else _too_slow(latencies_s, paced_s),
    )
    reasons = tuple(reason for reason in checks if reason is not None)
    return Validity(valid=not reasons, reasons=reasons)


def cut_short(n: int, duration_s: float, rules: MeasurementRules) -> Validity:
    """Return INVALID for a measurement that ended early, after `n` latencies in `duration_s`."""
    expected = f"at least {rules.queries} and {rules.duration_s:g} s, and then the memory"
    reason = f"cut short: {n} latencies in {duration_s:.1f} s, expected {expected}. Measure again."
    return Validity(valid=False, reasons=(reason,))


def sustained(latencies_s: Sequence[float]) -> Sustained | None:
    """Return the medians of the first and of the last third of latencies; None if there are fewer than three.

    Args:
        latencies_s: in the order they were taken, seconds.
    """
    third = len(latencies_s) // 3
    if third == 0:
        return None
    return Sustained(first_third_s=median(latencies_s[:third]), last_third_s=median(latencies_s[-third:]))


def _too_short(duration_s: float, rules: MeasurementRules) -> str | None:
    if duration_s >= rules.duration_s:
        return None
    return f"minimum time: {duration_s:.1f} s, expected {rules.duration_s:g} s. Measure again."


def _too_few(n: int, duration_s: float, rules: MeasurementRules) -> str | None:
    if n >= rules.queries:
        return None
    advice = "Take a smaller model"
    if rules.queries > QUICK.queries:
        advice = "Measure with --quick, or take a smaller model"
    return f"minimum queries: {n} in {duration_s:.0f} s, expected {rules.queries}. {advice}."


def _too_few_for_p90(n: int) -> str | None:
    if overlatency_allowed(n, 0.90) >= 1:
        return None
    return f"early stopping: {n} latencies are too few for p90, expected 64. Measure for longer."


def _drift(latencies_s: Sequence[float]) -> str | None:
    thirds = sustained(latencies_s)
    if thirds is None:
        return None
    first_s = thirds.first_third_s
    last_s = thirds.last_third_s
    if abs(last_s - first_s) <= MAX_DRIFT * first_s:
        return None
    change = f"{last_s / first_s - 1:+.0%}" if first_s > 0 else "from 0"
    return (
        f"drift: median {first_s * 1e3:.3g} ms in the first third, {last_s * 1e3:.3g} ms in the last "
        f"({change}, expected at most {MAX_DRIFT:.0%}). "
        "Close other programs, plug the device in, let it cool, and measure again."
    )


def _too_slow(latencies_s: Sequence[float], paced_s: float) -> str | None:
    late = sum(latency > paced_s for latency in latencies_s)
    if late <= MAX_LATE_SHARE * len(latencies_s):
        return None
    pace = f"{paced_s * 1e3:g} ms"
    return f"pace: {late} of {len(latencies_s)} images took longer than {pace}. Give a longer --paced."
