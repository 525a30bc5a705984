"""Look at the images for the settings that a recipe leaves to them."""

from __future__ import annotations

from dataclasses import replace

from pepr_edge.data import DataSettings, summarise
from pepr_edge.recipe import BILINEAR, Data, Recipe
from pepr_edge.recipe.settings import SIZES_PX, auto_keys, choose
from pepr_edge.recipe.task import positive_of
from pepr_edge.records import Interpolation, RunSettings


def settings_from_images(recipe: Recipe) -> RunSettings | None:
    """Choose the settings that the recipe leaves to the images; without any return None, and read no image.

    Raises:
        DataError: a run would refuse the images.
        RecipeError: the recipe names a positive class that the images do not have.
    """
    if not auto_keys(recipe):
        return None
    summary = summarise(data_settings(recipe, SIZES_PX[0]))
    positive_of(summary.labels, summary.task, recipe)  # before all images are prepared
    return choose(recipe, summary.facts)


def data_settings(
    recipe: Recipe, image_size_px: int, interpolation: Interpolation = BILINEAR
) -> DataSettings:
    """Return the settings of the recipe's data, with its images at this size, resized by this filter."""
    settings = settings_of(recipe.data, image_size_px, interpolation, recipe.seed)
    return replace(settings, kind=recipe.task.kind, order=recipe.task.order)


def settings_of(
    data: Data, image_size_px: int, interpolation: Interpolation = BILINEAR, seed: int = 0
) -> DataSettings:
    """Return the settings of data outside of a recipe; see `data_settings`."""
    return DataSettings(
        **data.model_dump(exclude={"interpolation"}),
        image_size_px=image_size_px,
        interpolation=interpolation,
        seed=seed,
    )
