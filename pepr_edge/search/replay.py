"""Replay a policy on published runs: what it would have spent, and which model it would have chosen."""

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

# Cost of the probes as a share of the sweep: 8 training steps of 882 (6 epochs, 4708 images, batches of 32).
PROBE = 0.01


@dataclass(frozen=True)
class Replay:
    """One search on one set.

    energy_fraction: share of the sweep's energy, probe included; regret: how far the PePR of the choice at
    its last epoch is below the best of the set; rank: its place by that. choice, regret and rank are None if
    nothing was started.
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
    """All searches on one set: means over seeds, the most frequent choice, and the rank rounded to 0.1."""

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
        probe: cost of the probes as a share of the sweep; not charged to a policy that does not need them.
        max_energy: stop rule as a share of the sweep; the probe counts.
    """
    epochs = runs.curves.shape[1]
    # Energy is in shares of the sweep, as good a unit as joules.
    epoch_energy = (runs.energy / float(runs.energy.sum()) / epochs).tolist()
    costs = {model: Cost(energy) for model, energy in zip(runs.models, epoch_energy, strict=True)}
    r = dict(zip(runs.models, runs.r.tolist(), strict=True))
    candidates = tuple(SearchCandidate(model, r[model], costs[model]) for model in runs.models)
    charged = Cost(probe if POLICIES[settings.policy].NEEDS_COSTS else 0.0)
    state = State(candidates, epochs, spent=charged, probe=charged, limits=Limits(max_energy))
    curves = dict(zip(runs.models, runs.curves.tolist(), strict=True))

    decision = decide(state, settings)
    decisions = [decision]
    while decision.action != "stop":
        assert decision.candidate is not None
        if decision.action == "train":
            assert decision.to_epoch is not None
            performance = curves[decision.candidate][decision.to_epoch - 1]
            state = state.after_epoch(decision.candidate, performance, costs[decision.candidate])
        else:
            state = state.without(decision.candidate, decision.reason)
        decision = decide(state, settings)
        decisions.append(decision)
    return _outcome(runs, state, tuple(decisions))


def final_scores(runs: Runs) -> Array:
    """Return PePR of each model of a set at its last epoch, shape (n,)."""
    return pepr(runs.curves[:, -1], runs.r)


def _outcome(runs: Runs, state: State, decisions: tuple[Decision, ...]) -> Replay:
    assert state.spent.energy_j is not None
    regret: float | None = None
    rank: int | None = None
    choice = state.choice()
    if choice is not None:
        scores = final_scores(runs)
        chosen_score = scores[runs.models.index(choice.name)]
        regret = float(scores.max() - chosen_score)
        rank = int((scores > chosen_score).sum()) + 1
    return Replay(
        choice=choice.name if choice else None,
        energy_fraction=state.spent.energy_j,
        regret=regret,
        rank=rank,
        started=len(state.curves),
        finished=len(state.finished),
        decisions=decisions,
    )


def repeat(
    runs: Runs, settings: Settings, seeds: int, probe: float = PROBE, max_energy: float | None = None
) -> Result:
    """Return means over seeds 0, 1, ...; a single search for a policy without randomness."""
    count = seeds if POLICIES[settings.policy].USES_SEED else 1
    replays = [replay(runs, replace(settings, seed=seed), probe, max_energy) for seed in range(count)]
    choices = Counter(search.choice for search in replays)
    rank = _mean([search.rank for search in replays])
    return Result(
        set=runs.name,
        energy_fraction=statistics.fmean(search.energy_fraction for search in replays),
        regret=_mean([search.regret for search in replays]),
        rank=None if rank is None else round(rank, 1),
        choice=max(choices, key=lambda name: choices[name]),
        started=statistics.fmean(search.started for search in replays),
        finished=statistics.fmean(search.finished for search in replays),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    """Return the mean; None if a value is None."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None
