from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pepr_edge import zoo
from pepr_edge.errors import RecipeError
from pepr_edge.recipe import Recipe
from pepr_edge.recipe.settings import (
    MAX_EPOCHS,
    MIN_EPOCHS,
    SIZES_PX,
    TRAIN_KEYS,
    ResolvedTrain,
    auto_keys,
    choose,
    resolve,
    settings_line,
)
from pepr_edge.recipe.training import Train
from pepr_edge.records import ImageFacts

ALL_AUTO = dict.fromkeys(TRAIN_KEYS, "auto")


def recipe(architectures: Any = ("resnet18d",), size_px: Any = "auto", **train: Any) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "mine",
            "device": {"name": "a device"},
            "candidates": {"architectures": architectures, "image_size_px": size_px},
            "train": train,
        }
    )


def facts(
    images: int = 546, side_px: int = 28, classes: int = 2, imbalance: float | None = None
) -> ImageFacts:
    return ImageFacts(train_images=images, classes=classes, side_px=side_px, imbalance=imbalance)


@given(st.integers(1, 10**7), st.integers(1, 5000), st.integers(2, 200))
def test_any_images_give_a_valid_recipe(images: int, side_px: int, classes: int) -> None:
    written = recipe("zoo", **ALL_AUTO)
    settings = choose(written, facts(images, side_px, classes))
    resolved = resolve(written, settings)
    train = resolved.train
    assert MIN_EPOCHS <= train.epochs <= MAX_EPOCHS
    assert 1 <= train.patience <= train.epochs
    assert auto_keys(resolved) == []
    for name, architecture in zoo.architectures().items():
        (size_px,) = resolved.candidates.sizes_px(name)
        assert architecture.accepts(size_px)
    assert set(resolved.candidates.image_size_px) == set(settings.image_sizes_px.values())


@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_more_images_never_get_more_epochs(first: int, second: int) -> None:
    written = recipe(**ALL_AUTO)
    few, many = sorted((first, second))
    of_few = resolve(written, choose(written, facts(few))).train
    of_many = resolve(written, choose(written, facts(many))).train
    assert of_few.epochs >= of_many.epochs
    assert of_few.batch_size <= of_many.batch_size


@pytest.mark.parametrize(
    ("side_px", "size_px"), [(1, 32), (28, 32), (40, 32), (50, 64), (64, 64), (100, 128), (2000, 128)]
)
def test_the_size_is_the_nearest_to_that_of_the_images(side_px: int, size_px: int) -> None:
    assert choose(recipe(), facts(side_px=side_px)).image_sizes_px == {"resnet18d": size_px}


@pytest.mark.parametrize("name", ["dla46_c", "tf_efficientnet_lite0"])
@pytest.mark.parametrize(("side_px", "size_px"), [(28, 64), (64, 64), (100, 128)])
def test_a_small_or_unlisted_architecture_has_images_of_at_least_64_px(
    name: str, side_px: int, size_px: int
) -> None:
    assert choose(recipe((name,)), facts(side_px=side_px)).image_sizes_px == {name: size_px}


def test_validation_may_stay_the_same_for_half_of_the_epochs() -> None:
    train = resolve(recipe(**ALL_AUTO), choose(recipe(**ALL_AUTO), facts())).train
    assert (train.epochs, train.patience) == (55, 28)


def test_a_gpu_trains_larger_images() -> None:
    assert choose(recipe(device="cuda"), facts(side_px=2000)).image_sizes_px == {"resnet18d": SIZES_PX[-1]}


def test_an_architecture_that_does_not_support_the_size_has_the_next_larger_one() -> None:
    written = recipe(("adv_inception_v3", "halonet26t", "resnet18d", "not_in_the_zoo"))
    settings = choose(written, facts())
    sizes_px = {"adv_inception_v3": 75, "halonet26t": 256, "resnet18d": 32, "not_in_the_zoo": 64}
    assert settings.image_sizes_px == sizes_px
    assert resolve(written, settings).candidates.image_size_px == (32, 64, 75, 256)
    assert resolve(written, settings).candidates.count == 4
    assert "adv_inception_v3 75" in settings_line(settings)


def test_what_the_recipe_says_stays() -> None:
    written = recipe(size_px=[48, 64], epochs=7, batch_size=8, learning_rate=0.01, patience=3)
    assert auto_keys(written) == []
    resolved = resolve(written, None)
    assert resolved.model_dump(exclude={"candidates"}) == written.model_dump(exclude={"candidates"})
    assert resolved.candidates.sizes_px("resnet18d") == (48, 64)
    partly = recipe(size_px=64, epochs=7, batch_size=8, learning_rate=0.01, patience="auto")
    settings = choose(partly, facts())
    assert (settings.epochs, settings.batch_size, settings.learning_rate) == (None, None, None)
    assert settings.image_sizes_px == {}
    assert settings.patience is not None
    assert settings.patience <= 7
    resolved = resolve(partly, settings)
    assert (resolved.train.epochs, resolved.train.patience) == (7, settings.patience)


def test_a_key_without_a_chosen_value_is_named() -> None:
    with pytest.raises(RecipeError, match=r"train\.epochs, candidates\.image_size_px"):
        resolve(recipe(epochs="auto"), None)


def test_the_line_names_the_values_and_what_they_follow_from() -> None:
    line = settings_line(choose(recipe(**ALL_AUTO), facts(images=4708)))
    for part in ("epochs", "batches of 32", "patience", "32 px", "4,708 training images of 28 px"):
        assert part in line


def test_a_run_and_a_recipe_have_the_same_defaults() -> None:
    assert ResolvedTrain().model_dump() == Train().model_dump()


@pytest.mark.parametrize(
    ("imbalance", "balanced", "metric", "ranked_by"),
    [
        (2.9, True, None, "accuracy"),
        (20.0, True, None, "balanced_accuracy"),
        (20.0, False, None, "accuracy"),
        (20.0, True, "auroc", "auroc"),
        (None, True, None, "accuracy"),
    ],
)
def test_very_unequal_classes_are_ranked_by_balanced_accuracy(
    imbalance: float | None, balanced: bool, metric: str | None, ranked_by: str
) -> None:
    """With 20 images to 1, always giving the more frequent class has an accuracy of 0.95."""
    written = recipe(**ALL_AUTO, class_balanced=balanced)
    if metric is not None:
        written = Recipe.model_validate({**written.model_dump(), "score": {"performance": metric}})
    settings = choose(written, facts(imbalance=imbalance))
    assert resolve(written, settings, "binary").score.performance == ranked_by
    assert ("balanced accuracy" in settings_line(settings)) is (ranked_by == "balanced_accuracy")
