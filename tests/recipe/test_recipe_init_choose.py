from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pepr_edge.errors import RecipeError
from pepr_edge.recipe import Recipe, find
from pepr_edge.recipe.init import DatasetSummary, RecipeDraft, RunTimeEstimate, draft, summary_lines, text
from pepr_edge.recipe.init.recipe_text import duration, how_long
from pepr_edge.recipe.toml import parse, read

LOOK = DatasetSummary(
    name="chest x-rays",
    format="folder",
    labels=("normal", "sick"),
    class_counts=(500, 500),
    images={"train": 650, "val": 150, "test": 200},
    given=(),
    groups=None,
    sizes_px=((1024, 900), (800, 700), (900, 800)),
    grey=3,
    bad=(),
    notes=("skipped files that are not images: 1 .txt",),
)


def drafted(seen: DatasetSummary = LOOK, base: str = "clinic_laptop_2core") -> RecipeDraft:
    return draft(seen, "breastmnist", Path("recipe.toml"), read(find(base), Recipe))


def written(made: RecipeDraft, expected: RunTimeEstimate | str = "not estimated") -> str:
    return text(made, LOOK, expected, "breastmnist", "clinic_laptop_2core", Path("recipe.toml"))


@pytest.mark.parametrize(("side", "px"), [(20, 32), (28, 32), (63, 32), (64, 64), (150, 128), (2000, 128)])
def test_the_size_follows_the_images(side: int, px: int) -> None:
    assert drafted(replace(LOOK, sizes_px=((side, side + 9),))).recipe.candidates.image_size_px == (px,)


def test_a_device_that_asks_for_larger_images_gets_them() -> None:
    assert drafted(base="server_4core").recipe.candidates.image_size_px == (224,)


@pytest.mark.parametrize(
    ("counts", "metric", "balanced"),
    [
        ((500, 500), "accuracy", False),
        ((500, 334), "accuracy", False),
        ((500, 333), "balanced_accuracy", True),
    ],
)
def test_unequal_classes_weigh_the_same_and_are_judged_alike(
    counts: tuple[int, int], metric: str, balanced: bool
) -> None:
    recipe = drafted(replace(LOOK, class_counts=counts)).recipe
    assert (recipe.score.performance, recipe.train.class_balanced) == (metric, balanced)


@pytest.mark.parametrize(
    ("images", "epochs", "augment", "batch_size", "patience"),
    [
        (81, 100, "light", 16, 20),
        (1000, 15, "light", 32, 5),
        (20_000, 5, "none", 32, 5),
        (8, 100, "light", 16, 100),
    ],
)
def test_few_images_are_seen_more_often_and_in_small_steps(
    images: int, epochs: int, augment: str, batch_size: int, patience: int
) -> None:
    train = drafted(replace(LOOK, images={**LOOK.images, "train": images})).recipe.train
    assert (train.epochs, train.augment, train.batch_size, train.patience) == (
        epochs,
        augment,
        batch_size,
        patience,
    )


def test_candidates_that_do_not_take_the_size_are_left_out_by_name() -> None:
    base = read(find("clinic_laptop_2core"), Recipe)
    names = ("adv_inception_v3", "resnet18d")
    base = base.model_copy(update={"candidates": base.candidates.model_copy(update={"architectures": names})})
    small = replace(LOOK, sizes_px=((28, 28),))
    made = draft(small, "x", Path("recipe.toml"), base)
    assert made.recipe.candidates.architectures == ("resnet18d",)
    assert "without adv_inception_v3, which take no 32 px" in made.reasons["candidates.architectures"]
    alone = base.model_copy(
        update={"candidates": base.candidates.model_copy(update={"architectures": names[:1]})}
    )
    with pytest.raises(RecipeError, match="no candidate of clinic_laptop_2core takes images of 32 px"):
        draft(small, "x", Path("recipe.toml"), alone)


def test_bad_images_are_left_out_and_it_says_so() -> None:
    made = drafted(replace(LOOK, bad=("x.png: empty, 0 bytes",)))
    assert made.recipe.data.on_bad_image == "skip"
    assert made.reasons["data.on_bad_image"].startswith("1 of 4 images looked at cannot be read")
    assert drafted().recipe.data.on_bad_image == "fail"
    words = summary_lines(replace(LOOK, bad=("x.png: empty, 0 bytes",)))
    assert ("Note", "1 of 4 looked at cannot be read") in words
    assert "x.png" not in str(words)


@pytest.mark.parametrize(
    ("name", "plain"),
    [("chest x-rays", "chest_x-rays"), ("röntgen", "r_ntgen"), ("肺", "mine"), ("con", "mine")],
)
def test_the_runs_name_can_be_a_folders(name: str, plain: str) -> None:
    assert drafted(replace(LOOK, name=name)).recipe.name == plain


def test_what_is_of_the_bases_own_data_stays_there() -> None:
    assert drafted(base="paper_derma_scratch_10").recipe.data.fraction == 1.0


def test_few_validation_images_are_said() -> None:
    few = replace(LOOK, images={**LOOK.images, "val": 50})
    assert (
        "With 50 validation images a single decision is 2.0%"
        in drafted(few).reasons["export.keep_performance"]
    )
    assert "single decision" not in drafted().reasons["export.keep_performance"]


@pytest.mark.parametrize(
    "base", ["clinic_laptop_2core", "mini_pc_n100", "gtx_1650_4gb", "paper_derma_scratch_10"]
)
def test_what_is_written_reads_as_what_was_chosen(base: str) -> None:
    made = drafted(base=base)
    assert parse(written(made), Recipe, "recipe.toml") == made.recipe


def test_each_reason_stands_above_its_key() -> None:
    made = drafted()
    lines = written(made).splitlines()
    for key, reason in made.reasons.items():
        at = next(number for number, line in enumerate(lines) if line.startswith(f"{key.split('.')[1]} = "))
        above = []
        while lines[at - 1 - len(above)].startswith("# "):
            above.append(lines[at - 1 - len(above)].removeprefix("# "))
        assert " ".join(reversed(above)) == reason, key
    assert "# Note:      skipped files that are not images: 1 .txt" in lines


def test_the_time_is_said_with_how_it_was_made() -> None:
    expected = RunTimeEstimate(training_s=7200, export_s=200, measuring_s=1280, timed=("resnet18d",))
    assert how_long(expected).startswith(
        "expected: at most 2.4 h on this machine: training 2.0 h (one thread's time, by"
    )
    assert [duration(s) for s in (3, 600, 5399, 5400, 3 * 86400)] == [
        "1 min",
        "10 min",
        "90 min",
        "1.5 h",
        "3 days",
    ]
    assert "# Run time:  not estimated" in written(drafted())
