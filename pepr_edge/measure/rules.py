"""When a latency counts as valid: MLPerf's rules for a single stream.

Source: MLPerf Inference, loadgen: a minimum of queries and of time, and early-stopping percentiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from statistics import median
from typing import Literal

from pepr_edge.measure.job import MeasurementRules
from pepr_edge.records import RulesName, Sustained, Validity
from pepr_edge.scoring.percentiles import overlatency_allowed, p90_interval
from pepr_edge.text.units import percent

FULL = MeasurementRules(warmup_runs=10, warmup_s=2.0, queries=1024, duration_s=60.0, cap_s=600.0)
QUICK = FULL._replace(queries=128, duration_s=10.0)
# Before a training: enough to tell that a budget is exceeded, not enough for a ranking.
SCREENING = FULL._replace(warmup_s=0.5, queries=100, duration_s=1.0, cap_s=30.0)
# As many queries as the full rules, and only as long as it matters: see `ended_by`.
ADAPTIVE = FULL._replace(duration_s=0.0)
RULES: dict[RulesName, MeasurementRules] = {
    "adaptive": ADAPTIVE,
    "full": FULL,
    "quick": QUICK,
    "look": SCREENING,
}

# An adaptive measurement ends when the 95 % interval of the p90 is within this share of the p90. Fewer blocks
# say too little of what changes from one to the next.
PRECISION = 0.02
MIN_BLOCKS = 8

# Drift: a larger difference between the medians of the first and the last third means that the device was not
# in a steady state.
MAX_DRIFT = 0.15
# Paced load: share of images that may take longer than the pace.
MAX_LATE_SHARE = 0.10


def validity(
    latencies_s: Sequence[float],
    duration_s: float,
    rules: MeasurementRules,
    paced_s: float | None = None,
    blocks: Sequence[int] = (),
) -> Validity:
    """Judge a measurement: VALID, or INVALID with each reason and its remedy.

    Args:
        latencies_s: raw latencies in the order they were taken, seconds.
        duration_s: duration of the timed loop, seconds.
        rules: the rules of the measurement.
        paced_s: time between images in paced load, seconds; None for a single stream.
        blocks: the number of latencies in each block, in order; empty if unknown.
    """
    checks = (
        _too_short(duration_s, rules),
        _too_few(len(latencies_s), duration_s, rules),
        _too_few_for_p90(len(latencies_s)),
        _drift(latencies_s, blocks),
        None if paced_s is None else _too_slow(latencies_s, paced_s),
    )
    reasons = tuple(reason for reason in checks if reason is not None)
    return Validity(valid=not reasons, reasons=reasons)


def ended_by(
    latencies_s: Sequence[float], blocks: Sequence[int], duration_s: float, is_certain: bool = False
) -> Literal["interval", "place", "time"] | None:
    """Return why an adaptive measurement ends, as in `DeviceProfile.ended_by`; None if it continues.

    It needs the queries of the full rules and no drift. It never takes longer than the full rules.

    Args:
        latencies_s: raw latencies in the order they were taken, seconds.
        blocks: the number of latencies in each block, in order.
        duration_s: duration of its blocks, seconds.
        is_certain: further latencies would change nothing: see `ranking.certain_places`.
    """
    rules = RULES["adaptive"]
    if duration_s >= rules.cap_s:
        return "time"
    if len(latencies_s) < rules.queries:
        return None
    if duration_s >= RULES["full"].duration_s:
        return "time"
    if len(blocks) < MIN_BLOCKS or _drift(latencies_s, blocks) is not None:
        return None
    width = relative_width(latencies_s, blocks)
    if width is not None and width <= PRECISION:
        return "interval"
    return "place" if is_certain else None


def relative_width(latencies_s: Sequence[float], blocks: Sequence[int] = ()) -> float | None:
    """Return how far the 95 % interval of the p90 reaches from its middle, as a share of that.

    None if there are too few latencies for an interval.
    """
    interval = p90_interval(latencies_s, blocks)
    if interval is None or interval[1] <= 0:
        return None
    low_s, high_s = interval
    return (high_s - low_s) / (high_s + low_s)


def share_measured(latencies_s: Sequence[float], blocks: Sequence[int], duration_s: float) -> float:
    """Return about which share of an adaptive measurement is done, in [0, 1]; for arguments see `ended_by`.

    The interval narrows with the root of the number of latencies.
    """
    rules = RULES["adaptive"]
    width = relative_width(latencies_s, blocks)
    if width is None:
        precision = 0.0
    elif width <= PRECISION:
        precision = 1.0
    else:
        precision = (PRECISION / width) ** 2
    share = min(len(latencies_s) / rules.queries, len(blocks) / MIN_BLOCKS, precision)
    return min(1.0, max(share, duration_s / max(RULES["full"].duration_s, 1e-9)))


def cut_short(n: int, duration_s: float, rules: MeasurementRules) -> Validity:
    """Return INVALID for a measurement that ended early, after `n` latencies in `duration_s`."""
    expected = f"at least {rules.queries} and {rules.duration_s:g} s, and then the memory"
    reason = f"cut short: {n} latencies in {duration_s:.1f} s, expected {expected}. Measure again."
    return Validity(valid=False, reasons=(reason,))


def sustained(latencies_s: Sequence[float], blocks: Sequence[int] = ()) -> Sustained | None:
    """Return the medians of the first and of the last third of latencies; None if there are fewer than three.

    Args:
        latencies_s: in the order they were taken, seconds.
        blocks: the number of latencies in each block: thirds are whole blocks then, if there are three.
    """
    first = last = len(latencies_s) // 3
    third = len(blocks) // 3
    if third:
        ends = list(accumulate(blocks))
        first = ends[third - 1]
        last = ends[-1] - ends[-third - 1]
    if first == 0 or last == 0:
        return None
    return Sustained(first_third_s=median(latencies_s[:first]), last_third_s=median(latencies_s[-last:]))


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


def _drift(latencies_s: Sequence[float], blocks: Sequence[int]) -> str | None:
    thirds = sustained(latencies_s, blocks)
    if thirds is None:
        return None
    first_s = thirds.first_third_s
    last_s = thirds.last_third_s
    if abs(last_s - first_s) <= MAX_DRIFT * first_s:
        return None
    change = f"{100 * (last_s / first_s - 1):+.0f} %" if first_s > 0 else "from 0"
    return (
        f"drift: median {first_s * 1e3:.3g} ms in the first third, {last_s * 1e3:.3g} ms in the last "
        f"({change}, expected at most {percent(MAX_DRIFT)}). "
        "Close other programs, plug the device in, let it cool, and measure again."
    )


def reference_drift(before_s: float, now_s: float) -> str | None:
    """Return why two groups of models cannot be compared: the median of a model in both differs too much."""
    if abs(now_s - before_s) <= MAX_DRIFT * before_s:
        return None
    return (
        f"drift: the same model took {before_s * 1e3:.3g} ms with the first group of models and "
        f"{now_s * 1e3:.3g} ms with this one (expected at most {percent(MAX_DRIFT)} apart). "
        "Close other programs, plug the device in, let it cool, and measure again."
    )


def _too_slow(latencies_s: Sequence[float], paced_s: float) -> str | None:
    late = sum(latency > paced_s for latency in latencies_s)
    if late <= MAX_LATE_SHARE * len(latencies_s):
        return None
    pace = f"{paced_s * 1e3:g} ms"
    return f"pace: {late} of {len(latencies_s)} images took longer than {pace}. Give a longer --paced."
