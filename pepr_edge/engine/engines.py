"""The engines by name, each as a function that opens it for a run."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from pepr_edge.engine import local, ray
from pepr_edge.engine.engine import Engine, OnLost
from pepr_edge.field.cpu import usable_cores
from pepr_edge.recipe import Recipe


def of_this_machine(jobs: int) -> Engine:
    """This machine, with so many candidates at once."""
    return Engine(
        threads=max(1, usable_cores() // jobs),
        parallel=jobs,
        exclusive=jobs == 1,
        run=lambda todo, on_step, on_done: local.run(todo, jobs, on_step, on_done),
    )


def _local(recipe: Recipe, jobs: int | None, address: str | None, on_lost: OnLost) -> AbstractContextManager[Engine]:
    """One candidate at once unless more are asked for. Nothing needs to be open, and nothing is lost."""
    return nullcontext(of_this_machine(jobs or 1))


ENGINES = {"local": _local, "ray": ray.opened}
