"""Predict the performance at the end of a training from the finished trainings of the same search.

The prediction is a normal distribution. A curve's level at an epoch is a weighted mean of its epochs so far,
in which earlier epochs count less (if a training keeps its best epoch: that of what it would keep so far).
Mean and spread of the end come from how far finished trainings ended above or below their level at that
epoch. The prior is worth two trainings whose level changed by 0.1 times the square root of the remaining
share of epochs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from pepr_edge.search.state import State

DECAY = 0.8  # weight of an epoch relative to the next one
PRIOR_SD = 0.1  # performance: of a whole training, and between candidates
PRIOR_COUNT = 2.0


@dataclass(frozen=True)
class Expectation:
    """A predicted performance: mean, standard deviation, and the number of trainings it is learnt from."""

    mean: float
    sd: float
    count: int

    def chance_of(self, performance: float) -> float:
        """Return the probability of reaching at least this performance, in [0, 1]."""
        return 0.5 * math.erfc((performance - self.mean) / (self.sd * math.sqrt(2)))


def expected_end(state: State, name: str) -> Expectation:
    """Predict the end of a training that was started."""
    curve = state.curves[name]
    gain = expected_gain(state, len(curve))
    return Expectation(_level(state, name, len(curve)) + gain.mean, gain.sd, gain.count)


def expected_gain(state: State, epoch: int) -> Expectation:
    """Predict how far a training ends above its level at an epoch, from the finished ones."""
    gains = [state.performance(name) - _level(state, name, epoch) for name in sorted(state.finished)]
    # The prior of no gain counts half as much as that of the spread: curves of one set rise together.
    mean = sum(gains) / (len(gains) + PRIOR_COUNT / 2)
    remaining = max(0.0, 1 - epoch / state.epochs)
    return Expectation(mean, _spread(gains, mean, PRIOR_SD * math.sqrt(remaining)), len(gains))


def expected_end_of_new(state: State) -> Expectation | None:
    """Predict the end of a candidate that was not started from those that were; None for fewer than two."""
    ends = []
    for name in sorted(state.curves):
        if name in state.finished:
            ends.append(state.performance(name))
        else:
            ends.append(expected_end(state, name).mean)
    if len(ends) < 2:
        return None
    mean = sum(ends) / len(ends)
    return Expectation(mean, _spread(ends, mean, PRIOR_SD), len(ends))


def _spread(values: list[float], mean: float, prior_sd: float) -> float:
    """Return the standard deviation about a mean, shrunk towards that of the prior."""
    squares = sum((value - mean) ** 2 for value in values)
    return max(1e-9, math.sqrt((PRIOR_COUNT * prior_sd**2 + squares) / (PRIOR_COUNT + len(values))))


def _level(state: State, name: str, epoch: int) -> float:
    """Return the level of a candidate's curve at an epoch."""
    if state.kept_epoch == "best":
        return state.performance(name, epoch)
    return level(state.curves[name][:epoch])


@lru_cache(maxsize=4096)
def level(curve: tuple[float, ...]) -> float:
    """Return the level of a curve at its end, with the noise of single epochs smoothed out."""
    weights = [DECAY**age for age in reversed(range(len(curve)))]
    return sum(weight * value for weight, value in zip(weights, curve, strict=True)) / sum(weights)
