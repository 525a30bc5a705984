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
from pepr_edge.measure.model_process import Contestant
from pepr_edge.records import SessionSettings

# Idle threads spin for a while after an inference, on cores that the next contestant needs. Seen on a machine of two cores: 1 ms with
# OpenVINO, 4 ms with PyTorch, 28 ms with onnxruntime where it is told to spin.
REST_S, SPIN_S = 0.005, 0.04


@dataclass(frozen=True)
class Rules:
    """Warm-up, heats for all, a final for those that are near the best; `limit_s` ends it whatever was reached.

    A contestant of which one inference takes longer than `slow_s` needs only `slow_share` of the runs, and no warm-up after its first.
    """

    warmup_runs: int = 5
    warmup_s: float = 0.2
    heat_runs: int = 15
    heat_rounds: int = 3
    block_s: float = 0.05
    out_ratio: float = 1.3
    final_runs: int = 30
    final_s: float = 1.5
    slow_s: float = 0.5
    slow_share: float = 1 / 3
    limit_s: float = 120.0


class Raced(NamedTuple):
    """Latencies of a contestant that count, seconds, in the order they were taken; none where it died, and why."""

    latencies_s: list[float]
    reason: str


def _rest_s(settings: SessionSettings) -> float:
    """How long a contestant's threads need to come to rest; one alone does not wait for any others."""
    if settings.threads == 1:
        return 0.0
    return SPIN_S if settings.spinning else REST_S


@dataclass
class _Lane:
    """A contestant, those of its latencies that count, and about how long one inference of it takes."""

    contestant: Contestant
    typical_s: float
    taken: list[float] = field(default_factory=list)

    def missing(self, runs: int, duration_s: float, rules: Rules) -> int:
        """Runs that it still needs to have so many runs and seconds."""
        wanted = math.ceil(runs * rules.slow_share) if self.typical_s > rules.slow_s else runs
        return max(wanted - len(self.taken), math.ceil((duration_s - sum(self.taken)) / max(self.typical_s, 1e-6)))

    def block(self, rules: Rules) -> int:
        return max(1, round(rules.block_s / max(self.typical_s, 1e-6)))

    def run(self, count: int) -> list[float]:
        """Its next latencies; none where it died. Nobody else starts before its threads are at rest."""
        try:
            found = self.contestant.time(count)
        except MeasurementError:
            return []
        self.typical_s = median(found)
        time.sleep(_rest_s(self.contestant.settings))
        return found


def race(contestants: Mapping[str, Contestant], rules: Rules | None = None) -> dict[str, Raced]:
    """Latencies of each contestant, taken in blocks by turns; those that are far behind after the heats run no more.

    Args:
        contestants: by name; at least as long as this takes, they have to stay open.
        rules: how long to measure.
    Returns:
        What each reached, by name, in the order of `contestants`.
    """
    rules = rules or Rules()
    deadline = time.perf_counter() + rules.limit_s
    lanes = {name: _Lane(contestant, contestant.first_s) for name, contestant in contestants.items()}
    for lane in lanes.values():
        _warm_up(lane, rules, deadline)
    rounds = _Rounds(rules, deadline)
    rounds.run(list(lanes.values()), rules.heat_runs, 0.0, least=rules.heat_rounds)
    if alive := [lane for lane in lanes.values() if not lane.contestant.reason]:
        best = min(median(lane.taken) for lane in alive)
        finalists = [lane for lane in alive if median(lane.taken) <= rules.out_ratio * best]
        rounds.run(finalists, rules.final_runs, rules.final_s)
    return {name: Raced([] if lane.contestant.reason else lane.taken, lane.contestant.reason) for name, lane in lanes.items()}


def _warm_up(lane: _Lane, rules: Rules, deadline: float) -> None:
    """Runs that do not count, until there were enough and for long enough. The first inference was slow for other reasons."""
    begin, done = time.perf_counter(), 0
    while not lane.contestant.reason and time.perf_counter() < deadline:
        if done >= 1 and lane.typical_s > rules.slow_s:
            return
        if done >= rules.warmup_runs and time.perf_counter() - begin >= rules.warmup_s:
            return
        done += len(lane.run(1 if done == 0 else lane.block(rules)))


class _Rounds:
    """Counts the rounds of a race."""

    def __init__(self, rules: Rules, deadline: float) -> None:
        self._rules, self._deadline = rules, deadline
        self._done = 0

    def run(self, lanes: list[_Lane], runs: int, duration_s: float, least: int = 0) -> None:
        """Rounds of one block each, another one first each time, until nobody misses any runs; at least one, so that all have some."""
        rules, done = self._rules, 0
        while running := [lane for lane in lanes if not lane.contestant.reason]:
            rest = {id(lane): lane.missing(runs, duration_s, rules) for lane in running}
            left = max(least - done, *(math.ceil(rest[id(lane)] / lane.block(rules)) for lane in running))
            if left <= 0 or (self._done > 0 and time.perf_counter() >= self._deadline):
                return
            first = self._done % len(running)
            for lane in running[first:] + running[:first]:
                if rest[id(lane)] > 0 or done < least:
                    lane.taken += lane.run(lane.block(rules))
            done += 1
            self._done += 1
