"""Train candidates to the end in random order until a stop rule: the baseline for other policies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pepr_edge.search.state import Decision, SearchCandidate, Settings, State

NEEDS_COSTS = True  # PePR is normalised over the costs of all candidates
USES_SEED = True
PARAMETERS: tuple[str, ...] = ()


def shuffled(candidates: Sequence[SearchCandidate], seed: int) -> list[SearchCandidate]:
    """Return the candidates in a random order that depends on their names and the seed alone."""
    by_name = sorted(candidates, key=lambda candidate: candidate.name)
    return [by_name[index] for index in np.random.default_rng(seed).permutation(len(by_name))]


def decide(state: State, settings: Settings) -> Decision:
    """Train the next epoch of the first candidate, in random order, that can still be trained."""
    for candidate in shuffled(state.candidates, settings.seed):
        if state.is_open(candidate.name):
            reason = f"next in the random order of seed {settings.seed}"
            return Decision("train", reason, candidate.name, state.trained(candidate.name) + 1)
    return Decision("stop", "every candidate is done")
