"""Successive halving on PePR: train many candidates for few epochs, and the best of them for more.

A rung is an epoch at which candidates are compared. If a stop rule limits the search, candidates are drawn at
random, as many as can pass through all rungs within the limit.
Source: Jamieson and Talwalkar, AISTATS 2016.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from pepr_edge.search.random_order import shuffled
from pepr_edge.search.state import NO_COST, Cost, Decision, Limits, SearchCandidate, Settings, State

NEEDS_COSTS = True
USES_SEED = True
PARAMETERS: tuple[str, ...] = ("eta",)


def decide(state: State, settings: Settings) -> Decision:
    """Train all candidates of a rung to its epoch, drop all but the best, and continue with the next rung."""
    rungs = rung_epochs(state.epochs, settings.eta)
    members: Sequence[SearchCandidate] = _draw(state.candidates, state.limits, state.probe, settings, rungs)
    drawn = len(members)
    for number, epoch in enumerate(rungs):
        keep = survivors(drawn, number, settings.eta)
        if number:
            previous = rungs[number - 1]
            ordered = _by_score(state, members, previous)
            members = ordered[:keep]
            for candidate in ordered[keep:]:
                if state.is_open(candidate.name):
                    score = f"PePR {state.pepr(candidate, previous):.4f} after epoch {previous}"
                    return Decision(
                        "drop", f"{score} is not among the best {keep} of its rung", candidate.name
                    )
        for candidate in members:
            trained = state.trained(candidate.name)
            if state.is_open(candidate.name) and trained < epoch:
                reason = f"one of {keep} that are trained to epoch {epoch}"
                return Decision("train", reason, candidate.name, trained + 1)
    return Decision("stop", f"the {drawn} candidates that were drawn went through {len(rungs)} rungs")


def rung_epochs(epochs: int, eta: int) -> tuple[int, ...]:
    """Return the epochs at which candidates are compared, ascending; the last is the end of the training."""
    rungs = [epochs]
    while rungs[-1] > 1:
        rungs.append(max(1, round(rungs[-1] / eta)))
    return tuple(reversed(rungs))


def survivors(drawn: int, rung: int, eta: int) -> int:
    """Return how many of the drawn candidates are trained in a rung, counted from 0."""
    return max(1, drawn // int(eta**rung))


def _by_score(state: State, members: Sequence[SearchCandidate], epoch: int) -> list[SearchCandidate]:
    """Return the members that reached a rung's epoch or their end, best score first."""
    compared = [
        member for member in members if state.trained(member.name) >= epoch or member.name in state.finished
    ]
    return sorted(compared, key=lambda member: (-state.pepr(member, epoch), member.r, member.name))


@lru_cache(maxsize=16)
def _draw(
    candidates: tuple[SearchCandidate, ...],
    limits: Limits,
    probe: Cost,
    settings: Settings,
    rungs: tuple[int, ...],
) -> tuple[SearchCandidate, ...]:
    """Return the first candidates in random order: as many as probably keep the limits in all rungs."""
    order = shuffled(candidates, settings.seed)
    first_epochs = NO_COST
    drawn = 0
    for candidate in order:
        first_epochs += candidate.epoch
        average = first_epochs.scaled(1 / (drawn + 1))
        later_epochs = sum(
            survivors(drawn + 1, rung, settings.eta) * (rungs[rung] - rungs[rung - 1])
            for rung in range(1, len(rungs))
        )
        if limits.exceeded_by(probe + first_epochs.scaled(rungs[0]) + average.scaled(later_epochs)):
            break
        drawn += 1
    return tuple(order[: max(1, drawn)])
