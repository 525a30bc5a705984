"""The result of a group of models: its best ones, its bounds, its baseline, and what its order depends on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pepr_edge.records import Bound, Outlier, Sensitivity


@dataclass(frozen=True)
class Place:
    """One of the best models of a group, ranked by `score` with `combined_r`; no interval without images."""

    rank: int
    name: str
    performance: float
    r: Mapping[str, float | None]
    pepr: Mapping[str, float | None]
    combined_r: float
    score: float
    rank_low: int | None = None
    rank_high: int | None = None
    p_best: float | None = None


@dataclass(frozen=True)
class MajorityBaseline:
    """A free model that always predicts the most frequent class; it outranks `outranks` of `of` models.

    `score` is its PePR: its performance, or 0 by skill. `not_beaten_by`: how many scored models are not shown
    to beat it; None without the numbers of images.
    """

    performance: float
    score: float
    outranks: int
    of: int
    not_beaten_by: int | None


@dataclass(frozen=True)
class Dependence:
    """The weights between which a winner stays the winner, and the winner under each normalisation."""

    sensitivity: tuple[Sensitivity, ...]
    winners: Mapping[str, str | None]


@dataclass(frozen=True)
class Group:
    """The scores of one set of models.

    name: None if the table is one set.
    set_id: hash of the name, the number of models, and the bounds and methods: all that a score depends on
        beside the model itself.
    bounds: None for a resource that was not measured.
    dependence: None if it was not computed (one resource, or too many models).
    """

    name: str | None
    models: int
    scored: int
    set_id: str
    bounds: Mapping[str, Bound | None]
    best: tuple[Place, ...]
    outliers: tuple[Outlier, ...]
    baseline: MajorityBaseline | None
    warnings: tuple[str, ...]
    dependence: Dependence | None
