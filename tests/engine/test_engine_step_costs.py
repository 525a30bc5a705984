from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import small_run

from pepr_edge.engine import local, step_costs, worker
from pepr_edge.engine.job import CandidateFiles, CandidateJob, Step, StepCostSubject
from pepr_edge.engine.step_costs import measure_step_costs
from pepr_edge.engine.this_machine import engine
from pepr_edge.records import StepCost
from pepr_edge.run_dir.layout import STEP_COST
from pepr_edge.run_dir.reader import load
from pepr_edge.run_dir.store import read_record


class Bar(small_run.Listener):
    """A view that keeps the notes of its bars too."""

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[tuple[int, int, str]] = []

    def update(self, done: int, total: int, note: str = "") -> None:
        self.notes.append((done, total, note))


def subject_of(job: CandidateJob, data: str) -> StepCostSubject:
    return StepCostSubject(
        candidate=job.candidate,
        data=data,
        folder=job.folder,
        key="a key",
        layout="contiguous",
        precision="float32",
        threads=1,
    )


@pytest.mark.slow
def test_a_worker_writes_the_cost_of_each_candidate(make_job: Callable[..., CandidateJob]) -> None:
    job = make_job(workstation={"watts_per_core": 5.0}, worker={"memory_mib": 1})
    Path(job.folder).mkdir()
    view = Bar()
    assert step_costs._run_job(job.recipe, [subject_of(job, job.data)], engine(1), view) == ""
    rounds = worker.STEP_COST_ROUNDS
    assert view.notes == [(number, rounds, job.candidate.id) for number in range(1, rounds + 1)]
    cost = read_record(Path(job.folder) / STEP_COST, StepCost)
    assert (cost.key, cost.candidate) == ("a key", job.candidate)
    assert len(cost.duration_s) == len(cost.energy_j) == rounds
    assert {path.name for path in Path(job.folder).iterdir()} == {STEP_COST}


@pytest.mark.slow
def test_a_worker_that_fails_tells_why(make_job: Callable[..., CandidateJob], tmp_path: Path) -> None:
    job = make_job()
    subject = subject_of(job, str(tmp_path / "gone"))
    reason = step_costs._run_job(job.recipe, [subject], engine(1), small_run.Listener())
    assert reason.startswith("info.json: no such file")
    assert "\n" not in reason


def test_a_run_measures_its_steps_once(finished: Path) -> None:
    results = load(finished)
    measured = [entry.step_cost is not None for entry in results.entries if entry.trained is not None]
    assert measured == [True] * len(measured)
    assert measured

    def fail(*arguments: object) -> None:
        raise AssertionError("steps are measured again")

    files = CandidateFiles({(48, "bilinear"): finished}, {})
    idle = replace(engine(1), run=fail)
    assert measure_step_costs(results, files, idle, small_run.Listener()) is results


def test_a_failure_is_said_and_leaves_the_results_as_they_are(own_run: Path) -> None:
    for file in own_run.glob(f"candidates/*/{STEP_COST}"):
        file.unlink()
    results = load(own_run)

    def die(jobs: list[CandidateJob], on_step: Callable[[CandidateJob, Step], None], on_done: object) -> None:
        record = worker.failure("a key", jobs[0].candidate, None, jobs[0].stage, RuntimeError("it died"))
        local.write_record(Path(jobs[0].folder) / local.FAILURE, record)

    files = CandidateFiles({(48, "bilinear"): own_run}, {})
    view = small_run.Listener()
    after = measure_step_costs(results, files, replace(engine(1), run=die), view)
    assert after.entries == results.entries
    assert "it died" in view.said[0]
