"""How much of a ranking is chance or choice: outliers, rank intervals, and what the winner depends on. numpy only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pepr_edge.errors import ScoreError
from pepr_edge.records import Outlier, Sensitivity
from pepr_edge.scoring.pepr import Array, Models, Normalise, Scoring, pepr, proportions, scores

TOP = 5
DRAWS = 1000
NOTHING = 1e-12  # scores are sums of a few rounded terms
SHARES = np.round(np.linspace(0.0, 1.0, 101), 2)
WATTS_FACTORS = np.geomspace(
    0.25, 4.0, 41
)  # declared watts are a guess: a data sheet's figure may be off by a factor of some


def best(names: Sequence[str], values: Array, top: int = TOP) -> list[str]:
    """Names of the highest scores, best first; of equal ones that which comes first. Those without a score (NaN) are never among them."""
    order = np.argsort(-np.where(np.isnan(values), -np.inf, values), kind="stable")
    return [names[index] for index in order[:top] if not np.isnan(values[index])]


def outliers(models: Models, scoring: Scoring, top: int = TOP) -> tuple[Outlier, ...]:
    """The models that would change the best `top` of the others if they alone were left out, since the bounds hang on them.

    That a model which is itself among the best makes room for the next one is no change in this sense.
    """
    everyone = best(models.names, scores(models, scoring), len(models.names))
    found = []
    for index in bounding(models, scoring):
        name = models.names[index]
        before = [other for other in everyone if other != name][:top]
        rest = models.without(index)
        after = best(rest.names, scores(rest, scoring), top)
        if set(after) != set(before):
            enters, leaves = (
                tuple(n for n in after if n not in before),
                tuple(n for n in before if n not in after),
            )
            found.append(Outlier(name=name, enters=enters, leaves=leaves))
    return tuple(found)


def bounding(models: Models, scoring: Scoring) -> list[int]:
    """Indices of the models that alone hold the least or the greatest value of a weighted resource: no other can move the bounds."""
    if scoring.normalise == "reference":
        return []
    found: set[int] = set()
    for name, weight in scoring.weights.items():
        known = np.flatnonzero(np.isfinite(models.resources[name])) if weight > 0 else np.zeros(0, int)
        values = models.resources[name][known]
        for extreme in (values.min(), values.max()) if known.size else ():
            holders = known[values == extreme]
            if holders.size == 1:
                found.add(int(holders[0]))
    return sorted(found)


@dataclass(frozen=True)
class RankSpread:
    """Of some models: a 95 % interval of each rank, low and high (m,), and how often each was first over the draws (m,)."""

    low: NDArray[np.int64]
    high: NDArray[np.int64]
    p_best: Array


def rank_spread(
    performance: Array, drawn: Array, resource: Array, alpha: float = 1.0, of: Sequence[int] | None = None
) -> RankSpread:
    """How far ranks by PePR would move if the images were drawn again; the resources stay as they are.

    A model is ranked behind those that are better by more than chance, and before those that are worse by more than chance. How much
    chance can do is the 95th percentile over the draws of the greatest difference to any other model, in its standard errors, so that one
    interval is right for the model whatever number of others there are. Where models are close, taking percentiles of the drawn ranks
    instead held the true rank in as few as 36 % of simulated rankings: a draw adds its own noise to that of the images.

    Args:
        performance: as measured, shape (n,), in [0, 1].
        drawn: of the same models over draws, shape (draws, n); a draw is the same images for all models where they were paired.
        resource: combined and normalised, shape (n,), in [0, 1].
        alpha: emphasis on performance.
        of: the models whose interval is asked for; None takes all.
    Source: Mogstad, Romano, Shaikh and Wilhelm 2024, Inference for ranks (marginal confidence sets).
    """
    n = len(performance)
    score = pepr(performance, resource, alpha)
    scores_drawn = pepr(drawn, np.broadcast_to(resource, drawn.shape), alpha)
    chosen = range(n) if of is None else of
    low, high = np.ones(len(chosen), np.int64), np.full(len(chosen), n)
    for place, number in enumerate(chosen):
        ahead = score - score[number]
        moved = scores_drawn - scores_drawn[:, [number]] - ahead
        error = moved.std(axis=0)
        # Rounding alone is no difference; what never varies differs by what it is.
        varies = error > NOTHING
        greatest = np.abs(moved[:, varies] / error[varies]).max(axis=1, initial=0.0)
        needed = np.where(varies, np.quantile(greatest, 0.95) * error, NOTHING)
        low[place] = 1 + np.count_nonzero(ahead > needed)
        high[place] = n - np.count_nonzero(ahead < -needed)
    # Equal scores share the first place, so that none is first by its position in the list alone.
    first = (scores_drawn == scores_drawn.max(axis=1, keepdims=True)).astype(float)
    first /= first.sum(axis=1, keepdims=True)
    return RankSpread(low, high, first.mean(axis=0)[list(chosen)])


def binomial_performances(performance: Array, images: Array, draws: int = DRAWS, seed: int = 0) -> Array:
    """Performances that a proportion and its number of images leave possible, shape (draws, n), unpaired.

    Args:
        performance: proportions of images decided rightly, shape (n,).
        images: how many each was measured on, shape (n,).
    Source: posterior of a proportion under the Jeffreys prior, Beta(k + 1/2, n - k + 1/2).
    """
    if np.any(~(images >= 1)):
        raise ScoreError(f"number of images {images[~(images >= 1)][0]}, expected an integer >= 1.")
    right = performance * images
    return np.random.default_rng(seed).beta(right + 0.5, images - right + 0.5, size=(draws, len(performance)))


def to_weights(models: Models, scoring: Scoring) -> tuple[Sensitivity, ...]:
    """Each weighted resource's share varied from 0 to 1, the others keeping their proportions."""
    complete = ~np.isnan(scores(models, scoring))
    present = proportions(scoring.weights)
    found = []
    for name, now in present.items():
        rest = sum(value for other, value in present.items() if other != name)
        others = (
            {other: value / rest for other, value in present.items() if other != name} if rest > 0 else {}
        )
        if others:

            def at(share: float, name: str = name, others: dict[str, float] = others) -> Array:
                varied = {name: share, **{other: value * (1 - share) for other, value in others.items()}}
                # A model that lacks a resource stays without a score where that resource's share is 0: the set is the same all along.
                return np.where(complete, scores(models, replace(scoring, weights=varied)), np.nan)

            if (one := _sensitivity(f"{name} weight", now, SHARES, at, models.names)) is not None:
                found.append(one)
    return tuple(found)


