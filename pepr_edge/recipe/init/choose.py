"""Choose the settings of a first recipe for a dataset, on the basis of a device's recipe, with reasons."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pepr_edge import zoo
from pepr_edge.errors import RecipeError
from pepr_edge.recipe import Data, Recipe
from pepr_edge.recipe.init.dataset_summary import DatasetSummary
from pepr_edge.untrusted.documents import name_fault

SIZES_PX = (32, 64, 128, 224)
MAX_DEFAULT_PX = 128  # larger images train for days on a processor; a device's recipe may still choose them
IMBALANCED = 1.5  # from this ratio of the most frequent to the rarest class the classes count as imbalanced
MIN_SEEN_IMAGES = 15_000  # images that a training from scratch should see, each image once per epoch
MIN_EPOCHS = 5
MAX_EPOCHS = 100
# With fewer images than this, the number of steps matters more than how smooth each step is.
SMALL_BATCH_BELOW = 512
SMALL_BATCH = 16
# Stop after this many steps without improvement, not earlier: for about the first 50 steps (measured on 81
# images), networks with batch normalisation classify validation at chance level, until its statistics match.
PATIENCE_STEPS = 100
DATA = Data()  # the data settings of a first recipe, except for the choices below
AUGMENT_FROM_EPOCHS = 10  # with fewer epochs, training without augmentation gave better models


@dataclass(frozen=True)
class RecipeDraft:
    """A recipe, and the reason for each chosen key."""

    recipe: Recipe
    reasons: dict[str, str]


class _Choice(NamedTuple):
    key: str
    value: Any
    reason: str


def draft(summary: DatasetSummary, source: str, out: Path, base: Recipe) -> RecipeDraft:
    """Choose settings for the data; device, budgets, candidates and the rest are those of the base.

    Args:
        summary: facts about the images.
        source: the data, as the user gave it.
        out: path of the new recipe; the data's path is written relative to it.
        base: the recipe of a device.
    Raises:
        RecipeError: no candidate of the base supports the chosen image size.
    """
    values = base.model_dump(mode="json")
    values["data"] = DATA.model_dump(mode="json") | {"source": _relative(source, out)}
    values["name"] = _run_name(summary.name)
    values["description"] = f"{', '.join(summary.labels)}: {base.device.name}"
    reasons = {}
    for choice in _choices(summary, base):
        section, _, name = choice.key.partition(".")
        values[section][name] = choice.value
        reasons[choice.key] = choice.reason
    return RecipeDraft(Recipe.model_validate(values, strict=False), reasons)


def _choices(summary: DatasetSummary, base: Recipe) -> Iterator[_Choice]:
    yield _Choice("data.val_fraction", DATA.val_fraction, _split_reason(summary))
    size_px, size_reason = _image_size(summary, base)
    yield _architectures(base, size_px)
    yield _Choice("candidates.image_size_px", size_px, size_reason)
    yield _Choice("candidates.weights", base.candidates.weights, _weights_reason(summary, base))
    yield from _training(summary, base)
    yield from _imbalance(summary)
    yield _Choice("export.keep_performance", base.export.keep_performance, _gate_reason(summary, base))
    if summary.bad:
        reason = (
            f"{len(summary.bad)} of {summary.sampled} sampled images cannot be read: they are left out and "
            'listed. "fail" stops the run at such an image.'
        )
        yield _Choice("data.on_bad_image", "skip", reason)


def _image_size(summary: DatasetSummary, base: Recipe) -> tuple[int, str]:
    limit_px = max(MAX_DEFAULT_PX, *base.candidates.image_size_px)
    side_px = summary.shorter_side_px
    size_px = max((size for size in SIZES_PX if size <= min(side_px, limit_px)), default=SIZES_PX[0])
    reason = f"The shorter side of the images is {side_px} px (median). "
    if side_px > size_px:
        reason += (
            "Larger images show finer details; twice the size costs about four times the time and energy. "
        )
    return size_px, reason + "Several sizes can be compared: [64, 128]."


def _architectures(base: Recipe, size_px: int) -> _Choice:
    known = zoo.architectures()
    names = base.candidates.architectures
    supported = [name for name in names if name not in known or known[name].accepts(size_px)]
    if not supported:
        raise RecipeError(
            f"no candidate of {base.name} supports images of {size_px} px. "
            "Give another --device; `pepr-edge recipes list` shows them."
        )
    missing = [name for name in names if name not in supported]
    without = f", without {', '.join(missing)} (no support for {size_px} px)" if missing else ""
    reason = (
        f"The candidates of the device's recipe{without}. You may add any name from `pepr-edge zoo list`."
    )
    return _Choice("candidates.architectures", supported, reason)


def _split_reason(summary: DatasetSummary) -> str:
    parts = ", ".join(f"{split} {count:,}" for split, count in summary.images.items())
    if all(split in summary.given for split in summary.images):
        return f"The splits of the data itself: {parts}."
    if summary.groups is not None:
        return f"Random split, each group in one split only: {parts}."
    return (
        f"Random split, stratified by class: {parts}. If there are several images per patient, use a CSV "
        "with a column group: otherwise the test result is too optimistic."
    )


def _weights_reason(summary: DatasetSummary, base: Recipe) -> str:
    if base.candidates.weights != "scratch":
        return '"scratch" needs no network.'
    images = summary.images["train"]
    return f'"pretrained" learns more from few images ({images:,} here); it downloads timm\'s weights once.'


def _training(summary: DatasetSummary, base: Recipe) -> Iterator[_Choice]:
    images = summary.images["train"]
    epochs = min(MAX_EPOCHS, max(MIN_EPOCHS, round(MIN_SEEN_IMAGES / images)))
    batch_size = SMALL_BATCH if images < SMALL_BATCH_BELOW else base.train.batch_size
    patience_epochs = math.ceil(PATIENCE_STEPS * batch_size / images)
    patience = min(epochs, max(base.train.patience, patience_epochs))
    yield _Choice("train.epochs", epochs, f"{images:,} training images: fewer images need more epochs.")
    yield _Choice(
        "train.batch_size", batch_size, "Images per step. Small batches give enough steps with few images."
    )
    yield _Choice(
        "train.patience",
        patience,
        "Training stops after this number of epochs without improvement on validation: "
        f"at least {PATIENCE_STEPS} steps.",
    )
    yield _Choice(
        "train.repeats",
        "auto",
        "Models that may be the best are trained again with other seeds, until first place is settled: "
        "another seed may rank otherwise. A number trains every model so many times.",
    )
    yield _Choice("train.max_repeats", base.train.max_repeats, "At most this number of seeds for one model.")
    if epochs >= AUGMENT_FROM_EPOCHS:
        reason = (
            "Rotates, shifts and zooms each image slightly. "
            "Set flips = true only if left and right have no meaning."
        )
        yield _Choice("train.augment", "light", reason)
    else:
        yield _Choice("train.augment", "none", 'Better with few epochs. With more epochs, use "light".')


def _imbalance(summary: DatasetSummary) -> Iterator[_Choice]:
    """Choose class weights and the metric by how unequal the class sizes are."""
    largest = max(summary.class_counts)
    smallest = min(summary.class_counts)
    most_frequent = summary.labels[summary.class_counts.index(largest)]
    rarest = summary.labels[len(summary.labels) - 1 - summary.class_counts[::-1].index(smallest)]
    sizes = f"{largest:,} {most_frequent} and {smallest:,} {rarest}"
    if summary.imbalance >= IMBALANCED:
        reason = (
            f"{sizes}: {summary.imbalance:.1f} times as many. All classes then count equally in the loss."
        )
        yield _Choice("train.class_balanced", True, reason)
        share = largest / summary.total
        reason = (
            f"Always answering {most_frequent!r} is right on {share:.0%} of the images: "
            "accuracy alone would hide errors in a rare class."
        )
        yield _Choice("score.performance", "balanced_accuracy", reason)
    else:
        reason = f"The classes have similar sizes ({sizes})."
        yield _Choice("train.class_balanced", False, reason)
        reason = "The classes have similar sizes, so accuracy is a fair metric."
        yield _Choice("score.performance", "accuracy", reason)


def _gate_reason(summary: DatasetSummary, base: Recipe) -> str:
    images = summary.images["val"]
    reason = "A file that is shown to keep less than this share of float32's performance is rejected."
    if images * (1 - base.export.keep_performance) < 1:
        reason += (
            f" With {images} validation images a single decision is {1 / images:.1%}, which shows no loss: "
            "agreement with float32 is looked at on training images too."
        )
    return reason


def _relative(source: str, out: Path) -> str:
    """Return the data's path relative to the recipe, so that both can move together; keep a name."""
    if not Path(source).exists():
        return source
    try:
        return Path(os.path.relpath(source, out.parent)).as_posix()
    except ValueError:  # another drive on Windows
        return Path(source).resolve().as_posix()


def _run_name(name: str) -> str:
    """Return a name that is valid for a folder."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_")[:60]
    return "mine" if name_fault(plain) else plain
