"""Estimate how long a recipe takes on this machine from a few training steps and fixed durations."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pepr_edge import zoo
from pepr_edge.data import Dataset
from pepr_edge.recipe.settings import ResolvedRecipe
from pepr_edge.records import Candidate, DataInfo, Split, SplitInfo
from pepr_edge.tasks import task_of

if TYPE_CHECKING:
    import torch

    from pepr_edge.data import DatasetSummary

# Timed steps per candidate, after one warm-up step. A run picks the fastest mode, so it is not slower.
STEPS = 2
# Images in a timed step: small images fill a whole batch, since each step has a fixed cost.
MIN_BATCH = 8
BATCH_PIXELS = 8 * 128**2
TIMING_LIMIT_S = 5.0  # after this time no further candidate is timed
# Measured: the 60 and 10 s of the rules, cold start and memory. By the adaptive rules most models are over
# after some seconds, unless other programs disturb them.
ARTIFACT_S = {"adaptive": 20.0, "full": 66.0, "quick": 16.0}
EXPORT_S = 10.0  # of a variant, with its quality on all images; large models take longer
VALIDATION_FACTOR = 1.15  # evaluation after each epoch


@dataclass(frozen=True)
class RunTimeEstimate:
    """Max duration of a run, in seconds. `timed` names the candidates whose training steps were timed."""

    training_s: float
    export_s: float
    measuring_s: float
    timed: tuple[str, ...]

    @property
    def total_s(self) -> float:
        """Sum of all parts."""
        return self.training_s + self.export_s + self.measuring_s


def estimate(recipe: ResolvedRecipe, summary: DatasetSummary) -> RunTimeEstimate:
    """Time training steps of the median, smallest and largest candidate, and extrapolate to the recipe.

    The estimate is an upper limit: pruned candidates, early stopping and a first place that is settled after
    fewer seeds make a run shorter.

    Raises:
        PeprError: no training step works here.
        ImportError: PyTorch is not installed.
    """
    candidates = recipe.candidates.count
    trainings = candidates * recipe.train.most_repeats
    images_per_s = _images_per_s(recipe, summary)
    epoch_s = [summary.images["train"] / rate * VALIDATION_FACTOR for rate in images_per_s.values()]
    autotune_s = recipe.export.time_budget_s if recipe.export.auto else 0.0
    artifacts = len(recipe.export.named) + recipe.export.auto
    return RunTimeEstimate(
        training_s=trainings * recipe.train.epochs * sum(epoch_s) / len(epoch_s),
        export_s=candidates * (len(recipe.export.required) * EXPORT_S + autotune_s),
        measuring_s=_measuring_s(recipe, candidates * artifacts),
        timed=tuple(images_per_s),
    )


def _measuring_s(recipe: ResolvedRecipe, artifacts: int) -> float:
    """Return how long artifacts are measured: by the adaptive rules, those of bundles twice."""
    rules = recipe.profile.rules
    measuring_s = artifacts * ARTIFACT_S[rules]
    if rules == "adaptive":
        measuring_s += min(artifacts, recipe.bundles.top or artifacts) * ARTIFACT_S["full"]
    return measuring_s


def _images_per_s(recipe: ResolvedRecipe, summary: DatasetSummary) -> dict[str, float]:
    """Return training images per second by architecture, for as many as TIMING_LIMIT_S allows."""
    from pepr_edge.train.setup import choose_device

    device = choose_device(recipe.train.device)
    started_s = time.perf_counter()
    images_per_s = {}
    for architecture in _representative(recipe.candidates.architectures):
        data = _noise(recipe, summary, max(recipe.candidates.sizes_px(architecture)))
        step_s = _step_s(architecture, recipe, data, device)
        images_per_s[architecture] = data.info.splits["train"].images / step_s
        if time.perf_counter() - started_s > TIMING_LIMIT_S:
            break
    return images_per_s


def _step_s(architecture: str, recipe: ResolvedRecipe, data: Dataset, device: torch.device) -> float:
    """Return the mean seconds of a training step on the whole training split of `data`."""
    from pepr_edge.train.loop import batch, loss_function, train_mode, train_step
    from pepr_edge.train.setup import untrained
    from pepr_edge.train.step import ComputeMode, synchronise

    pixels, labels = data.splits["train"]
    candidate = Candidate(
        architecture=architecture,
        image_size_px=pixels.shape[1],
        in_channels=data.info.channels,
        num_classes=len(data.info.labels),
    )
    model, preprocess = untrained(candidate, data, recipe, threads=1)
    mode = ComputeMode("channels_last", "float32")
    loss = loss_function(recipe.train, labels, candidate.num_classes, device, data.info.kind)
    step = train_step(mode.place(model, device), mode, recipe.train, loss, 1 + STEPS)
    train_mode(step.model, recipe.train)
    images, targets = batch(data.splits["train"], np.arange(len(labels)), preprocess, device)
    # Other load on the machine lengthens wall time, but not the processor time of a single thread.
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    step(images, targets)
    synchronise(device)
    started_s = clock()
    for _ in range(STEPS):
        step(images, targets)
    synchronise(device)
    return (clock() - started_s) / STEPS


def _representative(architectures: tuple[str, ...]) -> tuple[str, ...]:
    """Return the architectures of median, min and max size, as far as the sizes are known."""
    known = zoo.architectures()
    by_size = sorted(architectures, key=lambda name: known[name].num_params if name in known else 0)
    return tuple(dict.fromkeys((by_size[len(by_size) // 2], by_size[0], by_size[-1])))


def _noise(recipe: ResolvedRecipe, summary: DatasetSummary, size_px: int) -> Dataset:
    """Return a batch of noise: the duration of a step does not depend on the content of the images."""
    rng = np.random.default_rng(0)
    classes = len(summary.labels)
    channels = recipe.data.channels
    if channels == "auto":
        channels = 1 if summary.grey == len(summary.sizes_px) else 3
    batch_size = min(recipe.train.batch_size, max(MIN_BATCH, BATCH_PIXELS // size_px**2))
    sizes: dict[Split, int] = {"train": batch_size, "val": classes, "test": classes}
    splits = {}
    infos = {}
    for split, size in sizes.items():
        pixels = rng.integers(0, 256, (size, size_px, size_px, channels), np.uint8)
        labels = np.arange(size, dtype=np.int64) % classes
        if summary.task == "multilabel":
            labels = np.eye(classes, dtype=np.int64)[labels]
        splits[split] = (pixels, labels)
        class_counts = task_of(summary.task).class_counts(labels, classes)
        infos[split] = SplitInfo(images=size, class_counts=tuple(class_counts.tolist()))
    info = DataInfo(
        name=summary.name,
        format=summary.format,
        sha256="0" * 64,
        labels=summary.labels,
        channels=channels,
        splits=infos,
        majority_baseline=0.0,
        task=summary.task,
    )
    return Dataset(info, splits)
