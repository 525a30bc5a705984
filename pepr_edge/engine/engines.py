"""The engines by name, each as a function that opens it for a run, with the bench that goes with it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from pepr_edge.engine import ray, this_machine
from pepr_edge.engine.engine import Engine, OnLost
from pepr_edge.engine.measurement_host import MeasurementHost
from pepr_edge.recipe import Recipe

OpenEngine = AbstractContextManager[tuple[Engine, MeasurementHost]]


def _local(recipe: Recipe, jobs: int | None, address: str | None, on_lost: OnLost) -> OpenEngine:
    """One candidate at once unless more are asked for. Nothing needs to be open, and nothing is lost."""
    return nullcontext((this_machine.engine(jobs or 1), this_machine.measurement_host()))


ENGINES: dict[str, Callable[[Recipe, int | None, str | None, OnLost], OpenEngine]] = {
    "local": _local,
    "ray": ray.opened,
}
