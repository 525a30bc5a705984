"""A race of variants: latencies taken in turn, their ratios, and the winner of the final race."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from pepr_edge.errors import MeasurementError
from pepr_edge.export.variant_trial import FASTER_RATIO, TimedFile
from pepr_edge.measure.interleaved_timing import (
    ParticipantLatencies,
    TimingRules,
    latency_ratio,
    time_interleaved,
)
from pepr_edge.measure.model_process import ModelProcess
from pepr_edge.records import SettingsTrial


def time_in_turn(processes: Sequence[ModelProcess], rules: TimingRules) -> list[ParticipantLatencies]:
    """Return the latencies of models, in the order of the processes."""
    participants = {str(number): process for number, process in enumerate(processes)}
    return list(time_interleaved(participants, rules).values())


def chained_ratio(
    own: ParticipantLatencies, anchor: ParticipantLatencies, anchor_ratio: float
) -> float | None:
    """Return the ratio to the reference, by way of an anchor whose ratio to it is known."""
    ratio = latency_ratio(own, anchor)
    return None if ratio is None else ratio * anchor_ratio


def is_below(ratio: float | None, limit: float) -> bool:
    """Return True if a ratio is known and below a limit."""
    return ratio is not None and ratio < limit


def winner_of(
    passed: Sequence[TimedFile], reference: TimedFile, results: Mapping[TimedFile, ParticipantLatencies]
) -> TimedFile | None:
    """Return the winner of the final race: the reference if no other is shown to be faster.

    Args:
        passed: the files that passed and ran in the race. A later one replaces an earlier one only if it is
            shown to be faster.
        reference: float32, if that runs.
        results: of the race.
    Returns:
        None if nothing that passed ran.
    """
    winner: TimedFile | None = None
    for timed in passed:
        if timed is not reference and (winner is None or _is_faster(timed, winner, results)):
            winner = timed
    if reference in passed and (winner is None or not _is_faster(winner, reference, results)):
        return reference
    return winner


def _is_faster(own: TimedFile, other: TimedFile, results: Mapping[TimedFile, ParticipantLatencies]) -> bool:
    return is_below(latency_ratio(results[own], results[other]), FASTER_RATIO)


def timing_of(process: ModelProcess, result: ParticipantLatencies, ratio: float | None) -> SettingsTrial:
    """Return the record of a timing; `ratio` is that to float32."""
    settings = process.settings
    if not result.latencies_s:
        reason = result.reason or "there was no time to run it"
        return SettingsTrial(settings=settings, latency_s=None, reason=reason)
    try:
        peak = process.peak_memory_bytes()
    except MeasurementError as fault:
        return SettingsTrial(settings=settings, latency_s=None, reason=str(fault))
    return SettingsTrial(
        settings=settings,
        latency_s=median(result.latencies_s),
        n=len(result.latencies_s),
        load_s=process.load_s,
        peak_memory_bytes=peak,
        ratio_to_float32=ratio,
    )
