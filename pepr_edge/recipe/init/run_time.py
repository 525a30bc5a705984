"""How long a recipe will take here: a few training steps are timed, the rest follows from its rules."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pepr_edge import zoo
from pepr_edge.data import Dataset
from pepr_edge.recipe import Recipe
from pepr_edge.records import Candidate, DataInfo, Split, SplitInfo

if TYPE_CHECKING:
    from pepr_edge.recipe.init.dataset_summary import DatasetSummary

STEPS = 2  # of each candidate, after a step of warm-up; in one mode, so that the fastest that a run finds is no slower
LEAST_BATCH, BATCH_PIXELS = (
    8,
    8 * 128**2,
)  # of small images as many as a run takes at once: each step has a cost of its own
ENOUGH_S = 5.0  # no further candidate is timed after so long
ARTIFACT_S = {"full": 64.0, "quick": 14.0}  # measured: the rules' own 60 and 10 s, cold start and memory
EXPORT_S = 10.0  # of one variant, its quality on all images included; more for large models
LOST_TO_VALIDATION = 1.15  # evaluation after each epoch takes about so much more


@dataclass(frozen=True)
class RunTimeEstimate:
    """Seconds that a run may take, at most: `timed` names the candidates whose training steps were timed."""

    training_s: float
    export_s: float
    measuring_s: float
    timed: tuple[str, ...]

    @property
    def total_s(self) -> float:
        """All of it."""
        return self.training_s + self.export_s + self.measuring_s


def estimate(recipe: Recipe, summary: DatasetSummary) -> RunTimeEstimate:
    """Time a few training steps of the middle, the smallest and the largest candidate on noise, and add up what the recipe asks for.

    A policy or a budget that spares candidates, and a training that stops early, make it less.

    Raises:
        PeprError: no step can be taken here.
        ImportError: PyTorch is not installed.
    """
    count = len(recipe.candidates.architectures) * len(recipe.candidates.image_size_px)
    rates = _images_per_s(recipe, summary)
    epoch_s = [summary.images["train"] / rate * LOST_TO_VALIDATION for rate in rates.values()]
    training_s = count * recipe.train.epochs * sum(epoch_s) / len(epoch_s)
    artifacts = count * (len(recipe.export.named) + recipe.export.auto)
    ladders_s = count * recipe.export.time_budget_s if recipe.export.auto else 0.0
    made = count * len(recipe.export.made)
    return RunTimeEstimate(
        training_s, made * EXPORT_S + ladders_s, artifacts * ARTIFACT_S[recipe.profile.rules], tuple(rates)
    )


def _images_per_s(recipe: Recipe, summary: DatasetSummary) -> dict[str, float]:
    """Training images a second, by candidate, of as many as there is time for."""
    from pepr_edge.train.loop import batch, loss_function, train_mode, train_step
    from pepr_edge.train.setup import choose_device, untrained
    from pepr_edge.train.step import Mode, synchronise

    settings, px = recipe.train, max(recipe.candidates.image_size_px)
    device, mode = choose_device(settings.device), Mode("channels_last", "float32")
    # Threads that wait for each other on a busy machine take many times as long: one thread's processor time does not mind.
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    untaught = recipe.model_copy(
        update={"candidates": recipe.candidates.model_copy(update={"weights": "scratch"})}
    )
    data, started, found = _noise(recipe, summary, px), time.perf_counter(), dict[str, float]()
    labels = data.splits["train"][1]
    for name in _telling(recipe.candidates.architectures):
        candidate = Candidate(
            architecture=name,
            image_size_px=px,
            in_channels=data.info.channels,
            num_classes=len(summary.labels),
        )
        model, spec = untrained(candidate, data, untaught, threads=1)
        step = train_step(
            mode.place(model, device),
            mode,
            settings,
            loss_function(settings, labels, len(summary.labels), device),
            1 + STEPS,
        )
        train_mode(step.model, settings)
        images, targets = batch(data.splits["train"], np.arange(len(labels)), spec, device)
        step(images, targets)
        synchronise(device)
        began = clock()
        for _ in range(STEPS):
            step(images, targets)
        synchronise(device)
        found[name] = STEPS * len(labels) / (clock() - began)
        if time.perf_counter() - started > ENOUGH_S:
            break
    return found


def _telling(names: tuple[str, ...]) -> tuple[str, ...]:
    """The candidates of the median, the least and the greatest size, as far as it is known."""
    known = zoo.architectures()
    by_size = sorted(names, key=lambda name: known[name].num_params if name in known else 0)
    return tuple(dict.fromkeys((by_size[len(by_size) // 2], by_size[0], by_size[-1])))


def _noise(recipe: Recipe, summary: DatasetSummary, px: int) -> Dataset:
    """One batch of noise: how long a step takes does not depend on what the images show."""
    rng, classes = np.random.default_rng(0), len(summary.labels)
    channels = (
        recipe.data.channels
        if recipe.data.channels != "auto"
        else 1
        if summary.grey == len(summary.sizes_px)
        else 3
    )
    images = min(recipe.train.batch_size, max(LEAST_BATCH, BATCH_PIXELS // px**2))
    counts: dict[Split, int] = {"train": images, "val": classes, "test": classes}
    splits = {
        split: (
            rng.integers(0, 256, (count, px, px, channels), np.uint8),
            np.arange(count, dtype=np.int64) % classes,
        )
        for split, count in counts.items()
    }
    info = DataInfo(
        name=summary.name,
        format=summary.format,
        sha256="0" * 64,
        labels=summary.labels,
        channels=channels,
        splits={
            s: SplitInfo(images=len(y), class_counts=tuple(np.bincount(y, minlength=classes).tolist()))
            for s, (_, y) in splits.items()
        },
        majority_baseline=0.0,
    )
    return Dataset(info, splits)
