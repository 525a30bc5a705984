"""The policies by name, and the stop rules that hold for all of them."""

from __future__ import annotations

from typing import Protocol

from pepr_edge.search import bounded, exhaustive, halving, random_order
from pepr_edge.search.state import Decision, PolicyName, Settings, State


class Policy(Protocol):
    """What each module of a policy holds: whether it decides by costs, whether by the seed, its parameters, and the deciding itself."""

    NEEDS_COSTS: bool
    USES_SEED: bool
    PARAMETERS: tuple[str, ...]

    def decide(self, state: State, settings: Settings) -> Decision:
        """The next thing to do."""


POLICIES: dict[PolicyName, Policy] = {
    "exhaustive": exhaustive,
    "random": random_order,
    "halving": halving,
    "bounded": bounded,
}


def decide(state: State, settings: Settings) -> Decision:
    """The next thing to do: the policy's, unless the epoch would break a stop rule.

    The same state and settings give the same decision. After "stop" there is no more to decide.

    Raises:
        ScoreError: there is a limit on a cost that is not known.
    """
    decision = POLICIES[settings.policy].decide(state, settings)
    if decision.action != "train":
        return decision
    cost = next(one.epoch for one in state.candidates if one.name == decision.candidate)
    if over := state.limits.exceeded_by(state.spent + cost):
        return Decision("stop", f"another epoch of {decision.candidate} would break {over}")
    return decision