def to_watts(
    models: Models, scoring: Scoring, declared: NDArray[np.bool_], resource: str = "train_energy"
) -> Sensitivity | None:
    """Declared energies scaled by a factor, as other declared watts would; None where none is declared or it has no weight.

    Args:
        declared: which models' energy is declared, shape (n,).
    """
    if scoring.weights.get(resource, 0) <= 0 or not declared.any():
        return None

    def at(factor: float) -> Array:
        scaled = np.where(declared, models.resources[resource] * factor, models.resources[resource])
        return scores(replace(models, resources={**models.resources, resource: scaled}), scoring)

    return _sensitivity("declared watts, factor", 1.0, WATTS_FACTORS, at, models.names)


def to_normalisation(models: Models, scoring: Scoring) -> dict[str, str | None]:
    """Who wins under each normalisation; None where nobody has a score. "reference" only where there are reference bounds."""
    tried: tuple[Normalise, ...] = ("minmax", "max", "reference") if scoring.reference else ("minmax", "max")
    return {how: _winner(models.names, scores(models, replace(scoring, normalise=how))) for how in tried}


def _winner(names: Sequence[str], values: Array) -> str | None:
    found = best(names, values, 1)
    return found[0] if found else None


def _sensitivity(
    setting: str, at: float, grid: Array, score_at: Callable[[float], Array], names: Sequence[str]
) -> Sensitivity | None:
    """Walk from the present value to both ends of the grid until the winner changes; None where nobody has a score."""
    winner = _winner(names, score_at(at))
    if winner is None:
        return None

    def walk(values: Array) -> tuple[float, str | None]:
        reached = at
        for value in values:
            if (other := _winner(names, score_at(float(value)))) != winner:
                return reached, other
            reached = float(value)
        return reached, None

    low, below = walk(grid[grid < at][::-1])
    high, above = walk(grid[grid > at])
    tried = (float(grid[0]), float(grid[-1]))
    return Sensitivity(
        setting=setting, at=at, tried=tried, stays=(low, high), winner_below=below, winner_above=above
    )
