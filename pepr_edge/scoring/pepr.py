"""PePR, performance per resource unit, and the ranking by it. numpy only.

PePR(R, P) = P / (1 + R), P and R in [0, 1]; R is the resource normalised over the models of one set.
Source: Selvan et al., NLDL 2025, equation 1 and section 3.

What has no score: a model whose resource was not measured (None, NaN) or is infinite, as of a model that never ended. It takes no part
in the bounds either, so that the others are scored as if it were not there. Models of equal cost, or one alone, have R = 0.
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

# Resource -> (its letter in the PePR family, its unit). E, C, T, M, D are the paper's; L and W are of the deployment.
RESOURCES: dict[str, tuple[str, str]] = {
    "train_energy": ("E", "J"),
    "train_co2eq": ("C", "g"),
    "train_time": ("T", "s"),
    "train_memory": ("M", "B"),
    "train_data": ("D", "images"),
    "latency": ("L", "s"),
    "peak_memory": ("W", "B"),
}


def bounds(
    values: Sequence[float], unit: str = "", normalise: Normalise = "minmax", methods: Collection[str] = ()
) -> Bound:
    """Least and greatest value over a set; under "max" the least is 0.

    Args:
        values: of one resource, finite.
        unit: theirs.
        normalise: "minmax" or "max"; bounds of a "reference" come from elsewhere.
        methods: how the values were obtained ("measured", "declared", ...).
    Raises:
        ScoreError: no value; one that is negative or not finite; values that were obtained in different ways.
    """
    if not values:
        raise ScoreError(
            "a resource has no measured value in this set, so it has no bounds. Leave it out of the weights."
        )
    for value in values:
        if not math.isfinite(value) or value < 0:
            raise ScoreError(
                f"resource value {value}, expected a finite number >= 0. Leave that model out, or its value empty."
            )
    return Bound(
        lo=0.0 if normalise == "max" else min(values), hi=max(values), unit=unit, method=only_method(methods)
    )


def only_method(methods: Collection[str]) -> str:
    """The one way in which all values of a resource were obtained; "" where none is known.

    Raises:
        ScoreError: several: a counter's reading and an estimate from declared watts must not share one normalisation.
    """
    different = sorted(set(methods))
    if len(different) > 1:
        raise ScoreError(
            f"obtained in different ways ({', '.join(different)}), which cannot share one normalisation. Rank them apart."
        )
    return different[0] if different else ""


def scaled(values: Array, lo: Array | float, hi: Array | float) -> Array:
    """(value - lo) / (hi - lo), cut to [0, 1]; 0 where hi is lo; NaN stays NaN. The bounds are those of all values, or of each."""
    width = np.subtract(hi, lo)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        r = np.clip((values - lo) / width, 0.0, 1.0)
    return np.where(width > 0, r, values * 0.0)


def normalised(value: Number, bound: Bound) -> Number:
    """`scaled` between the bounds of a set. A number, or an array."""
    if isinstance(value, np.ndarray):
        return scaled(value, bound.lo, bound.hi)
    return float(scaled(np.array(value, dtype=np.float64), bound.lo, bound.hi))


def pepr(performance: Number, resource: Number, alpha: float = 1.0) -> Number:
    """alpha * P / (alpha + R): PePR for alpha 1; a greater alpha puts the emphasis on performance.

    Args:
        performance, resource: in [0, 1]; two numbers, or two arrays of one shape in which NaN, not measured, gives NaN.
    Raises:
        ScoreError: performance or resource outside [0, 1], alpha below 1.
    """
    for value in (performance, resource):
        outside = (
            ~((value >= 0) & (value <= 1) | np.isnan(value))
            if isinstance(value, np.ndarray)
            else not 0 <= value <= 1
        )
        if np.any(outside):
            raise ScoreError(f"performance {performance} and resource {resource}, expected both in [0, 1].")
    if not (math.isfinite(alpha) and alpha >= 1):
        raise ScoreError(f"alpha = {alpha}, expected a number >= 1.")
    return alpha * performance / (alpha + resource)


def shares(weights: Mapping[str, float]) -> dict[str, float]:
    """Weights of the known resources scaled to sum 1, those of 0 left out.

    Raises:
        ScoreError: an unknown resource, a negative weight, or all 0.
    """
    for name in weights:
        if name not in RESOURCES:
            raise ScoreError(f"weight of {name!r}: unknown resource, expected one of {', '.join(RESOURCES)}.")
    return proportions(weights)


def proportions(weights: Mapping[str, float]) -> dict[str, float]:
    """Weights scaled to sum 1, whatever their names, those of 0 left out.

    Raises:
        ScoreError: a negative weight, or all 0.
    """
    for name, weight in weights.items():
        if not math.isfinite(weight) or weight < 0:
            raise ScoreError(f"weight {name} = {weight}, expected a number >= 0.")
    total = sum(weights.values())
    if total <= 0:
        raise ScoreError("all weights are 0, expected at least one above 0.")
    if not math.isfinite(total):
        raise ScoreError(
            f"weights sum to {total}, expected numbers whose sum is finite. Only their proportions count."
        )
    return {name: weight / total for name, weight in weights.items() if weight > 0}


def family(
    performance: float,
    resources: Mapping[str, float | None],
    bound: Mapping[str, Bound],
    weights: Mapping[str, float],
    alpha: float = 1.0,
) -> tuple[dict[str, float | None], dict[str, float | None]]:
    """All scores of one model.

    Args:
        performance: in [0, 1].
        resources: by name, in SI units; None where not measured, which NaN and infinity count as.
        bound: lo and hi by resource, over the set.
        weights: by resource, any scale.
    Returns:
        The normalised resources, and PePR by letter (E, C, T, M, L, W) with "edge" over all weighted resources. None for what rests on
        a resource that was not measured.
    """
    known = {
        name: value
        for name, value in resources.items()
        if value is not None and math.isfinite(value) and name in bound
    }
    r = {name: normalised(known[name], bound[name]) if name in known else None for name in resources}
    scores: dict[str, float | None] = {}
    for name, (letter, _) in RESOURCES.items():
        value = r.get(name)
        scores[letter] = None if value is None else pepr(performance, value, alpha)
    weighted = [(share, r.get(name)) for name, share in shares(weights).items()]
    if any(value is None for _, value in weighted):
        scores["edge"] = None
    else:
        combined = sum(share * value for share, value in weighted if value is not None)
        scores["edge"] = pepr(performance, min(1.0, combined), alpha)
    return r, scores


@dataclass(frozen=True)
class Models:
    """A set of models as arrays: names (n,), performance (n,) in [0, 1], resources by name, each (n,), NaN where not measured."""

    names: tuple[str, ...]
    performance: Array
    resources: Mapping[str, Array]

    def without(self, index: int) -> Models:
        """The set but for one."""
        return Models(
            self.names[:index] + self.names[index + 1 :],
            np.delete(self.performance, index),
            {name: np.delete(values, index) for name, values in self.resources.items()},
        )


@dataclass(frozen=True)
class Scoring:
    """How a set is scored: weights by resource, the normalisation, and the emphasis. `reference` holds the bounds for "reference"."""

    weights: Mapping[str, float]
    normalise: Normalise = "minmax"
    alpha: float = 1.0
    reference: Mapping[str, Bound] | None = None

    def bound(self, name: str, values: Array) -> Bound | None:
        """lo and hi of one resource over a set; None where nobody's was measured."""
        if self.normalise == "reference":
            return (self.reference or {}).get(name)
        known = values[np.isfinite(values)]
        return bounds(known.tolist(), normalise=self.normalise) if known.size else None


