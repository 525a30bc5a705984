"""What a first recipe says about data that was looked at, on the ground of a device's recipe, and why."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pepr_edge import zoo
from pepr_edge.errors import RecipeError
from pepr_edge.recipe import Data, Recipe
from pepr_edge.recipe.init.dataset_summary import DatasetSummary
from pepr_edge.untrusted.documents import name_fault

SIZES_PX = (32, 64, 128, 224)
LARGEST_UNASKED_PX = 128  # beyond it training on a processor takes days; a device's recipe may ask for more
UNEVEN = 1.5  # from here on the commonest class is called commoner
SEEN_IMAGES = 15_000  # what a training from scratch should see at least, each image once an epoch
FEWEST_EPOCHS, MOST_EPOCHS = 5, 100
SMALL_BATCH, SMALL_BATCH_BELOW = (
    16,
    512,
)  # images: with so few of them, steps count more than how smooth each is
# Steps without a gain after which a training ends. By then the statistics of batch normalisation are those of the images: for the first
# 50 or so, measured on 81 images, every network with them answers validation by chance.
PATIENT_STEPS = 100
DATA = Data()  # how a first recipe treats its images, but for what is chosen
AUGMENT_FROM_EPOCHS = 10  # with fewer, trainings learnt more from the images as they are


@dataclass(frozen=True)
class RecipeDraft:
    """A recipe, and by key the reasons for what was chosen in it."""

    recipe: Recipe
    reasons: dict[str, str]


def draft(summary: DatasetSummary, source: str, out: Path, base: Recipe) -> RecipeDraft:
    """Choose for the data; device, budgets, candidates and all else are those of the base.

    Args:
        seen: what the images are.
        source: the data, as the user gave it.
        out: where the recipe will lie; the data's path is written relative to it.
        base: the recipe of a device.
    Raises:
        RecipeError: none of the base's candidates takes images of the size that was chosen.
    """
    sections: dict[str, dict[str, Any]] = {}
    reasons: dict[str, str] = {}
    for key, value, reason in _choices(summary, base):
        section, _, name = key.partition(".")
        sections.setdefault(section, {})[name] = value
        reasons[key] = reason
    sections.setdefault("data", {})["source"] = _relative(source, out)
    given = base.model_dump(mode="json") | {
        "data": DATA.model_dump(mode="json")
    }  # the base's data are of its own set
    merged = {
        name: {**part, **sections.get(name, {})} if isinstance(part, dict) else part
        for name, part in given.items()
    }
    merged |= {"name": _slug(summary.name), "description": f"{', '.join(summary.labels)}: {base.device.name}"}
    return RecipeDraft(Recipe.model_validate(merged, strict=False), reasons)


def _choices(summary: DatasetSummary, base: Recipe) -> list[tuple[str, Any, str]]:
    """Key, value, reason."""
    px, why = _size(summary, base)
    names, left_out = _architectures(base, px)
    uneven = summary.imbalance >= UNEVEN
    images = summary.images["train"]
    epochs = min(MOST_EPOCHS, max(FEWEST_EPOCHS, round(SEEN_IMAGES / images)))
    batch_size = SMALL_BATCH if images < SMALL_BATCH_BELOW else base.train.batch_size
    patience = min(epochs, max(base.train.patience, math.ceil(PATIENT_STEPS * batch_size / images)))
    choices = [
        ("data.val_fraction", DATA.val_fraction, _split_words(summary)),
        (
            "candidates.architectures",
            names,
            f"Those of the device's recipe{left_out}. Any name of `pepr-edge zoo list` may be added.",
        ),
        ("candidates.image_size_px", px, why),
        ("candidates.weights", base.candidates.weights, _weights_words(summary, base)),
        (
            "train.epochs",
            epochs,
            f"{images:,} training images: the fewer there are, the more often each has to be seen.",
        ),
        (
            "train.batch_size",
            batch_size,
            "How many images are in a step: with few of them, small ones, so that there are enough steps.",
        ),
        (
            "train.patience",
            patience,
            f"A training ends after so many epochs without a gain on validation: {PATIENT_STEPS} steps at least.",
        ),
        ("train.augment", "light" if epochs >= AUGMENT_FROM_EPOCHS else "none", _augment_words(epochs)),
        ("train.class_balanced", uneven, _balance_words(summary, uneven)),
        ("score.performance", "balanced_accuracy" if uneven else "accuracy", _metric_words(summary, uneven)),
        ("export.keep_performance", base.export.keep_performance, _gate_words(summary, base)),
    ]
    if summary.bad:
        looked = len(summary.bad) + len(summary.sizes_px)
        why = f'{len(summary.bad)} of {looked} images looked at cannot be read: they are left out and listed. "fail" ends the run at one.'
        choices.append(("data.on_bad_image", "skip", why))
    return choices


def _size(summary: DatasetSummary, base: Recipe) -> tuple[int, str]:
    cap = max(LARGEST_UNASKED_PX, *base.candidates.image_size_px)
    side = summary.shorter_side_px
    px = max((size for size in SIZES_PX if size <= min(side, cap)), default=SIZES_PX[0])
    why = f"The shorter side of the images is {side} px (median). "
    if side > px:
        why += "Larger shows finer details, and twice the size costs about four times the time and energy. "
    return px, why + "Several sizes may be compared: [64, 128]."


def _architectures(base: Recipe, px: int) -> tuple[list[str], str]:
    known = zoo.architectures()
    fit = [name for name in base.candidates.architectures if name not in known or known[name].accepts(px)]
    if not fit:
        raise RecipeError(
            f"no candidate of {base.name} takes images of {px} px. Give another --device; `pepr-edge recipes list` shows them."
        )
    missing = [name for name in base.candidates.architectures if name not in fit]
    return fit, f", without {', '.join(missing)}, which take no {px} px" if missing else ""


def _split_words(summary: DatasetSummary) -> str:
    parts = ", ".join(f"{split} {count:,}" for split, count in summary.images.items())
    made = [split for split in summary.images if split not in summary.given]
    if not made:
        return f"The data's own splits hold: {parts}."
    together = "whole groups at a time" if summary.groups is not None else "each class alike"
    words = f"Split at random, {together}: {parts}."
    if summary.groups is None:
        words += " If several images are of one patient, give a CSV with a column group: else the test is too good to be true."
    return words


def _weights_words(summary: DatasetSummary, base: Recipe) -> str:
    if base.candidates.weights == "scratch":
        images = summary.images["train"]
        return f'"pretrained" learns more from few images ({images:,} here), and fetches timm\'s weights once from the network.'
    return '"scratch" needs no network.'


def _augment_words(epochs: int) -> str:
    if epochs >= AUGMENT_FROM_EPOCHS:
        return "Turns, shifts and zooms each image a little. Set flips = true only where left and right mean nothing."
    return 'So few epochs learn more from the images as they are. With more of them: "light".'


def _balance_words(summary: DatasetSummary, uneven: bool) -> str:
    most, least = _most_frequent(summary), _rarest(summary)
    if not uneven:
        return f"The classes are about as common as each other ({most} and {least})."
    return f"{most} and {least}: {summary.imbalance:.1f} times as many. Each class then weighs the same in the loss."


def _metric_words(summary: DatasetSummary, uneven: bool) -> str:
    share = max(summary.class_counts) / summary.total
    if not uneven:
        return "The classes are about as common as each other, so that accuracy tells."
    label = summary.labels[_at(summary, max)]
    return f"Always saying {label!r} is right on {share:.0%} of the images: accuracy alone lets a rare class go unseen."


def _gate_words(summary: DatasetSummary, base: Recipe) -> str:
    images = summary.images["val"]
    words = "What int8 must keep of float32's performance on validation."
    if images * (1 - base.export.keep_performance) < 1:
        words += f" With {images} validation images a single decision is {1 / images:.1%}: one that turns for the worse is too many."
    return words


def _at(summary: DatasetSummary, which: Any) -> int:
    return summary.class_counts.index(which(summary.class_counts))


def _most_frequent(summary: DatasetSummary) -> str:
    return f"{max(summary.class_counts):,} {summary.labels[_at(summary, max)]}"


def _rarest(summary: DatasetSummary) -> str:
    last = len(summary.labels) - 1 - summary.class_counts[::-1].index(min(summary.class_counts))
    return f"{min(summary.class_counts):,} {summary.labels[last]}"


def _relative(source: str, out: Path) -> str:
    """The data as seen from the recipe, so that both can move together; a name stays one."""
    if not Path(source).exists():
        return source
    try:
        return Path(os.path.relpath(source, out.parent)).as_posix()
    except ValueError:  # another drive of Windows
        return Path(source).resolve().as_posix()


def _slug(name: str) -> str:
    """A name that can be a folder's."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_")[:60]
    return "mine" if name_fault(plain) else plain
