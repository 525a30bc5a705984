"""The policies by name, and the stop rules that hold for all of them."""

from __future__ import annotations

from typing import Protocol

from pepr_edge.search import bounded, exhaustive, halving, random_order
from pepr_edge.search.state import Decision, PolicyName, Settings, State


class Policy(Protocol):
    """The content of each policy module.

    NEEDS_COSTS: it decides by costs; USES_SEED: it decides by the seed; PARAMETERS: the settings that it
        reads.
    """

    NEEDS_COSTS: bool
    USES_SEED: bool
    PARAMETERS: tuple[str, ...]

    def decide(self, state: State, settings: Settings) -> Decision:
        """Return the next decision."""


POLICIES: dict[PolicyName, Policy] = {
    "exhaustive": exhaustive,
    "random": random_order,
    "halving": halving,
    "bounded": bounded,
}


def decide(state: State, settings: Settings) -> Decision:
    """Return the policy's decision, or "stop" if the next epoch would break a stop rule.

    The same state and settings give the same decision. "stop" is the last decision of a search.

    Raises:
        ScoreError: there is a limit on a cost that is not known.
    """
    decision = POLICIES[settings.policy].decide(state, settings)
    if decision.action != "train":
        return decision
    epoch = next(candidate.epoch for candidate in state.candidates if candidate.name == decision.candidate)
    broken_rule = state.limits.exceeded_by(state.spent + epoch)
    if broken_rule:
        return Decision("stop", f"another epoch of {decision.candidate} would break {broken_rule}")
    return decision
