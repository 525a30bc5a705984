"""Train every candidate to the end, in the order in which they are named."""

from __future__ import annotations

from pepr_edge.search.state import Decision, Settings, State

NEEDS_COSTS = False  # nothing is decided by them
USES_SEED = False
PARAMETERS: tuple[str, ...] = ()


def decide(state: State, settings: Settings) -> Decision:
    """The next epoch of the first candidate that is not done."""
    del settings
    for one in state.candidates:
        if state.is_open(one.name):
            return Decision(
                "train", "every candidate is trained to the end", one.name, state.trained(one.name) + 1
            )
    return Decision("stop", "every candidate is done")
