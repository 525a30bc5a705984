from __future__ import annotations

from typing import get_type_hints

from pepr_edge.scoring.metrics import ALL_METRICS
from pepr_edge.tasks import DEFAULT_TASK, TASKS, Task, task_of


def test_the_default_task_is_listed() -> None:
    assert task_of() is TASKS[DEFAULT_TASK]


def test_every_task_has_the_functions_of_the_protocol() -> None:
    wanted = {name for name in vars(Task) if not name.startswith("_")} | set(get_type_hints(Task))
    assert {"decide", "METRICS"} <= wanted
    for kind, task in TASKS.items():
        assert not [name for name in wanted if not hasattr(task, name)], kind


def test_the_metrics_of_every_task_are_known() -> None:
    for task in TASKS.values():
        assert set(task.METRICS) <= set(ALL_METRICS)
        assert task.GATE_METRIC in task.METRICS
