"""Which candidates to spend energy on, and the replay of published runs.

state -> decide (policies: exhaustive, random, halving, bounded) -> Decision: train a candidate for one more epoch, drop it, never start it,
or stop. A policy is a function of the state alone and knows nothing of where results come from: the same code drives a run and a replay,
and a search that was killed goes on from the state that its records give.

In a real run: screening -> cost_estimates -> drive: every candidate is measured untrained, what it would cost is estimated from a few
training steps, and a policy decides after each epoch what to train on. What is decided stands in search.json.
"""

from pepr_edge.search.policies import POLICIES, decide
from pepr_edge.search.state import Cost, Decision, Limits, SearchCandidate, Settings, State

__all__ = [
    "POLICIES",
    "Cost",
    "Decision",
    "Limits",
    "SearchCandidate",
    "Settings",
    "State",
    "decide",
    "drive",
    "jobs",
    "published",
    "regret_curve",
    "replay",
    "state",
]
