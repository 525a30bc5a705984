"""The input of a comparison: two sides with their models, and the question about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pepr_edge.compare.record import LeftOut
from pepr_edge.text.units import RESOURCES

# For sentences: without the part after the comma, as in "latency, p90".
RESOURCE_NAMES = {name: long_name.partition(",")[0] for name, (long_name, _) in RESOURCES.items()}


@dataclass(frozen=True)
class Model:
    """One architecture of a side.

    Args:
        name: the candidate's id, by which the sides are paired.
        performance: on the test split, in [0, 1].
        num_params: number of parameters; None if not known.
        family, efficient: as in the zoo; None if it has no such architecture.
        resources: in SI units by name; None if not known.
        methods: how each known resource was obtained.
    """

    name: str
    performance: float
    num_params: int | None
    family: str | None
    efficient: bool | None
    resources: Mapping[str, float | None]
    methods: Mapping[str, str]


@dataclass(frozen=True)
class Side:
    """A run, or one set of a published table.

    Args:
        source: as the user wrote it.
        metric: of the performance.
        models: the models that can be compared.
        weights: of the resources in the score "edge".
        left_out: candidates that cannot be compared.
        warnings: about this side.
        chance_level: the metric of a no-skill model; None if not known.
    """

    source: str
    metric: str
    models: tuple[Model, ...]
    weights: Mapping[str, float]
    left_out: tuple[LeftOut, ...] = ()
    warnings: tuple[str, ...] = ()
    chance_level: float | None = None


@dataclass(frozen=True)
class Question:
    """The question of a comparison, which follows from how the sides differ.

    Args:
        text: the question itself.
        subject: the treatment in words: "more data".
        treatment: the side that has it, 0 for A and 1 for B.
        contrast: how that side differs from the other, beginning with "with".
        labels: short names of A and B for plots and tables.
        differs: the keys of the recipes that differ, each with both values.
        is_choice: True if one can choose between the sides: "does it pay off?". False if not, as between
            two devices: then the question is which side is better.
    """

    text: str
    subject: str
    treatment: int
    contrast: str
    labels: tuple[str, str]
    differs: tuple[str, ...] = ()
    is_choice: bool = True

    @property
    def sign(self) -> int:
        """1 or -1: the factor that turns B - A into treatment minus the other side."""
        return 1 if self.treatment == 1 else -1


@dataclass(frozen=True)
class ComparisonInput:
    """The two sides, the question about them, and warnings.

    `unreliable_scores`: letters of the PePR scores that the answer must not rest on. `seeds_of`: the only
    candidate in common, whose trainings by seed are the models of both sides; None: the models are
    candidates.
    """

    a: Side
    b: Side
    question: Question
    warnings: tuple[str, ...] = ()
    unreliable_scores: tuple[str, ...] = ()
    seeds_of: str | None = None

    @property
    def models_are(self) -> str:
        """What the models of a side are, as a noun in the plural."""
        return "architectures" if self.seeds_of is None else f"seeds of {self.seeds_of}"
