"""This machine as an engine and as a measurement host."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from pepr_edge.device.cpu import usable_cores
from pepr_edge.device.facts import here
from pepr_edge.engine import local
from pepr_edge.engine.engine import Engine
from pepr_edge.engine.measurement_host import MeasurementHost
from pepr_edge.measure.profile import profile


def engine(jobs: int) -> Engine:
    """Return an engine that runs this many jobs at once."""
    return Engine(
        threads=max(1, usable_cores() // jobs),
        parallel=jobs,
        exclusive=jobs == 1,
        run=lambda todo, on_step, on_done: local.run(todo, jobs, on_step, on_done),
    )


def measurement_host(reserve: Callable[[], AbstractContextManager[None]] = nullcontext) -> MeasurementHost:
    """Return this machine as a measurement host; for `reserve` see MeasurementHost."""
    return MeasurementHost(machine=here(), profile=profile, engine=engine(1), reserve=reserve)
