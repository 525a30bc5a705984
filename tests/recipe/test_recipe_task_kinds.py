"""The kind of a task in a recipe: its metric, its positive class, its decision."""

from __future__ import annotations

import made_records
import pytest

from pepr_edge.errors import RecipeError
from pepr_edge.recipe.checks import check_metric
from pepr_edge.recipe.settings import resolve
from pepr_edge.recipe.task import check_decision, with_positive
from pepr_edge.records import DataInfo, SplitInfo
from pepr_edge.tasks import TaskKind

DATA = made_records.info("small").data


def data(kind: TaskKind, counts: tuple[int, ...] = (5, 3, 2), images: int = 10) -> DataInfo:
    split = SplitInfo(images=images, class_counts=counts)
    labels = tuple("abc"[: len(counts)])
    return DATA.replace(labels=labels, task=kind, splits={"train": split, "val": split, "test": split})


@pytest.mark.parametrize(
    ("kind", "metric"),
    [("binary", "accuracy"), ("ordinal", "quadratic_kappa"), ("multilabel", "mean_auroc")],
)
def test_without_a_metric_a_recipe_ranks_by_that_of_its_task(kind: TaskKind, metric: str) -> None:
    written = made_records.recipe()
    assert resolve(written, None, kind).score.performance == metric
    named = made_records.recipe('[score]\nperformance = "auroc"')
    assert resolve(named, None, kind).score.performance == "auroc"


@pytest.mark.parametrize(
    ("kind", "metric", "word"),
    [
        ("multilabel", "accuracy", "mean_auroc"),
        ("ordinal", "mean_auroc", "quadratic_kappa"),
        ("multiclass", "quadratic_kappa", "accuracy"),
    ],
)
def test_a_metric_of_another_task_is_one_line(kind: TaskKind, metric: str, word: str) -> None:
    recipe = made_records.recipe(f'[score]\nperformance = "{metric}"')
    with pytest.raises(RecipeError, match=word) as fault:
        check_metric(recipe, data(kind))
    assert "\n" not in str(fault.value)


def test_validation_must_define_the_metric() -> None:
    recipe = made_records.recipe('[score]\nperformance = "mean_auroc"')
    check_metric(recipe, data("multilabel"))
    with pytest.raises(RecipeError, match="do not define") as fault:
        check_metric(recipe, data("multilabel", (10, 0, 10)))
    assert "accuracy" not in str(fault.value)  # which is no metric of such a task
    graded = made_records.recipe('[score]\nperformance = "quadratic_kappa"')
    check_metric(graded, data("ordinal"))
    with pytest.raises(RecipeError, match="do not define"):
        check_metric(graded, data("ordinal", (10, 0, 0)))


@pytest.mark.parametrize("kind", ["ordinal", "multilabel"])
def test_no_class_of_grades_or_findings_is_positive(kind: TaskKind) -> None:
    of_two = data(kind, (6, 4))
    assert with_positive(of_two, made_records.recipe()) == of_two
    assert of_two.positive_label is None
    with pytest.raises(RecipeError, match=rf"task\.positive.*{kind}"):
        with_positive(of_two, made_records.recipe('[task]\npositive = "a"'))


def test_more_than_two_classes_have_no_positive() -> None:
    with pytest.raises(RecipeError, match=r"3 classes.*Remove the line\.$"):
        with_positive(data("multiclass"), made_records.recipe('[task]\npositive = "a"'))


def test_a_target_needs_validation_images_of_both_classes() -> None:
    with pytest.raises(RecipeError, match=r"one class\. Raise data\.val_fraction"):
        check_decision(data("binary", (10, 0)), made_records.recipe('[decision]\ntarget = "youden"'))


def test_a_target_is_for_two_classes_or_for_each_finding() -> None:
    recipe = made_records.recipe('[decision]\ntarget = "sensitivity >= 0.9"')
    check_decision(data("multilabel"), recipe)
    with pytest.raises(RecipeError, match=r"decision\.target.*median"):
        check_decision(data("ordinal"), recipe)
    with pytest.raises(RecipeError, match=r"3 classes.*Remove the line"):
        check_decision(data("multiclass"), recipe)


def test_images_of_several_findings_are_not_referred() -> None:
    for line in ("refer_share = 0.1", "max_error = 0.1"):
        with pytest.raises(RecipeError, match=rf"decision\.{line}.*multilabel") as caught:
            check_decision(data("multilabel"), made_records.recipe(f"[decision]\n{line}"))
        assert "\n" not in str(caught.value)
    check_decision(data("ordinal", images=100), made_records.recipe("[decision]\nrefer_share = 0.1"))


def test_a_share_to_refer_needs_images_that_can_show_it() -> None:
    recipe = made_records.recipe("[decision]\nrefer_share = 0.1")
    with pytest.raises(RecipeError, match=r"refer_share = 0\.1.*28 validation images.*29 are needed"):
        check_decision(data("binary", (10, 18), 28), recipe)
    check_decision(data("binary", (10, 19), 29), recipe)
    check_decision(data("binary", (5, 5), 10), made_records.recipe("[decision]\nmax_error = 0.1"))


def test_records_without_a_kind_have_one_label_an_image() -> None:
    assert DATA.replace(task=None).kind == "binary"
    assert DATA.replace(task=None, labels=("a", "b", "c")).kind == "multiclass"
