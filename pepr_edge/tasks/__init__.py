"""Tasks: what a label is. One module per task, all with the same functions.

To add a task, write a module with the functions of `Task` and add it to `TASKS`.
"""

from __future__ import annotations

from pepr_edge.tasks import single_label
from pepr_edge.tasks.decision import (
    Rule,
    calibrated,
    decide_by,
    fit_temperature,
    fit_thresholds,
    margin_by,
    parse_target,
)
from pepr_edge.tasks.positive import PositiveClass, positive_class
from pepr_edge.tasks.task import Decisions, Labels, Logits, Mask, Task

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
    "calibrated",
    "decide_by",
    "fit_temperature",
    "fit_thresholds",
    "margin_by",
    "parse_target",
    "positive_class",
    "single_label",
    "task_of",
]

TASKS: dict[str, Task] = {"single_label": single_label}
DEFAULT_TASK = "single_label"


def task_of(kind: str = DEFAULT_TASK) -> Task:
    """Return the module of a task. Every caller uses the default: there is one kind of task so far."""
    return TASKS[kind]
