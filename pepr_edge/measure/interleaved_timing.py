"""Which of several files and settings is the fastest on this device: measured in turn, so that whatever else it does meets all alike.

While one contestant works all the others wait for a line on their stdin.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple

from pepr_edge.errors import MeasurementError
from pepr_edge.measure.model_process import ModelProcess
from pepr_edge.records import SessionSettings

# Idle threads spin for a while after an inference, on cores that the next contestant needs. Seen on a machine of two cores: 1 ms with
# OpenVINO, 4 ms with PyTorch, 28 ms with onnxruntime where it is told to spin.
REST_S, SPIN_S = 0.005, 0.04


@dataclass(frozen=True)
class TimingRules:
    """Warm-up, heats for all, a final for those that are near the best; `limit_s` ends it whatever was reached.

    A contestant of which one inference takes longer than `slow_s` needs only `slow_share` of the runs, and no warm-up after its first.
    """

    warmup_runs: int = 5
    warmup_s: float = 0.2
    round_runs: int = 15
    min_rounds: int = 3
    block_s: float = 0.05
    prune_ratio: float = 1.3
    final_runs: int = 30
    final_s: float = 1.5
    slow_s: float = 0.5
    slow_share: float = 1 / 3
    limit_s: float = 120.0


class ParticipantLatencies(NamedTuple):
    """Latencies of a contestant that count, seconds, in the order they were taken; none where it died, and why."""

    latencies_s: list[float]
    reason: str


def _rest_s(settings: SessionSettings) -> float:
    """How long a contestant's threads need to come to rest; one alone does not wait for any others."""
    if settings.threads == 1:
        return 0.0
    return SPIN_S if settings.spinning else REST_S


@dataclass
class _Participant:
    """A contestant, those of its latencies that count, and about how long one inference of it takes."""

    process: ModelProcess
    typical_s: float
    taken: list[float] = field(default_factory=list)

    def missing(self, runs: int, duration_s: float, rules: TimingRules) -> int:
        """Runs that it still needs to have so many runs and seconds."""
        wanted = math.ceil(runs * rules.slow_share) if self.typical_s > rules.slow_s else runs
        return max(
            wanted - len(self.taken), math.ceil((duration_s - sum(self.taken)) / max(self.typical_s, 1e-6))
        )

    def block(self, rules: TimingRules) -> int:
        return max(1, round(rules.block_s / max(self.typical_s, 1e-6)))

    def run(self, count: int) -> list[float]:
        """Its next latencies; none where it died. Nobody else starts before its threads are at rest."""
        try:
            found = self.process.time(count)
        except MeasurementError:
            return []
        self.typical_s = median(found)
        time.sleep(_rest_s(self.process.settings))
        return found


def time_interleaved(
    processes: Mapping[str, ModelProcess], rules: TimingRules | None = None
) -> dict[str, ParticipantLatencies]:
    """Latencies of each contestant, taken in blocks by turns; those that are far behind after the heats run no more.

    Args:
        processes: by name; at least as long as this takes, they have to stay open.
        rules: how long to measure.
    Returns:
        What each reached, by name, in the order of `processes`.
    """
    rules = rules or TimingRules()
    deadline = time.perf_counter() + rules.limit_s
    participants = {name: _Participant(process, process.first_s) for name, process in processes.items()}
    for participant in participants.values():
        _warm_up(participant, rules, deadline)
    rounds = _Rounds(rules, deadline)
    rounds.run(list(participants.values()), rules.round_runs, 0.0, least=rules.min_rounds)
    if alive := [participant for participant in participants.values() if not participant.process.reason]:
        best = min(median(participant.taken) for participant in alive)
        finalists = [
            participant for participant in alive if median(participant.taken) <= rules.prune_ratio * best
        ]
        rounds.run(finalists, rules.final_runs, rules.final_s)
    return {
        name: ParticipantLatencies(
            [] if participant.process.reason else participant.taken, participant.process.reason
        )
        for name, participant in participants.items()
    }


def _warm_up(participant: _Participant, rules: TimingRules, deadline: float) -> None:
    """Runs that do not count, until there were enough and for long enough. The first inference was slow for other reasons."""
    begin, done = time.perf_counter(), 0
    while not participant.process.reason and time.perf_counter() < deadline:
        if done >= 1 and participant.typical_s > rules.slow_s:
            return
        if done >= rules.warmup_runs and time.perf_counter() - begin >= rules.warmup_s:
            return
        done += len(participant.run(1 if done == 0 else participant.block(rules)))


class _Rounds:
    """Counts the rounds of a race."""

    def __init__(self, rules: TimingRules, deadline: float) -> None:
        self._rules, self._deadline = rules, deadline
        self._done = 0

    def run(self, participants: list[_Participant], runs: int, duration_s: float, least: int = 0) -> None:
        """Rounds of one block each, another one first each time, until nobody misses any runs; at least one, so that all have some."""
        rules, done = self._rules, 0
        while running := [participant for participant in participants if not participant.process.reason]:
            rest = {id(participant): participant.missing(runs, duration_s, rules) for participant in running}
            left = max(
                least - done,
                *(math.ceil(rest[id(participant)] / participant.block(rules)) for participant in running),
            )
            if left <= 0 or (self._done > 0 and time.perf_counter() >= self._deadline):
                return
            first = self._done % len(running)
            for participant in running[first:] + running[:first]:
                if rest[id(participant)] > 0 or done < least:
                    participant.taken += participant.run(participant.block(rules))
            done += 1
            self._done += 1
