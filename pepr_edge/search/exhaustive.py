"""Train every candidate to the end, in the order of the recipe."""

from __future__ import annotations

from pepr_edge.search.state import Decision, Settings, State

NEEDS_COSTS = False  # no decision depends on them
USES_SEED = False
PARAMETERS: tuple[str, ...] = ()


def decide(state: State, settings: Settings) -> Decision:
    """Train the next epoch of the first candidate that can still be trained."""
    del settings
    for candidate in state.candidates:
        if state.is_open(candidate.name):
            epoch = state.trained(candidate.name) + 1
            return Decision("train", "every candidate is trained to the end", candidate.name, epoch)
    return Decision("stop", "every candidate is done")
