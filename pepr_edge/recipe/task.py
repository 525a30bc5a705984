"""What a recipe says of its task and its decision, applied to the data."""

from __future__ import annotations

from collections.abc import Sequence

from pepr_edge.errors import RecipeError
from pepr_edge.recipe.recipe import Recipe
from pepr_edge.records import DataInfo
from pepr_edge.scoring.metrics import DECISION_METRICS
from pepr_edge.tasks import PositiveClass, TaskKind, parse_target, positive_class
from pepr_edge.tasks.refer import fewest_images
from pepr_edge.untrusted.shown import shown


def positive_of(labels: Sequence[str], kind: TaskKind, recipe: Recipe) -> PositiveClass | None:
    """Return the positive of two classes, by the recipe or else by the labels; None for other tasks.

    Raises:
        RecipeError: the recipe names a class that the data does not have, or there are not two classes.
    """
    wanted = recipe.task.positive
    if kind in ("ordinal", "multilabel"):
        if wanted is not None:
            raise RecipeError(
                f"task.positive = {shown(wanted)!r}, but the task is {kind}: only one of two classes can be "
                "positive. Remove the line."
            )
        return None
    if wanted is not None and len(labels) != 2:
        raise RecipeError(
            f"task.positive = {shown(wanted)!r}, but the data has {len(labels)} classes: only one of two can "
            "be positive. Remove the line."
        )
    try:
        return positive_class(labels, wanted)
    except ValueError as error:
        raise RecipeError(
            f"task.positive = {shown(wanted or '')!r}, expected {shown(str(error))}. "
            "Correct the line, or remove it: then the run chooses a class by its name, and says which."
        ) from None


def with_positive(info: DataInfo, recipe: Recipe) -> DataInfo:
    """Return the record of the data with the positive of its two classes; unchanged for more classes.

    Raises:
        RecipeError: as for `positive_of`.
    """
    chosen = positive_of(info.labels, info.kind, recipe)
    return info if chosen is None else info.replace(positive=chosen.label, positive_by=chosen.by)


def check_decision(info: DataInfo, recipe: Recipe) -> None:
    """Check that the validation images can give the threshold and the limits that the recipe asks for.

    Raises:
        RecipeError: there are not two classes, validation has images of one of them alone, or too few to say
            how many images are referred.
    """
    _check_refer(info, recipe)
    _check_budgets(info, recipe)
    target = recipe.decision.target
    if parse_target(target).kind == "argmax" or info.kind == "multilabel":
        return
    counts = info.splits["val"].class_counts
    if info.kind == "binary" and all(counts):
        return
    reason = f"the data has {len(info.labels)} classes, and a threshold separates two"
    remedy = "Remove the line"
    if info.kind == "ordinal":
        reason = "the task is ordinal, and grades are decided by the median"
    if info.kind == "binary":
        reason = "the validation images are all of one class"
        remedy = "Raise data.val_fraction, or add validation images of the other class"
    raise RecipeError(
        f'decision.target = "{target}", but {reason}. {remedy}, or set decision.target = "argmax".'
    )


def _check_refer(info: DataInfo, recipe: Recipe) -> None:
    """Refuse what is asked of referred images where it cannot be kept."""
    settings = recipe.decision
    if info.kind == "multilabel" and settings.refer is not None:
        raise RecipeError(
            f"decision.{settings.refer}, but the task is multilabel, and only images of one label can "
            "be referred so far. Remove the line."
        )
    if settings.refer_share is None:
        return
    n = info.splits["val"].images
    needed = fewest_images(settings.refer_share)
    if n < needed:
        raise RecipeError(
            f"decision.{settings.refer}, but {n} validation images cannot show that so few images are "
            f"referred: {needed} are needed. Raise refer_share or data.val_fraction, or remove the line."
        )


def _check_budgets(info: DataInfo, recipe: Recipe) -> None:
    """Refuse budgets for decisions between two classes where there are not two."""
    for name in ("min_sensitivity", "min_specificity"):
        if getattr(recipe.budgets, name) is not None and info.kind != "binary":
            raise RecipeError(
                f"budgets.{name}, but the task is {info.kind}, and there is no such figure of two classes. "
                "Remove the line."
            )


def decision_metric_fault(name: str, info: DataInfo, recipe: Recipe) -> str:
    """Return why models cannot be ranked by a metric at their decisions; empty if they can, or it is none."""
    if name not in DECISION_METRICS:
        return ""
    if info.kind != "binary":
        return f"the task is {info.kind}, and it is a figure of two classes"
    if recipe.score.skill:
        return "score.skill is measured against a model that always says the same, which may reach any of it"
    return ""
