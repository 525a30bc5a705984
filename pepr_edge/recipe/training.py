"""The table [train] of a recipe: how a candidate is trained."""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

from pydantic import Field

from pepr_edge.recipe.auto import Auto, OrAuto
from pepr_edge.recipe.key_types import AtLeastOne, AtLeastOneOrAuto, BatchSize, Positive
from pepr_edge.recipe.toml import Section

SCRATCH = "scratch"
AnyTrain = TypeVar("AnyTrain", bound="Train")
# Mode "gradual" saved a tenth of the energy, with no clear effect on test (docs/training.md).
HEAD_SHARE = 0.1

# The defaults of protocol "paper".
PAPER = {
    "epochs": 10,
    "batch_size": 32,
    "learning_rate": 5e-4,
    "weight_decay": 0.0,
    "augment": "none",
    "patience": 10,
}


class Train(Section):
    """How a candidate is trained.

    Protocol "paper" is Adam at 5e-4, batches of 32 and 10 epochs, without the other techniques (Selvan et al.
    2025). Mode "head" trains only the classifier; without augmentation, the features of the frozen backbone
    are computed once. Mode "gradual" trains the classifier alone for the first HEAD_SHARE of the steps, then
    all weights; from scratch it is "full". `repeats`: trainings of each candidate, which differ in their
    seed; "auto" repeats those that may be the best, each at most `max_repeats` times, see docs/concepts.md.
    `teacher` "best": candidates with fewer parameters than the best one are trained again, and learn from it.

    Other keys that are "auto" are set from the images when the run begins (recipe/settings.py).
    """

    protocol: Literal["default", "paper"] = "default"
    mode: Literal["full", "gradual", "head"] = "full"
    epochs: AtLeastOneOrAuto = 10
    batch_size: Annotated[int | Auto, OrAuto(BatchSize, "an integer")] = 32
    learning_rate: Annotated[float | Auto, OrAuto(Positive, "a number")] = 2e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.02
    augment: Literal["light", "none"] = "light"
    flips: bool = False
    class_balanced: bool = False
    patience: AtLeastOneOrAuto = 5
    repeats: AtLeastOneOrAuto = 1
    max_repeats: AtLeastOne = 3
    teacher: Literal["best"] | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"

    def of_weights(self: AnyTrain, weights: str) -> AnyTrain:
        """Return the settings for these initial weights: from scratch, "gradual" is "full"."""
        if self.mode == "gradual" and weights == SCRATCH:
            return self.model_copy(update={"mode": "full"})
        return self

    @property
    def head_share(self) -> float:
        """The share of the steps, the first ones, that train the classifier alone."""
        return HEAD_SHARE if self.mode == "gradual" else 0.0

    @property
    def first_repeats(self) -> int:
        """The number of trainings of every candidate, before any is repeated on account of its rank."""
        return 1 if self.repeats == "auto" else self.repeats

    @property
    def most_repeats(self) -> int:
        """The highest number of trainings of a candidate; with a teacher alone, and as a student."""
        if self.teacher is not None:
            return 2
        return self.max_repeats if self.repeats == "auto" else self.repeats
