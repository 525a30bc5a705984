from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pepr_edge.errors import RecipeError
from pepr_edge.recipe import Recipe, find
from pepr_edge.recipe.init import DatasetSummary, RecipeDraft, RunTimeEstimate, draft, summary_lines, text
from pepr_edge.recipe.init.recipe_text import duration, run_time_line
from pepr_edge.recipe.toml import parse, read

SUMMARY = DatasetSummary(
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


def drafted(summary: DatasetSummary = SUMMARY, base: str = "clinic_laptop_2core") -> RecipeDraft:
    return draft(summary, "breastmnist", Path("recipe.toml"), read(find(base), Recipe))


def written(recipe_draft: RecipeDraft, run_time: RunTimeEstimate | str = "not estimated") -> str:
    return text(recipe_draft, SUMMARY, run_time, "breastmnist", "clinic_laptop_2core", Path("recipe.toml"))


@pytest.mark.parametrize(("side", "px"), [(20, 32), (28, 32), (63, 32), (64, 64), (150, 128), (2000, 128)])
def test_the_size_follows_the_images(side: int, px: int) -> None:
    assert drafted(replace(SUMMARY, sizes_px=((side, side + 9),))).recipe.candidates.image_size_px == (px,)


def test_a_device_recipe_with_larger_images_keeps_its_size() -> None:
    assert drafted(base="server_4core").recipe.candidates.image_size_px == (224,)


@pytest.mark.parametrize(
    ("counts", "metric", "balanced"),
    [
        ((500, 500), "accuracy", False),
        ((500, 334), "accuracy", False),
        ((500, 333), "balanced_accuracy", True),
    ],
)
def test_imbalanced_classes_are_weighted_and_get_the_balanced_metric(
    counts: tuple[int, int], metric: str, balanced: bool
) -> None:
    recipe = drafted(replace(SUMMARY, class_counts=counts)).recipe
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
def test_few_images_get_more_epochs_and_small_batches(
    images: int, epochs: int, augment: str, batch_size: int, patience: int
) -> None:
    train = drafted(replace(SUMMARY, images={**SUMMARY.images, "train": images})).recipe.train
    assert (train.epochs, train.augment, train.batch_size, train.patience) == (
        epochs,
        augment,
        batch_size,
        patience,
    )


def test_candidates_without_support_for_the_size_are_left_out_and_named() -> None:
    base = read(find("clinic_laptop_2core"), Recipe)
    names = ("adv_inception_v3", "resnet18d")
    base = base.model_copy(update={"candidates": base.candidates.model_copy(update={"architectures": names})})
    small = replace(SUMMARY, sizes_px=((28, 28),))
    made = draft(small, "x", Path("recipe.toml"), base)
    assert made.recipe.candidates.architectures == ("resnet18d",)
    assert "without adv_inception_v3" in made.reasons["candidates.architectures"]
    alone = base.model_copy(
        update={"candidates": base.candidates.model_copy(update={"architectures": names[:1]})}
    )
    with pytest.raises(RecipeError, match=r"no candidate of clinic_laptop_2core .*32 px"):
        draft(small, "x", Path("recipe.toml"), alone)


def test_bad_images_are_left_out_and_noted() -> None:
    made = drafted(replace(SUMMARY, bad=("x.png: empty, 0 bytes",)))
    assert made.recipe.data.on_bad_image == "skip"
    assert made.reasons["data.on_bad_image"].startswith("1 of 4 sampled images")
    assert drafted().recipe.data.on_bad_image == "fail"
    lines = summary_lines(replace(SUMMARY, bad=("x.png: empty, 0 bytes",)))
    assert lines[-1][0] == "Note"
    assert lines[-1][1].startswith("1 of 4 ")
    assert "x.png" not in str(lines)


@pytest.mark.parametrize(
    ("name", "plain"),
    [("chest x-rays", "chest_x-rays"), ("röntgen", "r_ntgen"), ("肺", "mine"), ("con", "mine")],
)
def test_the_name_of_the_run_is_valid_for_a_folder(name: str, plain: str) -> None:
    assert drafted(replace(SUMMARY, name=name)).recipe.name == plain


def test_data_settings_of_the_base_are_not_taken_over() -> None:
    assert drafted(base="paper_derma_scratch_10").recipe.data.fraction == 1.0


def test_few_validation_images_are_mentioned() -> None:
    few = replace(SUMMARY, images={**SUMMARY.images, "val": 50})
    assert "50 validation images a single decision is 2.0%" in drafted(few).reasons["export.keep_performance"]
    assert "single decision" not in drafted().reasons["export.keep_performance"]


@pytest.mark.parametrize(
    "base", ["clinic_laptop_2core", "mini_pc_n100", "gtx_1650_4gb", "paper_derma_scratch_10"]
)
def test_the_written_recipe_reads_back_unchanged(base: str) -> None:
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


def test_the_run_time_is_written_with_its_method() -> None:
    run_time = RunTimeEstimate(training_s=7200, export_s=200, measuring_s=1280, timed=("resnet18d",))
    line = run_time_line(run_time)
    for keyword in ("at most 2.4 h", "training 2.0 h", "one thread", "resnet18d"):
        assert keyword in line
    assert [duration(s) for s in (3, 600, 5399, 5400, 3 * 86400)] == [
        "1 min",
        "10 min",
        "90 min",
        "1.5 h",
        "3 days",
    ]
    assert "# Run time:  not estimated" in written(drafted())
