"""How far a ranking depends on chance or choices: outliers, rank intervals, settings of the score."""

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
ROUNDING_ERROR = 1e-12  # scores are sums of a few rounded terms
SHARES = np.round(np.linspace(0.0, 1.0, 101), 2)
# Declared watts are a guess: a data sheet may be wrong by a factor of a few.
WATTS_FACTORS = np.geomspace(0.25, 4.0, 41)


def best(names: Sequence[str], values: Array, top: int = TOP) -> list[str]:
    """Return the names with the highest scores, best first; equal scores in the order given.

    Models without a score (NaN) are left out.
    """
    order = np.argsort(-np.where(np.isnan(values), -np.inf, values), kind="stable")
    return [names[index] for index in order[:top] if not np.isnan(values[index])]


def outliers(models: Models, scoring: Scoring, top: int = TOP) -> tuple[Outlier, ...]:
    """Return the models that change the best `top` of the others if they alone are left out.

    This happens because the bounds depend on them. If one of the best is left out and the next model takes
    its place, this is no change.
    """
    leaders = best(models.names, scores(models, scoring), top + 1)
    results = []
    for index in sole_extremes(models, scoring):
        name = models.names[index]
        before = [other for other in leaders if other != name][:top]
        rest = models.without(index)
        after = best(rest.names, scores(rest, scoring), top)
        if set(after) != set(before):
            enters = tuple(other for other in after if other not in before)
            leaves = tuple(other for other in before if other not in after)
            results.append(Outlier(name=name, enters=enters, leaves=leaves))
    return tuple(results)


def sole_extremes(models: Models, scoring: Scoring) -> list[int]:
    """Return the indices of models that alone have the minimum or maximum of a weighted resource.

    No other model can change the bounds if it is left out.
    """
    if scoring.normalise == "reference":
        return []
    indices: set[int] = set()
    for name, weight in scoring.weights.items():
        values = models.resources[name]
        known = np.flatnonzero(np.isfinite(values))
        if weight <= 0 or not known.size:
            continue
        for extreme in (values[known].min(), values[known].max()):
            holders = known[values[known] == extreme]
            if holders.size == 1:
                indices.add(int(holders[0]))
    return sorted(indices)


@dataclass(frozen=True)
class RankSpread:
    """95 % intervals of ranks, low and high (m,), and how often each model is first over the draws (m,)."""

    low: NDArray[np.int64]
    high: NDArray[np.int64]
    p_best: Array


def rank_spread(
    performance: Array, drawn: Array, resource: Array, alpha: float = 1.0, of: Sequence[int] | None = None
) -> RankSpread:
    """Return how far ranks by PePR would change with other images; the resources stay the same.

    Args:
        performance: as measured, shape (n,), in [0, 1].
        drawn: performance of the same models over draws, shape (draws, n). If a draw uses the same images for
            all models, the intervals are paired.
        resource: combined and normalised, shape (n,), in [0, 1].
        alpha: emphasis on performance.
        of: indices of the models whose interval is wanted; None for all.
    """
    score = pepr(performance, resource, alpha)
    return score_spread(score, pepr(drawn, np.broadcast_to(resource, drawn.shape), alpha), of)


def score_spread(
    score: Array,
    drawn: Array,
    of: Sequence[int] | None = None,
    is_certain: NDArray[np.bool_] | None = None,
) -> RankSpread:
    """Return how far ranks would change if what is left to chance were drawn again.

    A model ranks behind those that are better by more than chance, and before those that are worse by more
    than chance. The effect of chance is the 95th percentile over the draws of the maximum difference to any
    other model, in its standard errors. So one interval is correct for a model, however many others there
    are. Percentiles of the drawn ranks are no alternative: for close models they contained the true rank in
    as few as 36 % of simulated rankings, since a draw adds its own noise to that of the measurement.

    Args:
        score: PePR of each model as measured, shape (n,).
        drawn: PePR of the same models over draws, shape (draws, n). What models share in a draw, such as
            the images, makes their comparison paired.
        of: indices of the models whose interval is wanted; None for all.
        is_certain: whether each model is a member in any case, shape (n,); None: all are. One that may be
            none pushes no other model back for certain.
    Source: Mogstad, Romano, Shaikh and Wilhelm 2024, Inference for ranks (marginal confidence sets).
    """
    n = len(score)
    chosen = list(range(n)) if of is None else list(of)
    low = np.ones(len(chosen), np.int64)
    high = np.full(len(chosen), n)
    centred = drawn - score
    covariance = np.cov(centred, rowvar=False, ddof=0).reshape(n, n)
    variance = np.diag(covariance)
    for position, index in enumerate(chosen):
        lead = score - score[index]
        error = np.sqrt(np.maximum(variance + variance[index] - 2 * covariance[index], 0.0))
        # A difference that never varies is compared with the rounding error alone.
        varies = error > ROUNDING_ERROR
        deviation = np.abs(centred[:, varies] - centred[:, [index]])
        max_deviation = (deviation / error[varies]).max(axis=1, initial=0.0)
        needed = np.where(varies, np.quantile(max_deviation, 0.95) * error, ROUNDING_ERROR)
        is_ahead = lead > needed
        low[position] = 1 + np.count_nonzero(is_ahead if is_certain is None else is_ahead & is_certain)
        high[position] = n - np.count_nonzero(lead < -needed)
    return RankSpread(low, high, first_shares(drawn)[chosen])


