"""Train the cheapest candidates first, and prune those that cannot win or are unlikely to.

With performance 1, a candidate's PePR follows from its cost, which is known before training: an upper bound
on its score. The cheapest candidates have the highest bounds, and each finished training rules out the
candidates whose bound is below its score. A candidate in training is dropped when the learning curves of the
finished trainings give it a chance below 1 - confidence of beating the best; the same rule skips a candidate
that was not started. One candidate is trained at a time, until it ends or is dropped: no training is paused
and resumed.

A finished training without skill (`State.has_skill`) sets no score to beat: it may be the cheapest, but it is
not worth deploying.
"""

from __future__ import annotations

from pepr_edge.search.end_performance import Expectation, expected_end, expected_end_of_new
from pepr_edge.search.state import Cost, Decision, SearchCandidate, Settings, State, precedence

NEEDS_COSTS = True
USES_SEED = False
PARAMETERS: tuple[str, ...] = ("confidence", "share", "least_trainings")


def decide(state: State, settings: Settings) -> Decision:
    """Continue the training that was started, else start the cheapest candidate that can win."""
    best = state.best()
    cheapest_first = sorted(
        (candidate for candidate in state.candidates if state.is_open(candidate.name)), key=precedence
    )
    for candidate in cheapest_first:
        if state.trained(candidate.name):
            return _continue(state, settings, best, candidate)
    if best is None:
        return _start_first(state, settings, cheapest_first)
    return _start_next(state, settings, best, cheapest_first)


def _continue(
    state: State, settings: Settings, best: SearchCandidate | None, candidate: SearchCandidate
) -> Decision:
    """Train one more epoch of a candidate, or drop it."""
    epoch = state.trained(candidate.name) + 1
    if best is None:
        reason = "no model with skill is trained to the end yet"
    else:
        reason, pruned = _chance(state, settings, best, candidate, expected_end(state, candidate.name))
        if pruned:
            return Decision("drop", f"after epoch {epoch - 1}: {reason}", candidate.name)
    broken_rule = _broken_rule(state, settings, candidate, 1)
    if broken_rule:
        return Decision("stop", f"another epoch of {candidate.name} would break {broken_rule}")
    return Decision("train", reason, candidate.name, epoch)


def _start_first(state: State, settings: Settings, cheapest_first: list[SearchCandidate]) -> Decision:
    """Start the cheapest candidate whose first epoch keeps the stop rules, while none ended with skill."""
    broken_rule = None
    for candidate in cheapest_first:
        broken_rule = _broken_rule(state, settings, candidate, 1)
        if not broken_rule:
            reason = "the cheapest that is left: it sets the score that others have to beat"
            return Decision("train", reason, candidate.name, 1)
    return _no_start(broken_rule)


def _start_next(
    state: State, settings: Settings, best: SearchCandidate, cheapest_first: list[SearchCandidate]
) -> Decision:
    """Start or skip the cheapest candidate whose whole training keeps the stop rules."""
    end = expected_end_of_new(state)
    first_broken = None
    for candidate in cheapest_first:
        reason, pruned = _chance(state, settings, best, candidate, end)
        if pruned:
            return Decision("skip", reason, candidate.name)
        # A part of a training decides nothing, so a training is started only if its end can be paid for.
        broken_rule = _broken_rule(state, settings, candidate, state.epochs)
        if not broken_rule:
            return Decision("train", reason, candidate.name, 1)
        first_broken = first_broken or broken_rule
    return _no_start(first_broken)


def _no_start(broken_rule: str | None) -> Decision:
    if broken_rule:
        return Decision("stop", f"no candidate that is left can be trained without breaking {broken_rule}")
    return Decision("stop", "no candidate is left that may win")


def _chance(
    state: State,
    settings: Settings,
    best: SearchCandidate,
    candidate: SearchCandidate,
    end: Expectation | None,
) -> tuple[str, bool]:
    """Explain whether a candidate can win; and True if it is to be pruned."""
    leader = f"{best.name} has {state.pepr(best):.4f}"
    bound = state.bound(candidate)
    if bound <= state.pepr(best):
        return f"with performance {state.ceiling:g} its PePR would be {bound:.4f}, {leader}", True
    needed = max(state.needed(candidate, state.pepr(best)), state.min_performance)
    if end is None:
        return f"with performance {needed:.4f} it would win, {leader}", False
    chance = end.chance_of(needed)
    expected = f"expected are {end.mean:.4f} +- {end.sd:.4f} by {end.count} trainings"
    reason = f"it needs {needed:.4f} to win, {expected}: chance {chance:.2g}"
    if chance < 1 - settings.confidence:
        return f"{reason}, below {1 - settings.confidence:.2g}", True
    return reason, False


def _broken_rule(state: State, settings: Settings, candidate: SearchCandidate, epochs: int) -> str | None:
    """Return the rule that this number of epochs of a candidate would break, as text."""
    cost = state.spent + candidate.epoch.scaled(epochs)
    limit = state.limits.exceeded_by(cost)
    # A share of the sweep is no reason to end without any model that is worth deploying.
    if limit or state.best() is None:
        return limit
    # With short trainings the cost probes alone may take more than the share, so the minimum comes on top of
    # them.
    sweep = state.sweep()
    minimum = settings.least_trainings / len(state.candidates) + _fraction(state.probe, sweep)
    share = min(1.0, max(settings.share, minimum))
    if share >= 1 or _fraction(cost, sweep) <= share:
        return None
    if share > minimum:
        return f"share = {settings.share:g} of the sweep"
    return f"least_trainings = {settings.least_trainings:g}"


def _fraction(cost: Cost, whole: Cost) -> float:
    """Return a cost as a fraction of a whole, by energy; by time if energy is not known."""
    for amount, total in zip(cost.amounts, whole.amounts, strict=True):
        if amount is not None and total:
            return amount / total
    return 0.0
