from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from pepr_edge.engine import stage_clock
from pepr_edge.engine.engine import Engine, OnDone, OnStep
from pepr_edge.engine.job import CandidateJob, Step
from pepr_edge.engine.measurement_host import MeasurementHost
from pepr_edge.engine.stage_clock import StageClock, stage_of

MakeJob = Callable[..., CandidateJob]


class FakeTime:
    """A clock that only this test moves."""

    now = 100.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def fake_time(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    fake = FakeTime()
    monkeypatch.setattr(stage_clock, "time", fake)
    return fake


def host_of(engine: Engine) -> MeasurementHost:
    unused: Any = SimpleNamespace()
    return MeasurementHost(machine=unused, profile=unused, engine=engine, reserve=nullcontext)


def nothing(todo: Any, on_step: OnStep, on_done: OnDone) -> None:
    pass


def spent(clock: StageClock) -> dict[str, float]:
    return {name: seconds for name, seconds in clock.seconds().items() if seconds}


def test_every_moment_counts_for_the_innermost_stage(fake_time: FakeTime) -> None:
    clock = StageClock()
    fake_time.now += 1
    with clock.stage("search"):
        fake_time.now += 2
        with clock.stage("measuring"):
            fake_time.now += 4
        fake_time.now += 8
    fake_time.now += 16
    assert spent(clock) == {"other": 17, "search": 10, "measuring": 4}
    assert next(iter(clock.seconds())) == "images"


def test_jobs_at_work_at_the_same_time_share_it(fake_time: FakeTime, make_job: MakeJob) -> None:
    clock = StageClock()
    first, second = make_job("a"), make_job("b")

    def work(todo: Any, on_step: OnStep, on_done: OnDone) -> None:
        fake_time.now += 1  # a worker starts
        on_step(first, Step(stage="train", done=0, total=1))
        fake_time.now += 2
        on_step(second, Step(stage="train", done=0, total=1))
        fake_time.now += 4
        on_step(first, Step(stage="export fp32", done=0, total=1))
        fake_time.now += 8
        on_done(first)
        fake_time.now += 16
        on_done(second)

    idle = Engine(1, 2, False, nothing)
    engine, _ = clock.timed(Engine(1, 2, False, work), host_of(idle))
    engine.run([first, second], lambda job, step: None, lambda job: None)
    fake_time.now += 32
    assert spent(clock) == {"training": 2 + 4 + 4 + 16, "export": 4, "other": 1 + 32}


def test_a_reserved_host_measures_unless_the_run_searches(fake_time: FakeTime) -> None:
    clock = StageClock()
    _, host = clock.timed(Engine(1, 1, True, nothing), host_of(Engine(1, 1, True, nothing)))
    with host.reserve():
        fake_time.now += 1
    with clock.stage("search"), host.reserve():
        fake_time.now += 2
    assert spent(clock) == {"measuring": 1, "search": 2}


def test_jobs_that_are_interrupted_count_no_longer(fake_time: FakeTime, make_job: MakeJob) -> None:
    clock = StageClock()

    def interrupted(todo: Any, on_step: OnStep, on_done: OnDone) -> None:
        on_step(make_job(), Step(stage="train", done=0, total=1))
        fake_time.now += 1
        raise KeyboardInterrupt

    engine, _ = clock.timed(Engine(1, 1, True, interrupted), host_of(Engine(1, 1, True, nothing)))
    with pytest.raises(KeyboardInterrupt):
        engine.run([], lambda job, step: None, lambda job: None)
    fake_time.now += 2
    assert spent(clock) == {"training": 1, "other": 2}


@pytest.mark.parametrize(
    ("kind", "stage", "repeat", "expected"),
    [
        ("complete", "train", 0, "training"),
        ("complete", "export int8_static", 0, "export"),
        ("repeat", "train", 0, "training"),
        ("repeat", "train", 1, "repeats"),
        ("export", "export", 1, "export"),
        ("probe", "cost probe", 0, "search"),
        ("screen", "screening", 0, "search"),
        ("select_variant", "choose", 0, "choice of variants"),
    ],
)
def test_the_stage_of_a_step(make_job: MakeJob, kind: str, stage: str, repeat: int, expected: str) -> None:
    job = make_job().model_copy(update={"kind": kind, "repeat": repeat})
    assert stage_of(job, Step(stage=stage, done=0, total=1)) == expected
