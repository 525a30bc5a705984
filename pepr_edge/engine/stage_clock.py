"""The wall time of a run by stage. Every moment counts for one stage, so the sum is the whole time."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import get_args

from pepr_edge.engine.engine import Engine, OnDone, OnStep
from pepr_edge.engine.job import CandidateJob, Step
from pepr_edge.engine.measurement_host import MeasurementHost
from pepr_edge.records import StageName


class StageClock:
    """Counts the time since it was made.

    Time counts for the innermost open `stage`. While jobs run that have reported a step, it counts for the
    stages of these steps instead, in equal parts. All else is "other", such as starting a worker.
    """

    def __init__(self) -> None:
        """Start in the stage "other"."""
        self._seconds: dict[StageName, float] = dict.fromkeys(get_args(StageName), 0.0)
        self._stage: StageName = "other"
        self._jobs: dict[str, StageName] = {}
        self._counted_s = time.perf_counter()

    def seconds(self) -> Mapping[StageName, float]:
        """Return the seconds of each stage so far."""
        self._count()
        return dict(self._seconds)

    @contextmanager
    def stage(self, name: StageName) -> Iterator[None]:
        """Count the time in this context for a stage, except that of stages and jobs within it."""
        self._count()
        outer = self._stage
        self._stage = name
        try:
            yield
        finally:
            self._count()
            self._stage = outer

    def timed(self, engine: Engine, host: MeasurementHost) -> tuple[Engine, MeasurementHost]:
        """Return an engine and a host whose jobs count by the steps that they report.

        All else while the host is reserved counts as measuring, unless another stage is open.
        """

        @contextmanager
        def reserve() -> Iterator[None]:
            with self.stage("measuring" if self._stage == "other" else self._stage), host.reserve():
                yield

        return self._timed(engine), replace(host, engine=self._timed(host.engine), reserve=reserve)

    def _timed(self, engine: Engine) -> Engine:

        def run(jobs: Sequence[CandidateJob], on_step: OnStep, on_done: OnDone) -> None:
            def stepped(job: CandidateJob, step: Step) -> None:
                self._count()
                self._jobs[job.folder] = stage_of(job, step)
                on_step(job, step)

            def done(job: CandidateJob) -> None:
                self._count()
                self._jobs.pop(job.folder, None)
                on_done(job)

            try:
                engine.run(jobs, stepped, done)
            finally:
                self._count()
                self._jobs.clear()

        return replace(engine, run=run)

    def _count(self) -> None:
        """Count the time since the last call."""
        now = time.perf_counter()
        stages = list(self._jobs.values()) or [self._stage]
        for stage in stages:
            self._seconds[stage] += (now - self._counted_s) / len(stages)
        self._counted_s = now


def stage_of(job: CandidateJob, step: Step) -> StageName:
    """Return the stage of a run that a job's step belongs to."""
    if job.kind in ("screen", "probe"):
        return "search"
    if job.kind == "step_costs":
        return "measuring"
    if job.kind == "select_variant":
        return "choice of variants"
    if step.stage.startswith("export"):
        return "export"
    return "repeats" if job.kind == "repeat" and job.repeat else "training"
