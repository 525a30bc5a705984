"""Decide which candidates to spend energy on, in a real run and in a replay of published runs.

state -> decide (policies: exhaustive, random, halving, bounded) -> Decision: train a candidate for one more
epoch, drop it, never start it, or stop. A policy is a function of the state alone, so the same code serves a
run and a replay, and a search that was killed continues from the state that its records give.

In a real run: screening -> cost_estimates -> candidate_search. Every candidate is measured untrained, its
cost is estimated from a few training steps, and a policy decides after each epoch what to train next.
search.json records it. After the first ranking, `repeats` trains further seeds of the candidates that may be
first.
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
    "candidate_search",
    "decide",
    "jobs",
    "published",
    "regret_curve",
    "repeats",
    "replay",
    "state",
    "students",
]
