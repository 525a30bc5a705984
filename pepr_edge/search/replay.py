"""A policy on published runs: what it would have spent, and what it would have chosen."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pepr_edge.scoring.pepr import Array, pepr
from pepr_edge.search.policies import POLICIES, decide
from pepr_edge.search.published import Runs
from pepr_edge.search.state import Cost, Decision, Limits, SearchCandidate, Settings, State

# Of a full training: what finding out a candidate's costs takes. A few steps: eight of 882, which are 6 epochs of 4708 images by 32.
PROBE = 0.01


@dataclass(frozen=True)
class Replay:
    """One search on one set. energy_fraction: of training all to the end, the probe included; regret: by how much PePR of the choice at its
    last epoch falls short of the best of the set, and rank: its place by that; choice, regret and rank are None where nothing was started.
    """

    choice: str | None
    energy_fraction: float
    regret: float | None
    rank: int | None
    started: int
    finished: int
    decisions: tuple[Decision, ...]


@dataclass(frozen=True)
class Result:
    """All searches on one set, as means over their seeds; choice is the most frequent, and rank rounded to a tenth."""

    set: str
    energy_fraction: float
    regret: float | None
    rank: float | None
    choice: str | None
    started: float
    finished: float


def replay(runs: Runs, settings: Settings, probe: float = PROBE, max_energy: float | None = None) -> Replay:
    """Search in a set whose outcome is known.

    Args:
        runs: the set.
        settings: the policy and its parameters.
        probe: what finding out a candidate's costs takes, as a share of its full training; 0 for a policy that does not need them.
        max_energy: stop rule, as a share of training all to the end; the probe counts.
    """
    epochs, whole = runs.curves.shape[1], float(runs.energy.sum())
    parts, r = runs.energy / whole, runs.r
    charged = Cost(probe if POLICIES[settings.policy].NEEDS_COSTS else 0.0)
    # In shares of the sweep, which are as good a unit as joules.
    candidates = tuple(
        SearchCandidate(*one)
        for one in zip(runs.models, r.tolist(), [Cost(part / epochs) for part in parts.tolist()], strict=True)
    )
    state = State(candidates, epochs, spent=charged, probe=charged, limits=Limits(max_energy))
    costs = {one.name: one.epoch for one in candidates}
    curves = dict(zip(runs.models, runs.curves.tolist(), strict=True))
    decisions: list[Decision] = []
    while not decisions or decisions[-1].action != "stop":
        decision = decide(state, settings)
        decisions.append(decision)
        if decision.action == "train":
            assert decision.candidate is not None
            assert decision.to_epoch is not None
            state = state.after(
                decision, curves[decision.candidate][decision.to_epoch - 1], costs[decision.candidate]
            )
        else:
            state = state.after(decision)
    return _outcome(runs, state, tuple(decisions))


def final_scores(runs: Runs) -> Array:
    """PePR of each model of a set at its last epoch, shape (n,)."""
    return pepr(runs.curves[:, -1], runs.r)


def _outcome(runs: Runs, state: State, decisions: tuple[Decision, ...]) -> Replay:
    scores, choice = final_scores(runs), state.choice()
    spent = state.spent.energy_j
    assert spent is not None
    regret: float | None = None
    rank: int | None = None
    if choice is not None:
        own = scores[runs.models.index(choice.name)]
        regret, rank = float(scores.max() - own), int((scores > own).sum()) + 1
    return Replay(
        choice.name if choice else None,
        spent,
        regret,
        rank,
        len(state.curves),
        len(state.finished),
        decisions,
    )


def repeat(
    runs: Runs, settings: Settings, seeds: int, probe: float = PROBE, max_energy: float | None = None
) -> Result:
    """Means over so many seeds, from 0; one search alone where nothing is random."""
    count = seeds if POLICIES[settings.policy].USES_SEED else 1
    found = [replay(runs, replace(settings, seed=seed), probe, max_energy) for seed in range(count)]
    choices = Counter(one.choice for one in found)
    rank = _mean([one.rank for one in found])
    return Result(
        set=runs.name,
        energy_fraction=statistics.fmean(one.energy_fraction for one in found),
        regret=_mean([one.regret for one in found]),
        rank=None if rank is None else round(rank, 1),
        choice=max(choices, key=lambda name: choices[name]),
        started=statistics.fmean(one.started for one in found),
        finished=statistics.fmean(one.finished for one in found),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    """None where one of them is."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None
