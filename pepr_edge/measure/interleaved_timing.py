"""Interleaved timing: which of several files and settings is the fastest on this device.

They are measured in turn, in rounds of short blocks, so that other load on the device affects all of them
alike. While one process works, the others wait for a line on their stdin.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple

from pepr_edge.errors import MeasurementError
from pepr_edge.measure.model_process import ModelProcess
from pepr_edge.records import SessionSettings

# Idle threads spin for a while after an inference, on cores that the next process needs. Measured on a
# machine with two cores: 1 ms with OpenVINO, 4 ms with PyTorch, 28 ms with onnxruntime if spinning is
# switched on.
REST_S = 0.005
SPINNING_REST_S = 0.04


@dataclass(frozen=True)
class TimingRules:
    """Warm-up, rounds for all participants, then final rounds for those near the best.

    It ends after `limit_s` at the latest. A participant with inferences longer than `slow_s` needs only the
    share `slow_share` of the runs, and no warm-up after its first inference.
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
    """Latencies after warm-up, seconds, in the order they were taken, and the median of each round.

    `round_medians_s` is by the number of the round, and lacks rounds without the participant. If the process
    died, both are empty, and `reason` says why.
    """

    latencies_s: list[float]
    reason: str
    round_medians_s: Mapping[int, float]


def latency_ratio(own: ParticipantLatencies, other: ParticipantLatencies) -> float | None:
    """Return how many times as long one participant takes as another: the median over the rounds of both.

    Participants of a round ran within a second, so a machine that gets slower or faster between rounds does
    not change the ratio. None if there is no round that both took part in.
    """
    return _median_ratio(own.round_medians_s, other.round_medians_s)


def ratios_to_fastest(results: Sequence[ParticipantLatencies]) -> list[float | None]:
    """Return how many times as long each participant takes as the fastest; None for one that died."""
    alive = [result for result in results if result.latencies_s]
    if not alive:
        return [None] * len(results)
    to_first = [latency_ratio(result, alive[0]) for result in results]
    lowest = min(ratio for ratio in to_first if ratio is not None)
    return [None if ratio is None else ratio / lowest for ratio in to_first]


def _median_ratio(own: Mapping[int, float], other: Mapping[int, float]) -> float | None:
    ratios = [own_s / other[number] for number, own_s in own.items() if other.get(number, 0.0) > 0]
    return median(ratios) if ratios else None


def rest_s(settings: SessionSettings) -> float:
    """Return how long the threads need to come to rest; a single thread waits for no others."""
    if settings.threads == 1:
        return 0.0
    return SPINNING_REST_S if settings.spinning else REST_S


@dataclass
class _Participant:
    """A process, its latencies after warm-up, and the typical duration of one inference."""

    process: ModelProcess
    typical_s: float
    latencies_s: list[float] = field(default_factory=list)
    round_medians_s: dict[int, float] = field(default_factory=dict)

    def missing_runs(self, runs: int, duration_s: float, rules: TimingRules) -> int:
        """Return how many more runs are needed to reach both `runs` and `duration_s`."""
        is_slow = self.typical_s > rules.slow_s
        needed = math.ceil(runs * rules.slow_share) if is_slow else runs
        left_s = duration_s - sum(self.latencies_s)
        return max(needed - len(self.latencies_s), math.ceil(left_s / max(self.typical_s, 1e-6)))

    def block_runs(self, rules: TimingRules) -> int:
        return max(1, round(rules.block_s / max(self.typical_s, 1e-6)))

    def run_round(self, number: int, rules: TimingRules) -> None:
        """Run one block that counts, as this participant's part of a round."""
        latencies_s = self.run(self.block_runs(rules))
        self.latencies_s += latencies_s
        if latencies_s:
            self.round_medians_s[number] = median(latencies_s)

    def run(self, count: int) -> list[float]:
        """Return the next latencies; none if the process died. Its threads are at rest on return."""
        try:
            latencies_s = self.process.time(count)
        except MeasurementError:
            return []
        self.typical_s = median(latencies_s)
        time.sleep(rest_s(self.process.settings))
        return latencies_s


def time_interleaved(
    processes: Mapping[str, ModelProcess], rules: TimingRules | None = None
) -> dict[str, ParticipantLatencies]:
    """Measure several models in blocks by turns. After the first rounds only those near the best go on.

    Args:
        processes: by name. They must stay open until this returns.
        rules: how long to measure.
    Returns:
        The latencies by name, in the order of `processes`.
    """
    rules = rules or TimingRules()
    deadline = time.perf_counter() + rules.limit_s
    participants = {name: _Participant(process, process.first_s) for name, process in processes.items()}
    for participant in participants.values():
        _warm_up(participant, rules, deadline)

    rounds = _Rounds(rules, deadline)
    rounds.run(list(participants.values()), rules.round_runs, 0.0, rules.min_rounds)
    alive = [participant for participant in participants.values() if not participant.process.reason]
    finalists = _near_the_best(alive, rules.prune_ratio)
    rounds.run(finalists, rules.final_runs, rules.final_s)

    results = {}
    for name, participant in participants.items():
        reason = participant.process.reason
        if reason:
            results[name] = ParticipantLatencies([], reason, {})
        else:
            results[name] = ParticipantLatencies(participant.latencies_s, "", participant.round_medians_s)
    return results


def _near_the_best(participants: list[_Participant], prune_ratio: float) -> list[_Participant]:
    """Return the participants that are within `prune_ratio` of the fastest, by the rounds that they share."""
    results = [
        ParticipantLatencies(participant.latencies_s, "", participant.round_medians_s)
        for participant in participants
    ]
    ratios = ratios_to_fastest(results)
    return [
        participant
        for participant, ratio in zip(participants, ratios, strict=True)
        if ratio is not None and ratio <= prune_ratio
    ]


def _warm_up(participant: _Participant, rules: TimingRules, deadline: float) -> None:
    """Run inferences that do not count, until there are enough of them and enough seconds.

    The first inference alone does not show how slow a model is: it does work that is done once.
    """
    begin = time.perf_counter()
    done = 0
    while not participant.process.reason and time.perf_counter() < deadline:
        if done >= 1 and participant.typical_s > rules.slow_s:
            return
        if done >= rules.warmup_runs and time.perf_counter() - begin >= rules.warmup_s:
            return
        done += len(participant.run(1 if done == 0 else participant.block_runs(rules)))


class _Rounds:
    """Runs rounds and counts them: each begins with another participant than the round before."""

    def __init__(self, rules: TimingRules, deadline: float) -> None:
        self._rules = rules
        self._deadline = deadline
        self._total = 0

    def run(
        self, participants: list[_Participant], runs: int, duration_s: float, min_rounds: int = 0
    ) -> None:
        """Run rounds of one block each until no participant misses any runs.

        The first round of all takes place even after the deadline, so that every participant has latencies.
        """
        rules = self._rules
        rounds = 0
        while True:
            running = [participant for participant in participants if not participant.process.reason]
            missing = [participant.missing_runs(runs, duration_s, rules) for participant in running]
            is_enough = rounds >= min_rounds and all(count <= 0 for count in missing)
            is_late = self._total > 0 and time.perf_counter() >= self._deadline
            if not running or is_enough or is_late:
                return
            first = self._total % len(running)
            turns = list(zip(running, missing, strict=True))
            for participant, count in turns[first:] + turns[:first]:
                if count > 0 or rounds < min_rounds:
                    participant.run_round(self._total, rules)
            rounds += 1
            self._total += 1
