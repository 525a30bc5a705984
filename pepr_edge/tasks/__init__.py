"""Tasks: what a label is. One module per task, all with the same functions.

To add a task, write a module with the functions of `Task` and add it to `TASKS`.
"""

from __future__ import annotations

from pepr_edge.tasks import multilabel, ordinal, single_label
from pepr_edge.tasks.decision import (
    Rule,
    agree_by,
    calibrated,
    decide_by,
    fit_temperature,
    fit_thresholds,
    margin_by,
    parse_target,
)
from pepr_edge.tasks.positive import PositiveClass, positive_class
from pepr_edge.tasks.task import Decisions, Labels, Logits, Mask, Task, TaskKind

__all__ = [
    "DEFAULT_TASK",
    "TASKS",
    "Decisions",
    "Labels",
    "Logits",
    "Mask",
    "PositiveClass",
    "Rule",
    "Task",
    "TaskKind",
    "agree_by",
    "calibrated",
    "decide_by",
    "fit_temperature",
    "fit_thresholds",
    "margin_by",
    "multilabel",
    "ordinal",
    "parse_target",
    "positive_class",
    "refer",
    "single_label",
    "task_of",
]

TASKS: dict[TaskKind, Task] = {
    "multiclass": single_label,
    "binary": single_label,
    "ordinal": ordinal,
    "multilabel": multilabel,
}
DEFAULT_TASK: TaskKind = "multiclass"


def task_of(kind: TaskKind = DEFAULT_TASK) -> Task:
    """Return the module of a kind of task."""
    return TASKS[kind]
