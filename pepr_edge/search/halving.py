"""Successive halving on PePR: many candidates for few epochs, the best of them for more, until few are trained to the end.

Where a stop rule limits it, as many candidates are drawn at random as the limit lets through all rungs.
Source: Jamieson and Talwalkar, AISTATS 2016.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from pepr_edge.search.random_order import shuffled
from pepr_edge.search.state import NOTHING, Cost, Decision, Limits, SearchCandidate, Settings, State

NEEDS_COSTS = True
USES_SEED = True
PARAMETERS: tuple[str, ...] = ("eta",)


def decide(state: State, settings: Settings) -> Decision:
    """Bring all of a rung to its epoch, then drop all but the best of them; and so on."""
    rungs = rung_epochs(state.epochs, settings.eta)
    members: Sequence[SearchCandidate] = _drawn(state.candidates, state.limits, state.probe, settings, rungs)
    drawn = len(members)
    for number, epoch in enumerate(rungs):
        keep = survivors(drawn, number, settings.eta)
        if number:
            members, lost = _parted(state, members, rungs[number - 1], keep)
            for one in lost:
                if state.is_open(one.name):
                    score = state.pepr(one, rungs[number - 1])
                    reason = f"PePR {score:.4f} after epoch {rungs[number - 1]} is not among the best {keep} of its rung"
                    return Decision("drop", reason, one.name)
        for one in members:
            if state.is_open(one.name) and state.trained(one.name) < epoch:
                reason = f"one of {keep} that are trained to epoch {epoch}"
                return Decision("train", reason, one.name, state.trained(one.name) + 1)
    return Decision("stop", f"the {drawn} candidates that were drawn went through {len(rungs)} rungs")


def rung_epochs(epochs: int, eta: int) -> tuple[int, ...]:
    """At which epochs candidates are compared, ascending; the last is the end."""
    found = [epochs]
    while found[-1] > 1:
        found.append(max(1, round(found[-1] / eta)))
    return tuple(reversed(found))


def survivors(drawn: int, rung: int, eta: int) -> int:
    """How many of those that were drawn are trained in a rung, counted from 0."""
    return max(1, drawn // int(eta**rung))


def _parted(
    state: State, members: Sequence[SearchCandidate], epoch: int, keep: int
) -> tuple[list[SearchCandidate], list[SearchCandidate]]:
    """The best of a rung, and the others that reached its end."""
    there = [one for one in members if state.trained(one.name) >= epoch or one.name in state.finished]
    ordered = sorted(there, key=lambda one: (-state.pepr(one, epoch), one.r, one.name))
    return ordered[:keep], ordered[keep:]


@lru_cache(maxsize=16)
def _drawn(
    candidates: tuple[SearchCandidate, ...],
    limits: Limits,
    probe: Cost,
    settings: Settings,
    rungs: tuple[int, ...],
) -> tuple[SearchCandidate, ...]:
    """The first of a random order, as many as are expected to get through all rungs within the limits."""
    order = shuffled(candidates, settings.seed)
    total, number = NOTHING, 0
    for one in order:
        total += one.epoch
        average = total.times(1 / (number + 1))
        later = sum(
            survivors(number + 1, k, settings.eta) * (rungs[k] - rungs[k - 1]) for k in range(1, len(rungs))
        )
        if limits.exceeded_by(probe + total.times(rungs[0]) + average.times(later)):
            break
        number += 1
    return tuple(order[: max(1, number)])
