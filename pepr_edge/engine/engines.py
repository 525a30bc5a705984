"""The engines by name: each is a function that opens an engine for a run, and its measurement host."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from pepr_edge.engine import ray, this_machine
from pepr_edge.engine.engine import Engine, OnLost
from pepr_edge.engine.measurement_host import MeasurementHost
from pepr_edge.recipe import Recipe

OpenEngine = AbstractContextManager[tuple[Engine, MeasurementHost]]


def _local(recipe: Recipe, jobs: int | None, address: str | None, on_lost: OnLost) -> OpenEngine:
    """Open this machine: one candidate at once by default. Nothing is connected, and no node can be lost."""
    return this_machine.opened(jobs or 1)


ENGINES: dict[str, Callable[[Recipe, int | None, str | None, OnLost], OpenEngine]] = {
    "local": _local,
    "ray": ray.opened,
}
