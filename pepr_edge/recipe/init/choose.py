"""Choose the settings of a first recipe for a dataset, on the basis of a device's recipe, with reasons."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pepr_edge.data import DatasetSummary
from pepr_edge.recipe import AUTO, SCRATCH, Data, Recipe
from pepr_edge.recipe.settings import TRAIN_KEYS, ResolvedRecipe, resolve
from pepr_edge.recipe.settings import choose as choose_settings
from pepr_edge.records import RunSettings
from pepr_edge.tasks import TaskKind, positive_class, task_of
from pepr_edge.tasks.refer import fewest_images
from pepr_edge.text.units import percent
from pepr_edge.untrusted.documents import name_fault

_NUMBER = re.compile(r"\d+")
IMBALANCED = 1.5  # from this ratio of the most frequent to the rarest class the classes count as imbalanced
DATA = Data()  # the data settings of a first recipe, except for the choices below
# A model names a class for an image of anything; the aim of docs/refer.md keeps that from most of them.
REFER_SHARE = 0.1

METRIC_REASONS: dict[TaskKind, str] = {
    "multilabel": (
        "The area under the ROC curve, mean over the findings: it does not depend on how frequent they are. "
        '"mean_average_precision" gives false alarms among rare findings more weight.'
    ),
    "ordinal": "Agreement beyond chance, in which an answer counts the less, the more grades it is off.",
}
CLASS_BALANCED_REASONS: dict[TaskKind, str] = {
    "multilabel": "true gives each finding as much weight in the loss as its absence.",
    "ordinal": "true gives each grade the same weight in the loss, however rare it is.",
}


@dataclass(frozen=True)
class RecipeDraft:
    """A recipe, and the reason for each chosen key. `settings`: what "auto" gives for these images."""

    recipe: Recipe
    settings: RunSettings
    reasons: dict[str, str]

    @property
    def resolved(self) -> ResolvedRecipe:
        """The recipe as a run on these images resolves it."""
        return resolve(self.recipe, self.settings)


class _Choice(NamedTuple):
    key: str
    value: Any
    reason: str


def draft(
    summary: DatasetSummary,
    source: str,
    out: Path,
    base: Recipe,
    columns: Mapping[str, str] | None = None,
    unreadable: int = 0,
) -> RecipeDraft:
    """Choose settings for the data; device, budgets, candidates and the rest are those of the base.

    Args:
        summary: facts about the images.
        source: the data, as the user gave it.
        out: path of the new recipe; the data's path is written relative to it.
        base: the recipe of a device.
        columns: the columns of a table that have other names, by role.
        unreadable: the number of images that cannot be used.
    """
    values = base.model_dump(mode="json")
    given = {"source": _relative(source, out), "columns": dict(columns or {})}
    values["data"] = DATA.model_dump(mode="json") | given
    values["name"] = _run_name(summary.name)
    values["description"] = f"{', '.join(summary.labels)}: {base.device.name}"
    values["candidates"]["image_size_px"] = AUTO
    values["train"] |= dict.fromkeys(TRAIN_KEYS, AUTO)
    settings = choose_settings(Recipe.model_validate(values, strict=False), summary.facts)
    reasons = {}
    for choice in _choices(summary, base, settings):
        section, _, name = choice.key.partition(".")
        values[section][name] = choice.value
        reasons[choice.key] = choice.reason
    if unreadable:
        values["data"]["on_bad_image"] = "skip"
        reasons["data.on_bad_image"] = (
            f"{unreadable:,} of {summary.total:,} images cannot be read: they are left out and listed. "
            '"fail" stops the run at such an image.'
        )
    return RecipeDraft(Recipe.model_validate(values, strict=False), settings, reasons)


def _choices(summary: DatasetSummary, base: Recipe, settings: RunSettings) -> Iterator[_Choice]:
    yield _Choice("data.val_fraction", DATA.val_fraction, _split_reason(summary))
    yield from _task(summary)
    yield from _positive(summary)
    yield from _refer(summary)
    yield _Choice(
        "candidates.architectures",
        list(base.candidates.architectures),
        "The candidates of the device's recipe. You may add any name from `pepr-edge zoo list`.",
    )
    yield _Choice("candidates.image_size_px", AUTO, _size_reason(summary, settings))
    yield _Choice("candidates.weights", base.candidates.weights, _weights_reason(summary, base))
    yield from _training(summary, base, settings)
    yield from _metric(summary) if summary.task in METRIC_REASONS else _imbalance(summary)
    yield _Choice("export.keep_performance", base.export.keep_performance, _gate_reason(summary, base))


def _task(summary: DatasetSummary) -> Iterator[_Choice]:
    """Say what a label is, where it is not simply one of the classes, or may not be."""
    if summary.task == "multilabel":
        reason = "An image may have several of these findings, or none; each gets a probability of its own."
        yield _Choice("task.kind", summary.task, reason)
    elif summary.task == "ordinal":
        reason = (
            f"Grades in this order: {', '.join(summary.labels)}. An error of one grade counts less than two."
        )
        yield _Choice("task.kind", summary.task, reason)
    elif len(summary.labels) > 2 and _are_numbered(summary.labels):
        yield _Choice(
            "task.kind",
            "multiclass",
            'The labels are numbered. For grades in an order "ordinal" counts how far off an answer is.',
        )


def _are_numbered(labels: Sequence[str]) -> bool:
    """True if the labels differ only in one number: "0", "1", "2", or "grade 0", "grade 1", "grade 2"."""
    without = {_NUMBER.sub("", label, count=1) for label in labels}
    return len(without) == 1 and len(set(labels)) > 1


def _positive(summary: DatasetSummary) -> Iterator[_Choice]:
    """Propose the positive of two classes."""
    has_classes = summary.task in ("binary", "multiclass")
    chosen = positive_class(summary.labels) if has_classes else None
    if chosen is None:
        return
    by = "by its name" if chosen.by == "name" else "as the second label, since no name tells it"
    yield _Choice(
        "task.positive",
        chosen.label,
        f"Please check: chosen {by}. Sensitivity is the share of its images that are found, specificity that "
        "of the other class.",
    )


def _refer(summary: DatasetSummary) -> Iterator[_Choice]:
    """Let bundles refer images to a person, where a share of them can be kept."""
    if summary.task == "multilabel" or summary.images["val"] < fewest_images(REFER_SHARE):
        return
    yield _Choice(
        "decision.refer_share",
        REFER_SHARE,
        "At most this share of images like yours is referred to a person in place of a class: those that are "
        "unlike the training images, such as another organ, and those that the model is not sure of. Without "
        "the line, every image gets a class.",
    )


def _size_reason(summary: DatasetSummary, settings: RunSettings) -> str:
    sizes_px = settings.image_sizes_px
    size_px = min(sizes_px.values())
    others = [f"{name} {own_px} px" for name, own_px in sizes_px.items() if own_px != size_px]
    side_px = summary.shorter_side_px
    reason = f"{size_px} px here: the shorter side of the images is {side_px} px (median). "
    if others:
        reason += f"Larger for architectures that need it or learn more so ({', '.join(others)}). "
    if side_px > size_px:
        reason += (
            "Larger images show finer details; twice the size costs about four times the time and energy. "
        )
    return reason + "Several sizes can be compared: [64, 128]."


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
    images = summary.images["train"]
    found = f"pretrained weights, which learn more from few images ({images:,} here)"
    if base.candidates.weights == AUTO:
        return f'"auto": {found}, where they can be had (docs/weights.md); else "scratch".'
    if base.candidates.weights == SCRATCH:
        return f'"auto" takes {found}, where they can be had.'
    return 'With "auto", architectures without pretrained weights are trained from scratch.'


def _training(summary: DatasetSummary, base: Recipe, settings: RunSettings) -> Iterator[_Choice]:
    images = summary.images["train"]
    yield _Choice(
        "train.epochs",
        AUTO,
        f"{settings.epochs} here, for {images:,} training images: fewer images need more epochs. A number "
        "sets it.",
    )
    yield _Choice("train.batch_size", AUTO, f"{settings.batch_size} here: the images per step.")
    yield _Choice(
        "train.learning_rate", AUTO, f"{settings.learning_rate:g} here: the highest of the schedule."
    )
    yield _Choice(
        "train.patience",
        AUTO,
        f"{settings.patience} here: training stops after this number of epochs without improvement on "
        "validation.",
    )
    yield _Choice(
        "train.mode",
        base.train.mode,
        '"gradual": from given weights, the classifier learns alone for the first tenth of the steps. '
        '"full": all weights learn from the start. "head": the classifier alone learns.',
    )
    yield _Choice(
        "train.repeats",
        AUTO,
        "Models that may be the best are trained again with other seeds, until first place is settled: "
        "another seed may rank otherwise. A number trains every model that many times.",
    )
    yield _Choice("train.max_repeats", base.train.max_repeats, "At most this number of seeds for one model.")
    yield _Choice(
        "train.augment",
        base.train.augment,
        '"light" rotates, shifts and zooms each image slightly. Set flips = true only if left and right have '
        "no meaning.",
    )


def _metric(summary: DatasetSummary) -> Iterator[_Choice]:
    """Choose the metric of a task for which the sizes of the classes do not decide it."""
    yield _Choice("train.class_balanced", False, CLASS_BALANCED_REASONS[summary.task])
    metric = task_of(summary.task).DEFAULT_PERFORMANCE
    yield _Choice("score.performance", metric, METRIC_REASONS[summary.task])


def _imbalance(summary: DatasetSummary) -> Iterator[_Choice]:
    """Choose class weights and the metric by how unequal the class sizes are, among the training images."""
    counts = summary.training_counts
    largest = max(counts)
    smallest = min(counts)
    most_frequent = summary.labels[counts.index(largest)]
    rarest = summary.labels[len(summary.labels) - 1 - counts[::-1].index(smallest)]
    sizes = f"{largest:,} {most_frequent} and {smallest:,} {rarest} to train on"
    if summary.imbalance >= IMBALANCED:
        reason = (
            f"{sizes}: {summary.imbalance:.1f} times as many. All classes then count equally in the loss."
        )
        yield _Choice("train.class_balanced", True, reason)
        share = largest / sum(counts)
        reason = (
            f"Always answering {most_frequent!r} is right on {percent(share)} of the training images: "
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
            f" With {images} validation images a single decision is {percent(1 / images, 1)}, "
            "which shows no loss: agreement with float32 is looked at on training images too."
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