def combined_resource(models: Models, scoring: Scoring) -> Array:
    """Weighted mean of the normalised resources, shape (n,), in [0, 1]; NaN for a model that lacks one with a weight."""
    shares, parts = proportions(scoring.weights), []
    for name in shares:
        values = models.resources[name]
        bound = scoring.bound(name, values)
        parts.append(
            normalised(np.where(np.isfinite(values), values, np.nan), bound)
            if bound
            else np.full(len(values), np.nan)
        )
    return weighted(list(shares.values()), parts)


def weighted(shares: Sequence[float], resources: Sequence[Array]) -> Array:
    """Mean of normalised resources, each (n,), by their shares, which sum to 1: shape (n,), in [0, 1]. A share of 0 does not count."""
    total = np.zeros(len(resources[0]))
    for share, r in zip(shares, resources, strict=True):
        if share > 0:
            total += share * r
    return np.minimum(total, 1.0)


def scores(models: Models, scoring: Scoring) -> Array:
    """PePR over the weighted resources of each model of a set, shape (n,); NaN where it has none."""
    return pepr(models.performance, combined_resource(models, scoring), scoring.alpha)


@dataclass(frozen=True)
class PeprCurve:
    """PePR along a learning curve, shape (epochs,): `best` is where it is greatest, and `maximum` is P*."""

    values: Array
    best: int

    @property
    def maximum(self) -> float:
        """P*, the greatest score that stopping at the right moment would have reached."""
        return float(self.values[self.best])


def curve(
    performance: Sequence[float], resource: Sequence[float], bound: Bound, alpha: float = 1.0
) -> PeprCurve:
    """The PePR curve of one model: its performance after each epoch, per unit of what had been spent until then.

    Args:
        performance: after each epoch, shape (epochs,), in [0, 1].
        resource: spent from the start until then, shape (epochs,), in the unit of the bound.
        bound: over all epochs of all models that are compared.
    Source: Selvan et al. 2025, section 3.
    """
    if not len(performance) or len(performance) != len(resource):
        raise ScoreError(
            f"{len(performance)} performances and {len(resource)} resources, expected as many of both, and at least one."
        )
    spent = np.asarray(resource, float)
    values = pepr(
        np.asarray(performance, float), normalised(np.where(np.isfinite(spent), spent, np.nan), bound), alpha
    )
    if np.isnan(values).all():
        raise ScoreError("no epoch has both a performance and a resource, expected at least one.")
    return PeprCurve(values, int(np.nanargmax(values)))


def set_id(members: Sequence[str]) -> str:
    """Name of the set that bounds and scores rest on: adding a model changes it, the order does not."""
    return hashlib.sha256("\n".join(sorted(members)).encode()).hexdigest()[:16]


def pareto_front(performance: Sequence[float], resource: Sequence[float]) -> NDArray[np.bool_]:
    """Which models no other beats in one of performance and resource without being worse in the other, shape (n,)."""
    p, r = np.asarray(performance, float), np.asarray(resource, float)
    better_or_equal = (p[None, :] >= p[:, None]) & (r[None, :] <= r[:, None])
    strictly = (p[None, :] > p[:, None]) | (r[None, :] < r[:, None])
    return np.asarray(~(better_or_equal & strictly).any(axis=1), dtype=np.bool_)
