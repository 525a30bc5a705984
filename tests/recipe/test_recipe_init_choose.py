from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pepr_edge.data import DatasetSummary
from pepr_edge.recipe import AboutSettings, Recipe, find
from pepr_edge.recipe.init import RecipeDraft, RunTimeEstimate, draft, summary_lines, text
from pepr_edge.recipe.init.offered import offers
from pepr_edge.recipe.init.recipe_text import duration, run_time_line
from pepr_edge.recipe.settings import choose
from pepr_edge.recipe.toml import parse, read
from pepr_edge.tasks import TaskKind

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


def test_settings_are_left_to_the_images_and_their_values_are_in_the_reasons() -> None:
    made = drafted()
    assert (made.recipe.train.epochs, made.recipe.candidates.image_size_px) == ("auto", "auto")
    assert made.settings == choose(made.recipe, SUMMARY.facts)
    assert made.resolved.train.epochs == made.settings.epochs
    assert made.resolved.candidates.image_size_px == (128,)
    for key, value in (
        ("train.epochs", made.settings.epochs),
        ("train.batch_size", made.settings.batch_size),
        ("train.learning_rate", made.settings.learning_rate),
        ("train.patience", made.settings.patience),
        ("candidates.image_size_px", "128 px"),
    ):
        assert made.reasons[key].startswith(f"{value} here"), key


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
    ("counts", "train_counts", "balanced"),
    [((900, 420), (400, 400), False), ((500, 500), (400, 100), True)],
)
def test_labels_of_validation_and_test_decide_nothing(
    counts: tuple[int, int], train_counts: tuple[int, int], balanced: bool
) -> None:
    draft = drafted(replace(SUMMARY, class_counts=counts, train_counts=train_counts))
    assert draft.recipe.train.class_balanced == balanced
    assert f"400 {SUMMARY.labels[0]}" in draft.reasons["train.class_balanced"]


def test_the_positive_of_two_classes_is_proposed_to_be_checked() -> None:
    made = drafted()
    assert made.recipe.task.positive == "sick"
    assert "check" in made.reasons["task.positive"]
    assert "[task]\n# Please check" in written(made)
    assert parse(written(made), Recipe, "recipe.toml").task.positive == "sick"
    several = drafted(replace(SUMMARY, labels=("normal", "sick", "other"), class_counts=(500, 300, 200)))
    assert several.recipe.task.positive is None
    assert "task.positive" not in several.reasons


def test_images_may_be_referred_where_a_share_of_them_can_be_kept() -> None:
    made = drafted()
    assert made.recipe.decision.refer_share == 0.1
    assert "person" in made.reasons["decision.refer_share"]
    few = replace(SUMMARY, images={"train": 100, "val": 28, "test": 30})
    for summary in (few, replace(SUMMARY, task="multilabel")):
        assert drafted(summary).recipe.decision.refer_share is None


@pytest.mark.parametrize(
    ("task", "labels", "offered"),
    [
        ("multiclass", 2, {"target", "max_error"}),
        ("multiclass", 3, {"max_error"}),
        ("ordinal", 2, {"max_error"}),
        ("multilabel", 3, {"target"}),
    ],
)
def test_what_only_people_can_decide_is_offered_as_comments(
    task: TaskKind, labels: int, offered: set[str]
) -> None:
    assert {offer.key for offer in offers(task, labels)["decision"]} == offered
    written_text = written(drafted())
    for line in ('# target = "sensitivity >= 0.90"', "# max_error = 0.05", '# intended_use = ""'):
        assert line in written_text.splitlines()
    recipe = parse(written_text, Recipe, "recipe.toml")
    assert (recipe.about, recipe.decision.target) == (AboutSettings(), "argmax")
    assert {offer.key for offer in offers("multiclass", 2)["about"]} == set(AboutSettings.model_fields)
    # Each line is right once its sign is removed and its words are filled in.
    filled = written_text.replace('= ""', '= "2027-01-31"').replace("# target =", "target =")
    for name in AboutSettings.model_fields:
        filled = filled.replace(f"# {name} =", f"{name} =")
    assert parse(filled, Recipe, "recipe.toml").about.version == "2027-01-31"


@pytest.mark.parametrize("images", [1000, 20_000])
@pytest.mark.parametrize("augment", ["light", "none"])
def test_the_draft_trains_as_the_device_recipe_does(images: int, augment: str) -> None:
    base = read(find("clinic_laptop_2core"), Recipe)
    base = base.model_copy(update={"train": base.train.model_copy(update={"augment": augment})})
    summary = replace(SUMMARY, images={**SUMMARY.images, "train": images})
    train = draft(summary, "x", Path("recipe.toml"), base).recipe.train
    assert train.augment == augment
    assert (train.mode, train.max_repeats) == (base.train.mode, base.train.max_repeats)


def test_a_size_of_its_own_is_named() -> None:
    base = read(find("clinic_laptop_2core"), Recipe)
    names = ("adv_inception_v3", "resnet18d")
    base = base.model_copy(update={"candidates": base.candidates.model_copy(update={"architectures": names})})
    small = replace(SUMMARY, sizes_px=((28, 28),))
    made = draft(small, "x", Path("recipe.toml"), base)
    assert made.settings.image_sizes_px == {"adv_inception_v3": 75, "resnet18d": 32}
    assert "adv_inception_v3 75 px" in made.reasons["candidates.image_size_px"]


def test_bad_images_are_left_out_and_noted() -> None:
    base = read(find("clinic_laptop_2core"), Recipe)
    made = draft(SUMMARY, "x", Path("recipe.toml"), base, unreadable=1)
    assert made.recipe.data.on_bad_image == "skip"
    assert made.reasons["data.on_bad_image"].startswith("1 of 1,000 images")
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
    assert (
        "50 validation images a single decision is 2.0 %" in drafted(few).reasons["export.keep_performance"]
    )
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


@pytest.mark.parametrize(
    ("labels", "are_numbered"),
    [
        (("0", "1", "2"), True),
        (("grade 0", "grade 1", "grade 2"), True),
        (("KL1", "KL2", "KL10"), True),
        (("grade 1", "grade 2", "healthy"), False),
        (("normal", "mild", "severe"), False),
    ],
)
def test_numbered_labels_may_be_grades(labels: tuple[str, ...], are_numbered: bool) -> None:
    made = drafted(replace(SUMMARY, labels=labels, class_counts=(300,) * 3))
    assert ("ordinal" in made.reasons.get("task.kind", "")) is are_numbered


def test_a_size_of_its_own_is_not_called_a_lack_of_support() -> None:
    small = replace(SUMMARY, sizes_px=((28, 28),))
    reason = drafted(small).reasons["candidates.image_size_px"]
    assert reason.startswith("32 px here")
    assert "mobilenetv2_050 64 px" in reason
    assert "support" not in reason
