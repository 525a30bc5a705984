"""Settings that a recipe leaves to the images ("auto"): chosen by their number, their size and their classes.

This is the only place of these rules: a run applies them when it begins, and `init` shows what they give.
"""

from __future__ import annotations

import math
from typing import Any

from pydantic import Field

from pepr_edge import zoo
from pepr_edge.errors import RecipeError
from pepr_edge.recipe.auto import AUTO
from pepr_edge.recipe.key_types import AtLeastOne, BatchSize, Positive, Sizes
from pepr_edge.recipe.recipe import Candidates, Recipe
from pepr_edge.recipe.training import Train
from pepr_edge.records import ImageFacts, RunSettings
from pepr_edge.scoring.learning_curve import first_settled
from pepr_edge.tasks import DEFAULT_TASK, TaskKind, task_of
from pepr_edge.text.units import metric

SIZES_PX = (32, 64, 128, 224)
MAX_PX = 128  # larger images train for days on a processor
MAX_GPU_PX = 224
# Small architectures learn more from images enlarged to this size: on BreastMNIST (28 px), from scratch,
# mobilenetv2_050, mnasnet_100 and dla46_c had a higher validation accuracy at 64 px than at 32 px with
# each of two seeds (docs/training.md). resnet14t, of 10 M parameters, learnt more than these at 32 px; it was
# not tried at 64.
MIN_SMALL_PX = 64
SMALL_PARAMS = 7_000_000
# A training sees this many images, each one once per epoch, within the limits of its epochs. On BreastMNIST
# (546 training images) resnet14t reached a validation accuracy of 0.936 with it, from scratch at 32 px
# (docs/training.md).
SEEN_IMAGES = 30_000
MIN_EPOCHS = 5
MAX_EPOCHS = 100
BATCH_SIZE = 32
# With fewer images than this, the number of steps matters more than how smooth each step is.
SMALL_BATCH_BELOW = 512
SMALL_BATCH = 16
LEARNING_RATE = 2e-3
# Stop after this many steps without improvement, not earlier: for about the first 50 steps, networks with
# batch normalisation classify validation at chance level, until its statistics match.
PATIENCE_STEPS = 100
MIN_PATIENCE = 5
# Nor before this share of the epochs has passed without improvement: the learning rate falls until the last
# epoch, and validation improves most at the end, after up to 27 of 55 epochs without (docs/training.md).
PATIENCE_SHARE = 0.5

# From this number of images of the most frequent class per image of the rarest: a model that weighs all
# classes alike is hardly more often right than one that always gives the most frequent class.
UNEQUAL = 4.0

TRAIN_KEYS = ("epochs", "batch_size", "learning_rate", "patience")
SIZE_KEY = "candidates.image_size_px"
_DEFAULTS = Train.model_fields


class ResolvedTrain(Train):
    """The training settings of a run: each has a value, by default that of a recipe which does not say it."""

    epochs: AtLeastOne = _DEFAULTS["epochs"].default
    batch_size: BatchSize = _DEFAULTS["batch_size"].default
    learning_rate: Positive = _DEFAULTS["learning_rate"].default
    patience: AtLeastOne = _DEFAULTS["patience"].default

    @property
    def first_kept_epoch(self) -> int:
        """The first epoch, from 1, of those whose best is kept; the rate of protocol "paper" never falls."""
        return 1 if self.protocol == "paper" else first_settled(self.epochs)

    @property
    def head_epochs(self) -> int:
        """The number of first epochs in which the classifier is trained alone, at least for a part."""
        return math.ceil(self.head_share * self.epochs)

    def is_out_of_patience(self, epochs: int, best_epoch: int) -> bool:
        """True if validation has not improved for as many epochs as the patience, after so many of them.

        Epochs of the classifier alone do not count: what the backbone will gain is not known yet.
        """
        return epochs - max(best_epoch, self.head_epochs) >= self.patience


class ResolvedCandidates(Candidates):
    """The models of a run. `own_sizes_px`: the size of each architecture, if the images decide it.

    `image_size_px` are all sizes of the run.
    """

    image_size_px: Sizes = (64,)
    own_sizes_px: dict[str, int] = Field(default={})

    def sizes_px(self, architecture: str) -> tuple[int, ...]:
        """Return the sizes at which an architecture is a candidate."""
        own_px = self.own_sizes_px.get(architecture)
        return self.image_size_px if own_px is None else (own_px,)

    @property
    def count(self) -> int:
        """The number of models."""
        return sum(len(self.sizes_px(architecture)) for architecture in self.architectures)


class ResolvedRecipe(Recipe):
    """The recipe of a run: each setting that the images decide has a value."""

    candidates: ResolvedCandidates
    train: ResolvedTrain = ResolvedTrain()


def auto_keys(recipe: Recipe) -> list[str]:
    """Return the keys that the recipe leaves to the images."""
    keys = [f"train.{name}" for name in TRAIN_KEYS if getattr(recipe.train, name) == AUTO]
    if recipe.candidates.image_size_px == AUTO:
        keys.append(SIZE_KEY)
    return keys


