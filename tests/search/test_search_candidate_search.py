from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import made_records
import pytest
from simulated_run import BOUNDED, NETS, PROBE_J, MakeRun, next_jobs, verdicts

from pepr_edge.engine.job import CandidateJob
from pepr_edge.errors import ScoreError
from pepr_edge.ranking import rank
from pepr_edge.search import candidate_search


def test_a_search_trains_candidates_that_may_win_and_logs_its_savings(made: MakeRun) -> None:
    run = made(BOUNDED)
    log = run.search()
    assert verdicts(log) == {
        "cheap": ("finished", 4),
        "good": ("finished", 4),
        "weak": ("dropped", 1),
        "huge": ("skipped", 0),
    }
    # One job trains the first candidate to its end; the second continues after a first epoch that is good
    # enough.
    assert [epoch for name, epoch in run.jobs if name == "cheap"] == [0, 4]
    assert [epoch for name, epoch in run.jobs if name == "good"] == [0, 1, 4]
    assert "no candidate is left" in log.stopped
    assert log.spent_j == 4 * PROBE_J + 4 * 10 + 4 * 20 + 30
    assert log.saved_j == 3 * 30 + 4 * 400
    assert next_jobs(run) == {"cheap": ("complete", None), "good": ("complete", None)}
    costs = {searched.candidate: searched.r for searched in log.candidates}
    assert (costs["cheap@64"], costs["huge@64"]) == (0.0, pytest.approx(2 / 3))  # all need the same memory


def test_a_job_trains_a_share_of_the_epochs(made: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidate_search, "DECISIONS", 2)
    run = made(BOUNDED)
    log = run.search()
    assert [epoch for name, epoch in run.jobs if name == "good"] == [0, 2, 4]
    assert verdicts(log)["weak"] == ("dropped", 2)
    assert log.spent_j == 4 * PROBE_J + 4 * 10 + 4 * 20 + 2 * 30


def test_every_decision_is_an_event_with_its_reason(made: MakeRun) -> None:
    run = made(BOUNDED)
    run.search()
    actions = [
        (event["action"], event["candidate"], event["epoch"])
        for event in run.events()
        if event["event"] == "search"
    ]
    assert actions[:2] == [("train", "cheap@64", 4), ("train", "good@64", 1)]
    assert ("dropped", "weak@64", None) in actions
    assert ("skipped", "huge@64", None) in actions
    assert actions[-1] == ("stop", None, None)
    assert all(event["reason"] for event in run.events())
    assert any(line.startswith("weak@64: dropped") for line in run.said)


def test_a_killed_search_continues(made: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    run = made(BOUNDED)
    whole = run.search()
    whole_events = [event["action"] for event in run.events()]
    for path in (run.folder / "candidates", run.folder / "search.json", run.folder / "events.jsonl"):
        path.rename(path.with_name(f"{path.name}.whole"))
    jobs = run.jobs
    run.jobs = []

    kills = [0, 4, 5, 7]  # after so many jobs

    def killed(jobs: Sequence[CandidateJob], *rest: Any) -> None:
        if kills and len(run.jobs) == kills[0]:
            raise KeyboardInterrupt
        run.work(jobs, *rest)

    monkeypatch.setattr(candidate_search, "run_jobs", killed)
    while kills:
        with pytest.raises(KeyboardInterrupt):
            run.search()
        kills.pop(0)
    again = run.search()
    assert again == whole
    assert run.jobs == jobs  # no probe and no epoch twice
    assert whole_events.count("dropped") == 1
    assert [event["action"] for event in run.events()].count("dropped") == 1


def test_the_search_continues_after_a_failed_training(made: MakeRun) -> None:
    nets = {**NETS, "good": replace(NETS["good"], curve=None)}
    run = made(BOUNDED, nets)
    log = run.search()
    assert verdicts(log)["good"] == ("failed", 0)
    assert verdicts(log)["cheap"] == ("finished", 4)
    rows = {row.architecture: row for row in rank(run.results).rows}
    assert (rows["good"].status, rows["good"].reason) == ("failed", "train: no number")


def test_a_failed_screening_gives_its_reason(made: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    run = made(BOUNDED)
    fault = "threads = 4 asked for, but openvino uses 1 here."

    def screen(*arguments: Any) -> Any:
        screened = run.screen(*arguments)
        failed = [found.replace(profile=None, reason=fault) for found in screened["good@64"]]
        return {**screened, "good@64": tuple(failed)}

    monkeypatch.setattr(candidate_search, "screen", screen)
    log = run.search()
    reasons = {searched.candidate: searched.reason for searched in log.candidates}
    assert reasons["good@64"] == (
        "it could not be measured before its training: threads = 4 asked for, but openvino uses 1 here"
    )
    assert verdicts(log)["cheap"] == ("finished", 4)


def test_halving_drops_all_but_the_best_of_a_rung(made: MakeRun) -> None:
    log = made('[search]\npolicy = "halving"\n').search()
    found = verdicts(log)
    assert sorted(found.values()) == [("dropped", 1)] * 3 + [("finished", 4)]


def test_unknown_costs_that_a_policy_needs_are_an_error(made: MakeRun) -> None:
    with pytest.raises(ScoreError, match=r"max_energy_wh = 0\.01, but .* is not known"):
        made("[search]\nmax_energy_wh = 0.01\n", joules=False).search()


def test_without_energy_a_search_weighs_training_time(made: MakeRun) -> None:
    log = made(BOUNDED, joules=False).search()
    assert (log.spent_j, log.saved_j) == (None, None)
    assert verdicts(log)["cheap"] == ("finished", 4)
    assert any(epochs == 0 for _, epochs in verdicts(log).values())


def test_bounds_include_pruned_candidates(made: MakeRun, tmp_path: Path) -> None:
    """Without pruned candidates the costliest trained one would be the upper bound."""
    run = made(BOUNDED)
    log = run.search()
    entries = []
    for entry, searched in zip(run.results.entries, log.candidates, strict=True):
        name = entry.candidate.architecture
        if searched.verdict == "finished":
            joules = 4 * NETS[name].epoch_j
            entries.append(made_records.entry(tmp_path / "made", name, joules=joules, method="declared"))
        else:
            entries.append(replace(entry, pruned=searched))
    ranking = rank(replace(run.results, entries=tuple(entries)))
    assert ranking.bounds["train_energy"].hi == pytest.approx(PROBE_J + 4 * 400)
    assert ranking.bounds["latency"].hi == 0.1
    rows = {row.architecture: row for row in ranking.rows}
    assert [rows[name].status for name in NETS] == ["ok", "ok", "dropped", "dropped"]
    assert rows["huge"].reason.startswith("with performance 1 its PePR would be")
    assert rows["huge"].resources["train_energy"] == pytest.approx(PROBE_J + 4 * 400)
    assert rows["good"].normalised["train_energy"] == pytest.approx(40 / 1561, rel=0.01)
    report = made_records.field_report(made_records.bench("cheap", 0.002), made_records.bench("good", 0.003))
    there = rank(replace(run.results, entries=tuple(entries)), field={"clinic.json": report})
    assert there.bounds["latency"].hi == 0.003  # pruned candidates were not measured there
    assert [row.architecture for row in there.rows if row.rank is not None] == ["cheap", "good"]
