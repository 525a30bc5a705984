"""One of the two things that are compared: its models, and what is known of how they were made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pepr_edge.text.units import RESOURCES

# In a sentence: without what follows the comma, as in "latency, p90".
RESOURCE_NAMES = {name: words.partition(",")[0] for name, (words, _) in RESOURCES.items()}


@dataclass(frozen=True)
class Model:
    """One architecture of a side.

    `name` is the candidate's id, by which the sides are paired. `performance` is on the test split, in [0, 1]. `resources` are in SI units
    by name, None where not known; `methods` says how each known one was obtained. `family` and `efficient` are None where the zoo has no
    such architecture.
    """

    name: str
    performance: float
    num_params: int | None
    family: str | None
    efficient: bool | None
    resources: Mapping[str, float | None]
    methods: Mapping[str, str]


@dataclass(frozen=True)
class Absent:
    """A candidate that cannot be compared, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Side:
    """A run, or one set of a published table.

    `source` is as the user wrote it; `weights` is by which resources are combined into "edge". `unskilled` is what guessing reaches in the
    metric, None where that is not known.
    """

    source: str
    metric: str
    models: tuple[Model, ...]
    weights: Mapping[str, float]
    absent: tuple[Absent, ...] = ()
    warnings: tuple[str, ...] = ()
    unskilled: float | None = None


@dataclass(frozen=True)
class Question:
    """What the comparison asks, as its two sides differ.

    Args:
        text: the question itself.
        subject: what pays or does not, in words: "more data".
        treatment: the side that has it, 0 for A and 1 for B.
        contrast: what that side has instead of the other, beginning with "with".
        labels: what A and B are, for plots and tables.
        differs: the keys of the recipes that differ, each with both values.
        pays: whether it asks what pays; else just which side is better, where it is no choice between two ways.
    """

    text: str
    subject: str
    treatment: int
    contrast: str
    labels: tuple[str, str]
    differs: tuple[str, ...] = ()
    pays: bool = True


@dataclass(frozen=True)
class ComparisonInput:
    """The two sides, what they ask, and what a reader must know of them.

    `doubted`: letters of the scores that the answer must not rest on.
    """

    a: Side
    b: Side
    question: Question
    warnings: tuple[str, ...] = ()
    doubted: tuple[str, ...] = ()
