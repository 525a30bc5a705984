"""Cheapest first; what cannot win is never started, and what will hardly win is not trained to the end.

PePR is at most that of performance 1 at a candidate's cost, which is known before training. So the cheapest have the highest bounds, and
each that ends rules out those whose bound is below its score. A candidate in training is dropped once the learning curves that ended say
that its chance of beating the best is below 1 - confidence; one that has not begun is spared by the same rule. Training goes on with one
candidate until it ends or is dropped: nothing is put aside and taken up again.
"""

from __future__ import annotations

from pepr_edge.search.end_performance import Expectation, end_of, end_of_another
from pepr_edge.search.state import Cost, Decision, SearchCandidate, Settings, State, precedence

NEEDS_COSTS = True
USES_SEED = False
PARAMETERS: tuple[str, ...] = ("confidence", "share", "least_trainings")


def decide(state: State, settings: Settings) -> Decision:
    """Go on with what is in training, else begin the cheapest that may win."""
    best = state.best()
    order = sorted((one for one in state.candidates if state.is_open(one.name)), key=precedence)
    for one in order:
        if state.trained(one.name):
            return _go_on(state, settings, best, one)
    return _begin(state, settings, best, order)


def _go_on(state: State, settings: Settings, best: SearchCandidate | None, one: SearchCandidate) -> Decision:
    """Another epoch for a candidate in training, or none."""
    epoch = state.trained(one.name) + 1
    if best is None:
        reason = "nothing is trained to the end yet"
    else:
        reason, hopeless = _hope(state, settings, best, one, end_of(state, one.name))
        if hopeless:
            return Decision("drop", f"after epoch {epoch - 1}: {reason}", one.name)
    if over := _over(state, settings, one, 1):
        return Decision("stop", f"another epoch of {one.name} would break {over}")
    return Decision("train", reason, one.name, epoch)


def _begin(
    state: State, settings: Settings, best: SearchCandidate | None, order: list[SearchCandidate]
) -> Decision:
    """The first epoch of the cheapest that may win and can be paid for."""
    another = end_of_another(state) if best else None
    over = None
    for one in order:
        if best is None:
            over = _over(state, settings, one, 1)
            if not over:
                return Decision(
                    "train", "the cheapest: it sets the score that others have to beat", one.name, 1
                )
            continue
        reason, hopeless = _hope(state, settings, best, one, another)
        if hopeless:
            return Decision("skip", reason, one.name)
        # Half a training decides nothing, so none is begun that cannot be paid to its end.
        unpaid = _over(state, settings, one, state.epochs)
        if not unpaid:
            return Decision("train", reason, one.name, 1)
        over = over or unpaid
    if over:
        return Decision("stop", f"no candidate that is left can be trained without breaking {over}")
    return Decision("stop", "no candidate is left that may win")


def _hope(
    state: State, settings: Settings, best: SearchCandidate, one: SearchCandidate, end: Expectation | None
) -> tuple[str, bool]:
    """Why a candidate may or may not win, and whether it is past hope."""
    leader = f"{best.name} has {state.pepr(best):.4f}"
    bound = state.bound(one)
    if bound <= state.pepr(best):
        return f"with performance {state.ceiling:g} its PePR would be {bound:.4f}, {leader}", True
    need = state.pepr(best) * (state.alpha + one.r) / state.alpha
    if end is None:
        return f"with performance {need:.4f} it would win, {leader}", False
    chance = end.chance_of(need)
    said = f"it needs {need:.4f} to win, expected are {end.mean:.4f} +- {end.sd:.4f} by {end.count} trainings: chance {chance:.2g}"
    hopeless = chance < 1 - settings.confidence
    return f"{said}, below {1 - settings.confidence:.2g}" if hopeless else said, hopeless


def _over(state: State, settings: Settings, one: SearchCandidate, epochs: int) -> str | None:
    """The rule that so many epochs of a candidate would break, in words."""
    cost = state.spent + one.epoch.times(epochs)
    if over := state.limits.exceeded_by(cost):
        return over
    # Where trainings are short, finding out their costs may take more than the share: the least is beyond that.
    least = settings.least_trainings / len(state.candidates) + _part(state.probe, state.sweep())
    share = min(1.0, max(settings.share, least))
    if share < 1 and _part(cost, state.sweep()) > share:
        return (
            f"share = {settings.share:g} of the sweep"
            if share > least
            else f"least_trainings = {settings.least_trainings:g}"
        )
    return None


def _part(cost: Cost, whole: Cost) -> float:
    """Of the energy; of the time where that is not known."""
    known = ((a, b) for a, b in zip(cost.amounts, whole.amounts, strict=True) if a is not None and b)
    return next((a / b for a, b in known), 0.0)
