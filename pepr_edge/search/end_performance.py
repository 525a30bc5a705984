"""What learning curves say of where a training will end: a normal distribution, learnt from the trainings of the same search that ended.

A curve's level at an epoch is a mean of its epochs so far in which each earlier one counts less (the best so far, where a training keeps
its best epoch). How far trainings ended above or below their level at that epoch gives mean and spread of the end. Nothing is known at
first: two trainings that never were, which moved by 0.1 times the root of the share of epochs that were left, stand for that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from pepr_edge.search.state import Kept, State

MEMORY = 0.8  # what an epoch counts, measured by the one after it
PRIOR_SD = 0.1  # performance; of a whole training, and of one candidate to another
PRIOR_COUNT = 2.0


@dataclass(frozen=True)
class Expectation:
    """A performance to come, and of how many trainings it is the experience."""

    mean: float
    sd: float
    count: int

    def chance_of(self, performance: float) -> float:
        """The chance that at least this will be reached, in [0, 1]."""
        return 0.5 * math.erfc((performance - self.mean) / (self.sd * math.sqrt(2)))


def end_of(state: State, name: str) -> Expectation:
    """Where a training that has begun will end."""
    curve = state.curves[name]
    gain = gain_from(state, len(curve))
    return Expectation(level(curve, state.kept) + gain.mean, gain.sd, gain.count)


def gain_from(state: State, epoch: int) -> Expectation:
    """By how much a training will end above its level at an epoch, by those that have ended."""
    gains = [
        state.performance(name) - level(state.curves[name][:epoch], state.kept)
        for name in sorted(state.finished)
    ]
    # Half as sure of no gain at all as of the spread: curves of one set rise together.
    mean = sum(gains) / (len(gains) + PRIOR_COUNT / 2)
    left = max(0.0, 1 - epoch / state.epochs)
    return Expectation(mean, _spread(gains, mean, PRIOR_SD * math.sqrt(left)), len(gains))


def end_of_another(state: State) -> Expectation | None:
    """Where a candidate that was never begun would end, by all that were; None where fewer than two were."""
    gain = {
        epoch: gain_from(state, epoch).mean
        for epoch in {len(state.curves[name]) for name in state.curves}
        if epoch
    }
    ends = []
    for name, curve in sorted(state.curves.items()):
        if curve:
            ends.append(
                state.performance(name)
                if name in state.finished
                else level(curve, state.kept) + gain[len(curve)]
            )
    if len(ends) < 2:
        return None
    mean = sum(ends) / len(ends)
    return Expectation(mean, _spread(ends, mean, PRIOR_SD), len(ends))


def _spread(values: list[float], mean: float, prior: float) -> float:
    """Standard deviation about a mean, drawn towards what was believed before."""
    squares = sum((value - mean) ** 2 for value in values)
    return max(1e-9, math.sqrt((PRIOR_COUNT * prior**2 + squares) / (PRIOR_COUNT + len(values))))


@lru_cache(maxsize=4096)
def level(curve: tuple[float, ...], kept: Kept) -> float:
    """Where a curve stands, the noise of single epochs taken out."""
    if kept == "best":
        return max(curve)
    weights = [MEMORY**age for age in reversed(range(len(curve)))]
    return sum(weight * value for weight, value in zip(weights, curve, strict=True)) / sum(weights)
