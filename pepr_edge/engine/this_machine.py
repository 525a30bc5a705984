"""This machine as an engine and as a measurement host."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from pepr_edge.device.cpu import usable_cores
from pepr_edge.device.facts import here
from pepr_edge.engine import local
from pepr_edge.engine.engine import Engine
from pepr_edge.engine.measurement_host import MeasurementHost
from pepr_edge.engine.worker_process import Workers
from pepr_edge.measure.interleaved_profiles import Subject, Watch, profile_interleaved
from pepr_edge.measure.profile import Progress, profile
from pepr_edge.measure.settings import request_here
from pepr_edge.records import DeviceProfile, ProfileRequest


def engine(jobs: int, workers: Workers | None = None) -> Engine:
    """Return an engine that runs this many jobs at once.

    Args:
        jobs: at once.
        workers: processes that stay from one call of `run` to the next; None: they end with each call.
    """
    return Engine(
        threads=max(1, usable_cores() // jobs),
        parallel=jobs,
        exclusive=jobs == 1,
        run=lambda todo, on_step, on_done: local.run(todo, jobs, on_step, on_done, workers),
    )


@contextmanager
def opened(jobs: int) -> Iterator[tuple[Engine, MeasurementHost]]:
    """Open this machine as engine and measurement host. Workers stay until it is closed, or measures."""
    with Workers() as workers:

        @contextmanager
        def reserve() -> Iterator[None]:
            workers.release()  # they would take memory from what is measured
            yield

        yield engine(jobs, workers), measurement_host(reserve)


def measurement_host(reserve: Callable[[], AbstractContextManager[None]] = nullcontext) -> MeasurementHost:
    """Return this machine as a measurement host; for `reserve` see MeasurementHost."""
    return MeasurementHost(
        machine=here(),
        profile=_profile,
        engine=engine(1),
        reserve=reserve,
        profile_interleaved=_profile_interleaved,
    )


def _profile(model: Path, request: ProfileRequest, progress: Progress | None = None) -> DeviceProfile:
    return profile(model, request_here(request), progress)


def _profile_interleaved(subjects: Sequence[Subject], watch: Watch) -> None:
    profile_interleaved([Subject(model, request_here(request)) for model, request in subjects], watch)
