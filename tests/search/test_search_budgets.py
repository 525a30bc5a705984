"""The search of a run under budgets and limits: what is not trained, and why."""

from __future__ import annotations

from dataclasses import replace

import made_records
import pytest
from simulated_run import BOUNDED, NETS, PROBE_J, MakeRun, next_jobs, verdicts

from pepr_edge.engine import this_machine
from pepr_edge.engine.job import CandidateFiles
from pepr_edge.ranking import rank
from pepr_edge.records import (
    SearchLog,
)
from pepr_edge.run_dir.store import read_record, write_record, write_text
from pepr_edge.search import candidate_search


def test_the_energy_limit_stops_a_training_and_the_best_so_far_is_concluded(made: MakeRun) -> None:
    run = made("[search]\nmax_energy_wh = 0.01\n")  # 36 J
    log = run.search()
    assert verdicts(log) == {
        "cheap": ("concluded", 3),
        "good": ("open", 0),
        "weak": ("open", 0),
        "huge": ("open", 0),
    }
    assert log.spent_j == 4 * PROBE_J + 30
    assert "cheap@64" in log.stopped
    assert "max_energy_wh = 0.01" in log.stopped
    assert log.policy == "exhaustive"
    assert next_jobs(run) == {"cheap": ("conclude", 3)}


def test_cost_probes_stop_at_a_limit(made: MakeRun) -> None:
    run = made("[search]\nmax_energy_wh = 0.0004\n")  # 1.44 J
    log = run.search()
    assert run.jobs == [("cheap", 0), ("good", 0)]
    assert [searched.verdict for searched in log.candidates] == ["open", "open", "skipped", "skipped"]
    assert "max_energy_wh = 0.0004" in log.candidates[2].reason
    assert log.spent_j == 2 * PROBE_J


def test_a_higher_limit_continues_a_concluded_training(made: MakeRun) -> None:
    run = made("[search]\nmax_energy_wh = 0.01\n")
    run.search()
    text = (run.folder / "recipe.toml").read_text()
    write_text(run.folder / "recipe.toml", text.replace("0.01", "0.03"))
    write_record(run.folder / "run.json", run.results.info.model_copy(update={"key": "another"}))
    run.jobs.clear()
    log = run.search()
    assert run.jobs == [("cheap", 4), ("good", 1), ("good", 2), ("good", 3)]
    assert verdicts(log) == {
        "cheap": ("finished", 4),
        "good": ("open", 3),
        "weak": ("open", 0),
        "huge": ("open", 0),
    }


def test_a_candidate_that_breaks_a_budget_is_not_trained_and_has_a_row(made: MakeRun) -> None:
    run = made("[budgets]\nlatency_p90_ms = 2.5\n")
    log = run.search()
    assert run.jobs == []  # every other candidate is trained to its end, by the stages that follow
    assert verdicts(log) == {
        "cheap": ("open", 0),
        "good": ("open", 0),
        "weak": ("rejected", 0),
        "huge": ("rejected", 0),
    }
    rows = {row.architecture: row for row in rank(run.results).rows}
    assert rows["weak"].status == rows["huge"].status == "over_budget"
    assert "latency at p90 3 ms, budget 2.5 ms" in rows["weak"].reason
    assert (rows["weak"].resources["latency"], rows["weak"].resources["train_energy"]) == (0.003, None)
    assert rows["cheap"].reason.startswith("not done yet")
    assert next_jobs(run) == {"cheap": ("complete", None), "good": ("complete", None)}
    results = run.results
    trained = made_records.trained("cheap", joules=40.0)
    ended = [replace(entry, trained=trained, repeats=(trained,)) for entry in results.entries[:1]]
    candidate_search.complete_search_log(replace(results, entries=tuple(ended)))
    after = read_record(run.folder / "search.json", SearchLog)
    assert after.candidates[0].verdict == "finished"
    setup = trained.cost.setup_energy_j
    assert setup is not None
    assert setup.value
    assert after.spent_j == 40.0 + setup.value
    assert after.saved_j == pytest.approx(3 * 40 + 100 * 40)  # their latencies are 3 and 100 times as long


@pytest.mark.parametrize("search", ["", BOUNDED])
def test_rejections_of_a_slower_device_are_decided_again(made: MakeRun, search: str) -> None:
    run = made(f"{search}[budgets]\nlatency_p90_ms = 2.5\n")
    before = verdicts(run.search())
    assert before["weak"] == before["huge"] == ("rejected", 0)
    run.nets = {name: replace(net, latency_s=0.0001) for name, net in NETS.items()}
    run.host = replace(run.host, machine=run.host.machine.model_copy(update={"cpu": "quicker"}))
    candidate_search.search(
        run.results, CandidateFiles({(64, "bilinear"): run.folder}, {}), this_machine.engine(1), run.host, run
    )
    if search:
        after = read_record(run.folder / "search.json", SearchLog)
        assert after.machine == run.host.machine
        assert "rejected" not in {searched.verdict for searched in after.candidates}
    else:
        assert not (run.folder / "search.json").exists()
        assert len(next_jobs(run)) == len(NETS)


def test_rejected_candidates_are_not_probed(made: MakeRun) -> None:
    run = made(BOUNDED + "[budgets]\nlatency_p90_ms = 2.5\n")
    log = run.search()
    assert {name for name, _ in run.jobs} == {"cheap", "good"}
    assert verdicts(log)["huge"] == ("rejected", 0)
    # By its latency, and the ratio of training energy to latency of the others.
    assert log.candidates[3].full_j is not None
    assert log.saved_j is not None
    assert log.saved_j > log.candidates[3].full_j > 4 * 400


@pytest.mark.parametrize(
    "search", [BOUNDED, BOUNDED.replace("bounded", "halving"), "[search]\nmax_energy_wh = 1\n", ""]
)
def test_all_candidates_can_be_rejected(made: MakeRun, search: str) -> None:
    run = made(f"{search}[budgets]\nlatency_p90_ms = 0.5\n")
    log = run.search()
    assert {searched.verdict for searched in log.candidates} == {"rejected"}
    assert run.jobs == []
    ranking = rank(run.results)
    assert [row.status for row in ranking.rows] == ["over_budget"] * 4
    assert [row.rank for row in ranking.rows] == [None] * 4


def test_an_autotune_that_never_ran_has_a_row(made: MakeRun) -> None:
    run = made(BOUNDED)
    write_text(
        run.folder / "recipe.toml", (run.folder / "recipe.toml").read_text().replace('["fp32"]', '"auto"')
    )
    run.search()
    rows = {row.architecture: row for row in rank(run.results).rows}
    assert (rows["huge"].variant, rows["huge"].status) == ("auto", "dropped")
    assert rows["huge"].resources["latency"] == 0.1


def test_without_budgets_and_policy_there_is_nothing_to_do(made: MakeRun) -> None:
    run = made("")
    candidate_search.search(
        run.results,
        CandidateFiles({(64, "bilinear"): run.folder}, {}),
        this_machine.engine(1),
        this_machine.measurement_host(),
        run,
    )
    assert sorted(path.name for path in run.folder.iterdir()) == ["recipe.toml", "run.json"]


def test_a_time_limit_needs_no_energy(made: MakeRun) -> None:
    log = made("[search]\nmax_time_h = 0.01\n", joules=False).search()  # 36 s
    assert verdicts(log)["cheap"] == ("concluded", 3)
    assert (log.spent_j, log.saved_j) == (None, None)
