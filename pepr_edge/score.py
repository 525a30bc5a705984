"""PePR, performance per resource unit, and the ranking by it. numpy only.

PePR(R, P) = P / (1 + R), P and R in [0, 1]; R is the resource normalised over the models of one set.
Source: Selvan et al., NLDL 2025, equation 1 and section 3.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pepr_edge.errors import ScoreError
from pepr_edge.records import Bound

Normalise = Literal["minmax", "max", "reference"]

# Resource -> (its letter in the PePR family, its unit). E, C, T, M are the paper's; L and W are of the deployment.
RESOURCES: dict[str, tuple[str, str]] = {
    "train_energy": ("E", "J"),
    "train_co2eq": ("C", "g"),
    "train_time": ("T", "s"),
    "train_memory": ("M", "B"),
    "latency": ("L", "s"),
    "peak_memory": ("W", "B"),
}


def bounds(values: Sequence[float], unit: str = "", normalise: Normalise = "minmax") -> Bound:
    """Least and greatest value over a set; under "max" the least is 0.

    Raises:
        ScoreError: no value, or one that is negative or not finite.
    """
    if not values:
        raise ScoreError("a resource has no measured value in this set, so it has no bounds. Leave it out of the weights.")
    for value in values:
        if not math.isfinite(value) or value < 0:
            raise ScoreError(f"resource value {value}, expected a finite number >= 0. Leave that model out, or its value empty.")
    return Bound(lo=0.0 if normalise == "max" else min(values), hi=max(values), unit=unit)


def normalised(value: float, bound: Bound) -> float:
    """(value - lo) / (hi - lo), cut to [0, 1]; 0 where all models are equal."""
    width = bound.hi - bound.lo
    if width <= 0:
        return 0.0
    return min(1.0, max(0.0, (value - bound.lo) / width))


def pepr(performance: float, resource: float, alpha: float = 1.0) -> float:
    """alpha * P / (alpha + R): PePR for alpha 1; a greater alpha puts the emphasis on performance.

    Raises:
        ScoreError: performance or resource outside [0, 1], alpha below 1.
    """
    if not (0 <= performance <= 1 and 0 <= resource <= 1):
        raise ScoreError(f"performance {performance} and resource {resource}, expected both in [0, 1].")
    if not (math.isfinite(alpha) and alpha >= 1):
        raise ScoreError(f"alpha = {alpha}, expected a number >= 1.")
    return alpha * performance / (alpha + resource)


def shares(weights: Mapping[str, float]) -> dict[str, float]:
    """Weights scaled to sum 1, those of 0 left out.

    Raises:
        ScoreError: an unknown resource, a negative weight, or all 0.
    """
    for name, weight in weights.items():
        if name not in RESOURCES:
            raise ScoreError(f"weight of {name!r}: unknown resource, expected one of {', '.join(RESOURCES)}.")
        if not math.isfinite(weight) or weight < 0:
            raise ScoreError(f"weight {name} = {weight}, expected a number >= 0.")
    total = sum(weights.values())
    if total <= 0:
        raise ScoreError("all weights are 0, expected at least one above 0.")
    return {name: weight / total for name, weight in weights.items() if weight > 0}


def family(
    performance: float, resources: Mapping[str, float | None], bound: Mapping[str, Bound], weights: Mapping[str, float], alpha: float = 1.0
) -> tuple[dict[str, float | None], dict[str, float | None]]:
    """All scores of one model.

    Args:
        performance: in [0, 1].
        resources: by name, in SI units; None where not measured.
        bound: lo and hi by resource, over the set.
        weights: by resource, any scale.
    Returns:
        The normalised resources, and PePR by letter (E, C, T, M, L, W) with "edge" over all weighted resources. None for what rests on
        a resource that was not measured.
    """
    r = {name: normalised(value, bound[name]) if value is not None and name in bound else None for name, value in resources.items()}
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


def set_id(members: Sequence[str]) -> str:
    """Name of the set that bounds and scores rest on: adding a model changes it, the order does not."""
    return hashlib.sha256("\n".join(sorted(members)).encode()).hexdigest()[:16]


def pareto_front(performance: Sequence[float], resource: Sequence[float]) -> NDArray[np.bool_]:
    """Which models no other beats in one of performance and resource without being worse in the other, shape (n,)."""
    p, r = np.asarray(performance, float), np.asarray(resource, float)
    better_or_equal = (p[None, :] >= p[:, None]) & (r[None, :] <= r[:, None])
    strictly = (p[None, :] > p[:, None]) | (r[None, :] < r[:, None])
    return np.asarray(~(better_or_equal & strictly).any(axis=1), dtype=np.bool_)
