"""What benchmarks of single trainings share: settings that the images decide, the images, the training."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from timm.utils import ModelEmaV3

from pepr_edge import __version__
from pepr_edge.data import Dataset, load, prepare
from pepr_edge.recipe import BILINEAR, Recipe
from pepr_edge.recipe.resolve import data_settings, settings_from_images
from pepr_edge.recipe.settings import ResolvedRecipe, resolve
from pepr_edge.records import Candidate, Interpolation, TrainResult
from pepr_edge.run_dir.current import current_training
from pepr_edge.run_dir.keys import train_key
from pepr_edge.run_dir.store import sha256_file, stage_key
from pepr_edge.train.cost_tracker import CostTracker
from pepr_edge.train.distil import TeacherFiles
from pepr_edge.train.session import TrainingJob
from pepr_edge.train.train import train
from pepr_edge.train.trainer import Progress, Trainer
from pepr_edge.train.weights.finding import pretrained_of

WATTS = 7.5
METRIC = "balanced_accuracy"


def recipe_by_images(source: str, seed: int, architectures: Sequence[str], weights: str) -> ResolvedRecipe:
    """Return a recipe with the settings of the device recipes, for training on the processor."""
    auto = dict.fromkeys(("epochs", "batch_size", "learning_rate", "patience"), "auto")
    recipe = Recipe.model_validate(
        {
            "name": "benchmark",
            "seed": seed,
            "device": {"name": "this machine"},
            "data": {"source": source},
            "candidates": {"architectures": architectures, "image_size_px": "auto", "weights": weights},
            "train": {**auto, "class_balanced": True, "device": "cpu"},
            "workstation": {"watts_per_core": WATTS, "country": "DNK"},
            "score": {"performance": METRIC},
        }
    )
    return resolve(recipe, settings_from_images(recipe))


def candidate_for(recipe: ResolvedRecipe, architecture: str, data: Dataset, weights: str) -> Candidate:
    """Return an architecture at its size as a candidate for these images; they follow its weights."""
    return Candidate(
        architecture=architecture,
        image_size_px=recipe.candidates.sizes_px(architecture)[0],
        weights=weights,
        interpolation=_filter(architecture, weights),
        in_channels=data.info.channels,
        num_classes=len(data.info.labels),
    )


def images_for(recipe: ResolvedRecipe, architecture: str, folder: Path, weights: str = "scratch") -> Dataset:
    """Return the images as an architecture and its weights expect them; a folder may have them already."""
    (size_px,) = recipe.candidates.sizes_px(architecture)
    settings = data_settings(recipe, size_px, _filter(architecture, weights) or BILINEAR)
    images = folder / f"data-{size_px}-{settings.interpolation}"
    if not (images / "info.json").is_file():
        prepare(settings, images, lambda done, total: None)
    return load(images)


def _filter(architecture: str, weights: str) -> Interpolation | None:
    """Return the filter that pretrained weights expect images to be resized by; None from scratch."""
    pretrained = None if weights == "scratch" else pretrained_of(architecture)
    return None if pretrained is None else pretrained.interpolation


def train_once(
    way: str,
    candidate: Candidate,
    recipe: ResolvedRecipe,
    data: Dataset,
    folder: Path,
    weights_file: str = "",
    teacher: TeacherFiles | None = None,
) -> TrainResult:
    """Train, unless the folder has this training.

    What an interrupted one left is removed: trainers of benchmarks hold what no checkpoint has.

    Args:
        way: how the training differs from others of the same settings, in words.
        candidate, recipe, data: to train.
        folder: of this training alone.
        weights_file: initial weights; empty from scratch.
        teacher: to learn from.
    """
    key = stage_key(
        __version__,
        way,
        train_key(candidate, recipe, data.info),
        sha256_file(Path(weights_file)) if weights_file else "",
        teacher.trained.checkpoint_sha256 if teacher is not None else "",
    )
    done = current_training(folder, key)
    if done is not None:
        return done
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return train(
        TrainingJob(
            candidate, data, recipe, folder, key, 1, False, lambda *_: None, weights_file, teacher=teacher
        )
    )


class AveragingTrainer(Trainer):
    """A trainer that also has the moving average of the weights."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        # The average of as many steps as an epoch has; timm's warm-up keeps the random start out of it.
        self._average = ModelEmaV3(self.model, decay=1 - 1 / self._steps, use_warmup=True)
        self._steps_taken = 0

    def train_one_epoch(self, cost_tracker: CostTracker, progress: Progress) -> None:
        """Train an epoch, and average the weights after each step."""

        def after_step(done: int, steps: int, epoch: int, best: float) -> None:
            self._steps_taken += 1
            self._average.update(self.model, self._steps_taken)
            progress(done, steps, epoch, best)

        super().train_one_epoch(cost_tracker, after_step)
