"""What benchmarks of single trainings share: a recipe whose settings the images decide, and the images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pepr_edge.data import Dataset, load, prepare
from pepr_edge.recipe import Recipe
from pepr_edge.recipe.resolve import data_settings, settings_from_images
from pepr_edge.recipe.settings import ResolvedRecipe, resolve
from pepr_edge.records import Candidate

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
    """Return an architecture at its size as a candidate for these images."""
    return Candidate(
        architecture=architecture,
        image_size_px=recipe.candidates.sizes_px(architecture)[0],
        weights=weights,
        in_channels=data.info.channels,
        num_classes=len(data.info.labels),
    )


def images_for(recipe: ResolvedRecipe, architecture: str, folder: Path) -> Dataset:
    """Return the images at the size of an architecture; a folder that has them is used again."""
    (size_px,) = recipe.candidates.sizes_px(architecture)
    images = folder / f"data-{size_px}"
    if not (images / "info.json").is_file():
        prepare(data_settings(recipe, size_px), images, lambda done, total: None)
    return load(images)
