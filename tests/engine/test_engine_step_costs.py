from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import small_run

from pepr_edge.engine import step_costs
from pepr_edge.engine.job import CandidateFiles, CandidateJob
from pepr_edge.engine.step_costs import StepCostRequest, StepCostSubject, measure_step_costs
from pepr_edge.engine.this_machine import engine
from pepr_edge.records import StepCost
from pepr_edge.run_dir.layout import STEP_COST
from pepr_edge.run_dir.reader import load
from pepr_edge.run_dir.store import read_record


def request_of(job: CandidateJob, data: str) -> StepCostRequest:
    subject = StepCostSubject(
        candidate=job.candidate,
        data=data,
        folder=job.folder,
        key="a key",
        layout="contiguous",
        precision="float32",
        threads=1,
    )
    return StepCostRequest(recipe=job.recipe, exclusive=False, subjects=(subject,))


def test_a_process_writes_the_cost_of_each_candidate(make_job: Callable[..., CandidateJob]) -> None:
    job = make_job(workstation={"watts_per_core": 5.0})
    Path(job.folder).mkdir()
    blocks: list[str] = []
    assert step_costs._measure_in_process(request_of(job, job.data), blocks.append) == ""
    assert blocks == [job.candidate.id] * step_costs.ROUNDS
    cost = read_record(Path(job.folder) / STEP_COST, StepCost)
    assert (cost.key, cost.candidate) == ("a key", job.candidate)
    assert len(cost.duration_s) == len(cost.energy_j) == step_costs.ROUNDS


def test_a_process_that_fails_tells_why(make_job: Callable[..., CandidateJob], tmp_path: Path) -> None:
    job = make_job()
    reason = step_costs._measure_in_process(request_of(job, str(tmp_path / "gone")), lambda block: None)
    assert "gone" in reason
    assert "\n" not in reason


def test_a_run_measures_its_steps_once(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = load(finished)
    measured = [entry.step_cost is not None for entry in results.entries if entry.trained is not None]
    assert measured == [True] * len(measured)
    assert measured

    def fail(*arguments: object) -> str:
        raise AssertionError("steps are measured again")

    monkeypatch.setattr(step_costs, "_measure_in_process", fail)
    files = CandidateFiles({(48, "bilinear"): finished}, {})
    assert measure_step_costs(results, files, engine(1), small_run.Listener()) is results


def test_a_failure_is_said_and_leaves_the_results_as_they_are(
    own_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in own_run.glob(f"candidates/*/{STEP_COST}"):
        file.unlink()
    results = load(own_run)
    monkeypatch.setattr(step_costs, "_measure_in_process", lambda *arguments: "it died")
    files = CandidateFiles({(48, "bilinear"): own_run}, {})
    view = small_run.Listener()
    after = measure_step_costs(results, files, engine(1), view)
    assert after.entries == results.entries
    assert "it died" in view.said[0]