def choose(recipe: Recipe, facts: ImageFacts) -> RunSettings:
    """Choose the settings that the recipe leaves to the images."""
    train = recipe.train
    batch_size = _batch_size(facts) if train.batch_size == AUTO else train.batch_size
    epochs = _epochs(facts) if train.epochs == AUTO else train.epochs
    sizes_px = {}
    if recipe.candidates.image_size_px == AUTO:
        wanted_px = _size_px(facts, recipe)
        sizes_px = {name: _own_size_px(name, wanted_px) for name in recipe.candidates.architectures}
    return RunSettings(
        facts=facts,
        epochs=epochs if train.epochs == AUTO else None,
        batch_size=batch_size if train.batch_size == AUTO else None,
        learning_rate=LEARNING_RATE if train.learning_rate == AUTO else None,
        patience=_patience(facts, epochs, batch_size) if train.patience == AUTO else None,
        image_sizes_px=sizes_px,
        performance=_performance(facts, recipe),
    )


def _epochs(facts: ImageFacts) -> int:
    return min(MAX_EPOCHS, max(MIN_EPOCHS, round(SEEN_IMAGES / max(1, facts.train_images))))


def _batch_size(facts: ImageFacts) -> int:
    return SMALL_BATCH if facts.train_images < SMALL_BATCH_BELOW else BATCH_SIZE


def _patience(facts: ImageFacts, epochs: int, batch_size: int) -> int:
    of_steps = math.ceil(PATIENCE_STEPS * batch_size / max(1, facts.train_images))
    of_epochs = math.ceil(PATIENCE_SHARE * epochs)
    return min(epochs, max(MIN_PATIENCE, of_steps, of_epochs))


def _performance(facts: ImageFacts, recipe: Recipe) -> str | None:
    """Return balanced accuracy for very unequal classes, if the recipe names no metric; else None."""
    is_named = "performance" in recipe.score.model_fields_set
    is_unequal = facts.imbalance is not None and facts.imbalance >= UNEQUAL
    return "balanced_accuracy" if is_unequal and not is_named and recipe.train.class_balanced else None


def _size_px(facts: ImageFacts, recipe: Recipe) -> int:
    """Return the size nearest to that of the images, as a ratio."""
    max_px = MAX_GPU_PX if recipe.train.device == "cuda" else MAX_PX
    sizes_px = [size_px for size_px in SIZES_PX if size_px <= max_px]
    return min(sizes_px, key=lambda size_px: abs(math.log(size_px / max(1, facts.side_px))))


def _own_size_px(architecture: str, wanted_px: int) -> int:
    """Return the size for an architecture: the wanted one, or the next larger one that suits it."""
    known = zoo.architectures().get(architecture)
    if known is None:  # not in the zoo: it may be a small one
        return max(wanted_px, MIN_SMALL_PX)
    if known.num_params < SMALL_PARAMS:
        wanted_px = max(wanted_px, MIN_SMALL_PX)
    return known.smallest_px(wanted_px)


def resolve(recipe: Recipe, settings: RunSettings | None, kind: TaskKind = DEFAULT_TASK) -> ResolvedRecipe:
    """Return the recipe with the chosen settings in the place of "auto".

    Args:
        recipe: as it is written.
        settings: chosen by the images.
        kind: of the task, on which the metric of the ranking depends where the recipe names none.
    Raises:
        RecipeError: there is no chosen value for a key that the recipe leaves to the images.
    """
    values: dict[str, Any] = recipe.model_dump()
    train = values["train"]
    candidates = values["candidates"]
    if "performance" not in recipe.score.model_fields_set:
        chosen = settings.performance if settings is not None else None
        values["score"]["performance"] = chosen or task_of(kind).DEFAULT_PERFORMANCE
    if settings is not None:
        for name in TRAIN_KEYS:
            if train[name] == AUTO:
                train[name] = getattr(settings, name) or AUTO
        if candidates["image_size_px"] == AUTO and settings.image_sizes_px:
            candidates["image_size_px"] = tuple(sorted(set(settings.image_sizes_px.values())))
            candidates["own_sizes_px"] = settings.image_sizes_px
    missing = [f"train.{name}" for name in TRAIN_KEYS if train[name] == AUTO]
    if candidates["image_size_px"] == AUTO:
        missing.append(SIZE_KEY)
    if missing:
        raise RecipeError(
            f'{", ".join(missing)} = "auto", and no value was chosen for it. '
            "`pepr-edge run` with this recipe chooses one from the images."
        )
    return ResolvedRecipe.model_validate(values)


def settings_line(settings: RunSettings) -> str:
    """Return the chosen settings in one line, with what they were chosen by."""
    parts = []
    if settings.epochs is not None:
        parts.append(f"{settings.epochs} epochs")
    if settings.batch_size is not None:
        parts.append(f"batches of {settings.batch_size}")
    if settings.learning_rate is not None:
        parts.append(f"learning rate {settings.learning_rate:g}")
    if settings.patience is not None:
        parts.append(f"patience {settings.patience}")
    if settings.image_sizes_px:
        parts.append(_sizes_text(settings.image_sizes_px))
    if settings.performance is not None:
        parts.append(f"ranked by {metric(settings.performance)}")
    return f"{', '.join(parts)} (from {facts_text(settings.facts)})"


def facts_text(facts: ImageFacts) -> str:
    """Return what settings are chosen by, as text."""
    text = f"{facts.train_images:,} training images of {facts.side_px} px, {facts.classes} classes"
    if facts.imbalance is not None and facts.imbalance >= UNEQUAL:
        text += f", the most frequent with {facts.imbalance:.0f} times as many images as the rarest"
    return text


def _sizes_text(sizes_px: dict[str, int]) -> str:
    """Return the sizes of the architectures; those of a size of their own by name."""
    smallest_px = min(sizes_px.values())
    others = [f"{name} {size_px}" for name, size_px in sizes_px.items() if size_px != smallest_px]
    return f"{smallest_px} px" + (f" ({', '.join(others)})" if others else "")