def first_shares(drawn: Array) -> Array:
    """Return how often each model has the highest score over draws, shape (n,).

    Equal scores share the first place, so that none is first only by its position in the list.

    Args:
        drawn: scores, shape (draws, n); -inf where a model is no member.
    """
    is_first = (drawn == drawn.max(axis=1, keepdims=True)) & np.isfinite(drawn)
    first = is_first.astype(float)
    first /= np.maximum(first.sum(axis=1, keepdims=True), 1.0)
    return np.asarray(first.mean(axis=0))


def binomial_performances(performance: Array, images: Array, draws: int = DRAWS, seed: int = 0) -> Array:
    """Draw the performances that a measured proportion and its number of images leave possible.

    Args:
        performance: proportions of images that were decided correctly, shape (n,).
        images: number of images of each model, shape (n,).
    Returns:
        Shape (draws, n), unpaired.
    Raises:
        ScoreError: a number of images is below 1.
    Source: posterior of a proportion under the Jeffreys prior, Beta(k + 1/2, n - k + 1/2).
    """
    invalid = images[~(images >= 1)]
    if invalid.size:
        raise ScoreError(f"number of images {invalid[0]}, expected an integer >= 1.")
    correct = performance * images
    rng = np.random.default_rng(seed)
    return rng.beta(correct + 0.5, images - correct + 0.5, size=(draws, len(performance)))


def weight_sensitivity(models: Models, scoring: Scoring) -> tuple[Sensitivity, ...]:
    """Vary the share of each weighted resource from 0 to 1, while the others keep their proportions."""
    present = proportions(scoring.weights)
    results = []
    for name in present:
        others = {other: share for other, share in present.items() if other != name}
        if not others:
            continue
        sensitivity = _sensitivity(
            setting=f"{name} weight",
            at=present[name],
            grid=SHARES,
            score_at=_scores_by_share(models, scoring, name, proportions(others)),
            names=models.names,
        )
        if sensitivity is not None:
            results.append(sensitivity)
    return tuple(results)


def _scores_by_share(
    models: Models, scoring: Scoring, name: str, others: dict[str, float]
) -> Callable[[float], Array]:
    # Models that lack a resource keep having no score if its share is 0, so that the set stays the same.
    complete = ~np.isnan(scores(models, scoring))

    def score_at(share: float) -> Array:
        weights = {name: share} | {other: value * (1 - share) for other, value in others.items()}
        return np.where(complete, scores(models, replace(scoring, weights=weights)), np.nan)

    return score_at


def watts_sensitivity(
    models: Models, scoring: Scoring, declared: NDArray[np.bool_], resource: str = "train_energy"
) -> Sensitivity | None:
    """Scale declared energies by a factor, as other declared watts would.

    Args:
        declared: True for each model whose energy is declared, shape (n,).
        resource: the energy.
    Returns:
        None if no energy is declared or the resource has no weight.
    """
    if scoring.weights.get(resource, 0) <= 0 or not declared.any():
        return None
    values = models.resources[resource]

    def score_at(factor: float) -> Array:
        scaled = np.where(declared, values * factor, values)
        return scores(replace(models, resources={**models.resources, resource: scaled}), scoring)

    return _sensitivity("declared watts, factor", 1.0, WATTS_FACTORS, score_at, models.names)


def winners_by_normalisation(models: Models, scoring: Scoring) -> dict[str, str | None]:
    """Return the winner under each normalisation, None if no model has a score.

    "reference" is included only if there are reference bounds.
    """
    tried: list[Normalise] = ["minmax", "max"]
    if scoring.reference:
        tried.append("reference")
    return {how: _winner(models.names, scores(models, replace(scoring, normalise=how))) for how in tried}


def _winner(names: Sequence[str], values: Array) -> str | None:
    names_of_best = best(names, values, 1)
    return names_of_best[0] if names_of_best else None


def _sensitivity(
    setting: str, at: float, grid: Array, score_at: Callable[[float], Array], names: Sequence[str]
) -> Sensitivity | None:
    """Step from the present value to both ends of the grid until the winner changes.

    Returns:
        None if no model has a score.
    """
    winner = _winner(names, score_at(at))
    if winner is None:
        return None

    def last_unchanged(values: Array) -> tuple[float, str | None]:
        reached = at
        for value in values:
            other = _winner(names, score_at(float(value)))
            if other != winner:
                return reached, other
            reached = float(value)
        return reached, None

    low, winner_below = last_unchanged(grid[grid < at][::-1])
    high, winner_above = last_unchanged(grid[grid > at])
    return Sensitivity(
        setting=setting,
        at=at,
        tried=(float(grid[0]), float(grid[-1])),
        stays=(low, high),
        winner_below=winner_below,
        winner_above=winner_above,
    )
