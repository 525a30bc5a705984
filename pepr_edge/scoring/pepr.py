"""PePR, performance per resource unit, and the ranking by it. Needs numpy only.

PePR(R, P) = P / (1 + R), P and R in [0, 1]; R is the resource, normalised over the models of one set.
Source: Selvan et al., NLDL 2025, equation 1 and section 3.

A model has no score if its resource was not measured (None, NaN) or is infinite, as for a training that never
ended. Such a model does not affect the bounds either: the others are scored as if it did not exist. Models of
equal cost, or a single model, have R = 0.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from pepr_edge.errors import ScoreError
from pepr_edge.records import Bound

Normalise = Literal["minmax", "max", "reference"]
Array = NDArray[np.float64]
Number = TypeVar("Number", float, Array)

# Resource -> (its letter in the PePR family, its unit). E, C, T, M, D are the paper's; L and W are of the
# deployment.
RESOURCES: dict[str, tuple[str, str]] = {
    "train_energy": ("E", "J"),
    "train_co2eq": ("C", "g"),
    "train_time": ("T", "s"),
    "train_memory": ("M", "B"),
    "train_data": ("D", "images"),
    "latency": ("L", "s"),
    "peak_memory": ("W", "B"),
}


def resource_bounds(
    values: Sequence[float], unit: str = "", normalise: Normalise = "minmax", methods: Collection[str] = ()
) -> Bound:
    """Return the minimum and maximum over a set; under "max" the lower bound is 0.

    Args:
        values: of one resource, finite.
        unit: of the values.
        normalise: "minmax" or "max"; bounds of a "reference" come from a file.
        methods: how the values were obtained ("measured", "declared", ...).
    Raises:
        ScoreError: there is no value, a value is negative or not finite, or they were obtained in different
            ways.
    """
    if not values:
        raise ScoreError(
            "a resource has no measured value in this set, so it has no bounds. Leave it out of the weights."
        )
    for value in values:
        if not math.isfinite(value) or value < 0:
            raise ScoreError(
                f"resource value {value}, expected a finite number >= 0. "
                "Leave that model out, or its value empty."
            )
    lo = 0.0 if normalise == "max" else min(values)
    return Bound(lo=lo, hi=max(values), unit=unit, method=only_method(methods))


def only_method(methods: Collection[str]) -> str:
    """Return the method by which all values of a resource were obtained; "" if none is known.

    Raises:
        ScoreError: there are several. A counter's reading and an estimate from declared watts must not share
            one normalisation.
    """
    mixed = mixed_methods(methods)
    if mixed:
        raise ScoreError(f"{mixed}, which cannot share one normalisation. Rank them separately.")
    return next(iter(methods), "")


def mixed_methods(methods: Collection[str]) -> str:
    """Return a text that names the methods if there are several; empty if there are not."""
    different = sorted(set(methods))
    return f"obtained in different ways ({', '.join(different)})" if len(different) > 1 else ""


def normalised(value: Number, bound: Bound) -> Number:
    """Scale a number or an array between the bounds of a set: (value - lo) / (hi - lo), clipped to [0, 1].

    0 if hi equals lo. NaN stays NaN.
    """
    values = np.asarray(value, dtype=np.float64)
    width = bound.hi - bound.lo
    with np.errstate(over="ignore"):
        r = np.clip((values - bound.lo) / width, 0.0, 1.0) if width > 0 else values * 0.0
    return r if isinstance(value, np.ndarray) else float(r)


def pepr(performance: Number, resource: Number, alpha: float = 1.0) -> Number:
    """Return alpha * P / (alpha + R): PePR for alpha = 1; a larger alpha gives more weight to performance.

    Args:
        performance, resource: in [0, 1]; two numbers, or two arrays of the same shape. NaN in an array means
            "not measured" and gives NaN.
    Raises:
        ScoreError: performance or resource is outside [0, 1], or alpha is below 1.
    """
    if not _in_unit_interval(performance) or not _in_unit_interval(resource):
        raise ScoreError(f"performance {performance} and resource {resource}, expected both in [0, 1].")
    if not (math.isfinite(alpha) and alpha >= 1):
        raise ScoreError(f"alpha = {alpha}, expected a number >= 1.")
    return alpha * performance / (alpha + resource)


def skill(performance: Number, baseline: float) -> Number:
    """Scale a performance, or an array, to 0 for the majority-class baseline and 1 for a perfect model.

    Below the baseline it is 0. NaN stays NaN.
    Source: the skill score of forecast verification, (P - P0) / (1 - P0).
    """
    values = np.asarray(performance, dtype=np.float64)
    scaled = values * 0.0 if baseline >= 1 else np.clip((values - baseline) / (1 - baseline), 0.0, 1.0)
    return scaled if isinstance(performance, np.ndarray) else float(scaled)


def _in_unit_interval(value: float | Array) -> bool:
    if isinstance(value, np.ndarray):
        return bool(np.all((value >= 0) & (value <= 1) | np.isnan(value)))
    return 0 <= value <= 1


def normalised_weights(weights: Mapping[str, float]) -> dict[str, float]:
    """Scale weights of known resources so that they sum to 1, and leave out those that are 0.

    Raises:
        ScoreError: a resource is unknown, a weight is negative, or all are 0.
    """
    for name in weights:
        if name not in RESOURCES:
            raise ScoreError(f"weight of {name!r}: unknown resource, expected one of {', '.join(RESOURCES)}.")
    return proportions(weights)


def proportions(weights: Mapping[str, float]) -> dict[str, float]:
    """Scale weights with any names so that they sum to 1, and leave out those that are 0.

    Raises:
        ScoreError: a weight is negative, or all are 0.
    """
    for name, weight in weights.items():
        if not math.isfinite(weight) or weight < 0:
            raise ScoreError(f"weight {name} = {weight}, expected a number >= 0.")
    total = sum(weights.values())
    if total <= 0:
        raise ScoreError("all weights are 0, expected at least one above 0.")
    if not math.isfinite(total):
        raise ScoreError(
            f"weights sum to {total}, expected numbers with a finite sum. Only their proportions matter."
        )
    return {name: weight / total for name, weight in weights.items() if weight > 0}


def pepr_family(
    performance: float,
    resources: Mapping[str, float | None],
    bounds: Mapping[str, Bound],
    weights: Mapping[str, float],
    alpha: float = 1.0,
) -> tuple[dict[str, float | None], dict[str, float | None]]:
    """Return all scores of one model.

    Args:
        performance: in [0, 1].
        resources: by name, in SI units; None, NaN or infinity if not measured.
        bounds: lo and hi by resource, over the set.
        weights: by resource, any scale.
        alpha: emphasis on performance; see `pepr`.
    Returns:
        The normalised resources, and PePR by letter (E, C, T, M, D, L, W) with "edge" over all weighted
        resources. Entries that depend on a resource that was not measured are None.
    """
    r: dict[str, float | None] = {}
    for name, value in resources.items():
        known = value is not None and math.isfinite(value) and name in bounds
        r[name] = normalised(float(value), bounds[name]) if known and value is not None else None
    scores: dict[str, float | None] = {}
    for name, (letter, _) in RESOURCES.items():
        normalised_value = r.get(name)
        scores[letter] = None if normalised_value is None else pepr(performance, normalised_value, alpha)
    combined = 0.0
    scores["edge"] = None
    for name, share in normalised_weights(weights).items():
        normalised_value = r.get(name)
        if normalised_value is None:
            return r, scores
        combined += share * normalised_value
    scores["edge"] = pepr(performance, min(1.0, combined), alpha)
    return r, scores


@dataclass(frozen=True)
class Models:
    """A set of models as arrays.

    Names (n,), performance (n,) in [0, 1], and resources by name, each (n,), NaN if not measured.
    """

    names: tuple[str, ...]
    performance: Array
    resources: Mapping[str, Array]

    def without(self, index: int) -> Models:
        """Return the set without the model at this index."""
        return Models(
            self.names[:index] + self.names[index + 1 :],
            np.delete(self.performance, index),
            {name: np.delete(values, index) for name, values in self.resources.items()},
        )


@dataclass(frozen=True)
class Scoring:
    """How a set is scored: weights by resource, normalisation, and emphasis.

    `reference` holds the bounds if `normalise` is "reference".
    """

    weights: Mapping[str, float]
    normalise: Normalise = "minmax"
    alpha: float = 1.0
    reference: Mapping[str, Bound] | None = None

    def bound(self, name: str, values: Array) -> Bound | None:
        """Return lo and hi of one resource over a set; None if it was not measured for any model."""
        if self.normalise == "reference":
            return (self.reference or {}).get(name)
        known = values[np.isfinite(values)]
        if not known.size:
            return None
        return resource_bounds([float(known.min()), float(known.max())], normalise=self.normalise)


def combined_resource(models: Models, scoring: Scoring) -> Array:
    """Return the weighted mean of the normalised resources, shape (n,), in [0, 1].

    NaN for a model that lacks a resource with a weight.
    """
    weights = proportions(scoring.weights)
    parts: list[Array] = []
    for name in weights:
        values = models.resources[name]
        bound = scoring.bound(name, values)
        if bound is None:
            parts.append(np.full(len(values), np.nan))
        else:
            parts.append(normalised(np.where(np.isfinite(values), values, np.nan), bound))
    return weighted(list(weights.values()), parts)


def weighted(shares: Sequence[float], resources: Sequence[Array]) -> Array:
    """Return the weighted mean of normalised resources, shape (n,), in [0, 1].

    Args:
        shares: weights with sum 1; a resource with share 0 is ignored, even if it is NaN.
        resources: each of shape (n,).
    """
    total = np.zeros(len(resources[0]))
    for share, r in zip(shares, resources, strict=True):
        if share > 0:
            total += share * r
    return np.minimum(total, 1.0)


def scores(models: Models, scoring: Scoring) -> Array:
    """Return the PePR of each model over the weighted resources, shape (n,); NaN if it has none."""
    return pepr(models.performance, combined_resource(models, scoring), scoring.alpha)


@dataclass(frozen=True)
class PeprCurve:
    """PePR along a learning curve, shape (epochs,); `best` is the index of its maximum."""

    values: Array
    best: int

    @property
    def maximum(self) -> float:
        """P*, the maximum score, which stopping at the right epoch would have reached."""
        return float(self.values[self.best])


def pepr_curve(
    performance: Sequence[float], resource: Sequence[float], bound: Bound, alpha: float = 1.0
) -> PeprCurve:
    """Return the PePR of one model after each epoch.

    Args:
        performance: after each epoch, shape (epochs,), in [0, 1].
        resource: used from the start to the end of each epoch, shape (epochs,), in the unit of the bound.
        bound: over all epochs of all models that are compared.
        alpha: emphasis on performance; see `pepr`.
    Raises:
        ScoreError: different lengths, no epoch, or no epoch with both a performance and a resource.
    Source: Selvan et al. 2025, section 3.
    """
    if not len(performance) or len(performance) != len(resource):
        raise ScoreError(
            f"{len(performance)} performances and {len(resource)} resources, "
            "expected equally many, and at least one."
        )
    used = np.asarray(resource, float)
    r = normalised(np.where(np.isfinite(used), used, np.nan), bound)
    values = pepr(np.asarray(performance, float), r, alpha)
    if np.isnan(values).all():
        raise ScoreError("no epoch has both a performance and a resource, expected at least one.")
    return PeprCurve(values, int(np.nanargmax(values)))


def set_id(members: Sequence[str]) -> str:
    """Return the name of the set on which bounds and scores depend; the order of members does not matter."""
    return hashlib.sha256("\n".join(sorted(members)).encode()).hexdigest()[:16]


def pareto_front(performance: Sequence[float], resource: Sequence[float]) -> NDArray[np.bool_]:
    """True for each model that no other model dominates, shape (n,).

    A model dominates another if it is at least as good in performance and resource, and better in one of
    them.
    """
    p = np.asarray(performance, float)
    r = np.asarray(resource, float)
    better_or_equal = (p[None, :] >= p[:, None]) & (r[None, :] <= r[:, None])
    strictly = (p[None, :] > p[:, None]) | (r[None, :] < r[:, None])
    return np.asarray(~(better_or_equal & strictly).any(axis=1), dtype=np.bool_)
