"""Train candidates to the end in random order, until a stop rule ends it: what any policy has to beat."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pepr_edge.search.state import Decision, SearchCandidate, Settings, State

NEEDS_COSTS = True  # PePR is normalised over the costs of all
USES_SEED = True
PARAMETERS: tuple[str, ...] = ()


def shuffled(candidates: Sequence[SearchCandidate], seed: int) -> list[SearchCandidate]:
    """In random order, which hangs on their names and the seed alone."""
    named = sorted(candidates, key=lambda one: one.name)
    return [named[place] for place in np.random.default_rng(seed).permutation(len(named))]


def decide(state: State, settings: Settings) -> Decision:
    """The next epoch of the first candidate, in the order of the seed, that is not done."""
    for one in shuffled(state.candidates, settings.seed):
        if state.is_open(one.name):
            return Decision(
                "train",
                f"next in the random order of seed {settings.seed}",
                one.name,
                state.trained(one.name) + 1,
            )
    return Decision("stop", "every candidate is done")
