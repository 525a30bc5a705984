"""A search in a run directory, its workers played by a script that writes the records which real ones leave."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import made_records
import pytest

from pepr_edge import pipeline
from pepr_edge.engine import this_machine
from pepr_edge.engine.job import CandidateJob
from pepr_edge.errors import ScoreError
from pepr_edge.ranking import rank
from pepr_edge.records import (
    CostProbe,
    Epoch,
    Failure,
    Quantity,
    ScreeningResult,
    SearchLog,
    TrainCost,
    TrainingState,
)
from pepr_edge.run_dir.reader import Results, entries, load
from pepr_edge.run_dir.store import read_record, write_record, write_text
from pepr_edge.search import drive
from pepr_edge.train.cost import nothing

EPOCHS, PROBE_J = 4, 1.0


@dataclass(frozen=True)
class Net:
    """What a candidate is like: seconds of an answer, joules of an epoch, validation performance after each. None: its training fails."""

    latency_s: float
    epoch_j: float
    curve: tuple[float, ...] | None


NETS = {
    "cheap": Net(0.001, 10.0, (0.6, 0.7, 0.75, 0.80)),
    "good": Net(0.002, 20.0, (0.7, 0.8, 0.90, 0.95)),
    "weak": Net(0.003, 30.0, (0.2, 0.2, 0.2, 0.2)),
    "huge": Net(0.100, 400.0, (0.9, 0.9, 0.9, 1.0)),
}


class Run:
    """A made run directory, and what was asked of its workers."""

    def __init__(self, folder: Path, nets: dict[str, Net], more: str, joules: bool = True) -> None:
        self.folder, self.nets, self.joules = folder, nets, joules
        self.bench = this_machine.measurement_host()
        self.asked: list[tuple[str, int | None]] = []
        self.said: list[str] = []
        info = made_records.info(*nets)
        text = made_records.RECIPE.replace(
            '"small", "middle", "large"', ", ".join(f'"{name}"' for name in nets)
        )
        write_text(folder / "recipe.toml", f"{text}[train]\nepochs = {EPOCHS}\n{more}")
        write_record(folder / "run.json", info)

    @property
    def results(self) -> Results:
        return load(self.folder)

    def search(self) -> SearchLog:
        drive.search(self.results, {64: self.folder}, this_machine.engine(1), self.bench, self)
        return read_record(self.folder / "search.json", SearchLog)

    def look(self, results: Results, *_: Any) -> dict[str, tuple[ScreeningResult, ...]]:
        found = {}
        for one in results.info.candidates:
            seen = made_records.profile(one.architecture, self.nets[one.architecture].latency_s)
            found[one.id] = (
                ScreeningResult(key="", candidate=one, variant="fp32", size_bytes=1000, profile=seen),
            )
        return found

    def work(self, jobs: Sequence[CandidateJob], *_: Any) -> None:
        for job in jobs:
            self.asked.append((job.candidate.architecture, job.until_epoch))
            net, folder = self.nets[job.candidate.architecture], Path(job.folder)
            if net.curve is None:
                write_record(
                    folder / "failure.json",
                    Failure(key=job.train_key, candidate=job.candidate, stage="train", reason="no number"),
                )
            elif job.until_epoch == 0:
                write_record(folder / "probe.json", self._probe(job, net))
                write_record(folder / "training.json", self._training(job, net, 0))
            else:
                assert job.until_epoch is not None
                write_record(folder / "training.json", self._training(job, net, job.until_epoch))

    def _cost(self, joules: float) -> TrainCost:
        energy = (
            Quantity(value=joules, method="declared")
            if self.joules
            else Quantity(value=None, method="unavailable")
        )
        second = Quantity(value=joules, method="measured")
        return nothing().model_copy(update={"energy_j": energy, "duration_s": second})

    def _probe(self, job: CandidateJob, net: Net) -> CostProbe:
        epoch, cost = self._cost(net.epoch_j), self._cost(PROBE_J)
        return CostProbe(
            key=job.train_key,
            candidate=job.candidate,
            num_params=1,
            layout="contiguous",
            precision="float32",
            steps=8,
            images_per_s=1.0,
            epoch_energy_j=epoch.energy_j,
            epoch_duration_s=epoch.duration_s,
            peak_memory_bytes=cost.peak_memory_bytes,
            gpu_peak_memory_bytes=cost.gpu_peak_memory_bytes,
            cost=cost,
        )

    def _training(self, job: CandidateJob, net: Net, epochs: int) -> TrainingState:
        assert net.curve is not None
        made = [
            Epoch(epoch=n + 1, train_loss=1.0, val_loss=1.0, val_performance=p, duration_s=1.0, energy_j=1.0)
            for n, p in enumerate(net.curve[:epochs])
        ]
        return TrainingState(
            key=job.train_key,
            candidate=job.candidate,
            num_params=1,
            layout="contiguous",
            precision="float32",
            probes=(),
            epochs=tuple(made),
            epochs_wanted=EPOCHS,
            best_epoch=epochs,
            cost=self._cost(PROBE_J + epochs * net.epoch_j),
        )

    def say(self, text: str) -> None:
        self.said.append(text)

    @contextmanager
    def bar(self, label: str) -> Any:
        yield self

    def to(self, done: int, total: int, note: str = "") -> None:
        pass

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "events.jsonl").read_text().splitlines()]


MakeRun = Callable[..., Run]


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeRun:
    """Make a run and put its script into the workers' place."""

    def make(more: str, nets: dict[str, Net] = NETS, joules: bool = True) -> Run:
        run = Run(tmp_path, nets, more, joules)
        monkeypatch.setattr(drive, "screen", run.look)
        monkeypatch.setattr(drive, "carry_out", run.work)
        return run

    return make


def verdicts(log: SearchLog) -> dict[str, tuple[str, int]]:
    return {one.candidate.removesuffix("@64"): (one.verdict, one.epochs) for one in log.candidates}


def to_be_made(run: Run) -> dict[str, tuple[int | None, bool]]:
    """What the next stage ends and exports: at which epoch, None for all, and whether it concludes there."""
    results = run.results
    jobs = [
        pipeline._job(results, one, {64: run.folder}, this_machine.engine(1))
        for one in results.info.candidates
    ]
    return {job.candidate.architecture: (job.until_epoch, job.conclude) for job in jobs if job is not None}


BOUNDED = '[search]\npolicy = "bounded"\nshare = 1.0\n'


def test_a_search_trains_what_may_win_and_says_what_it_spared(made: MakeRun) -> None:
    run = made(BOUNDED)
    log = run.search()
    assert verdicts(log) == {
        "cheap": ("finished", 4),
        "good": ("finished", 4),
        "weak": ("dropped", 1),
        "huge": ("skipped", 0),
    }
    # The first is trained on whatever comes of it, so in one go; the second only once its first epoch is good enough.
    assert [epoch for name, epoch in run.asked if name == "cheap"] == [0, 4]
    assert [epoch for name, epoch in run.asked if name == "good"] == [0, 1, 4]
    assert log.stopped == "no candidate is left that may win"
    assert log.spent_j == 4 * PROBE_J + 4 * 10 + 4 * 20 + 30
    assert log.saved_j == 3 * 30 + 4 * 400
    assert to_be_made(run) == {"cheap": (None, False), "good": (None, False)}
    costs = {one.candidate: one.r for one in log.candidates}
    assert (costs["cheap@64"], costs["huge@64"]) == (0.0, pytest.approx(2 / 3))  # all need the same memory


def test_every_decision_is_an_event_with_its_reason(made: MakeRun) -> None:
    run = made(BOUNDED)
    run.search()
    told = [
        (one["action"], one["candidate"], one["epoch"]) for one in run.events() if one["event"] == "search"
    ]
    assert told[:2] == [("train", "cheap@64", 4), ("train", "good@64", 1)]
    assert ("dropped", "weak@64", None) in told
    assert ("skipped", "huge@64", None) in told
    assert told[-1] == ("stop", None, None)
    assert all(one["reason"] for one in run.events())
    assert any(line.startswith("weak@64: dropped, after epoch 1: it needs") for line in run.said)


def test_a_killed_search_goes_on_where_it_was(made: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    run = made(BOUNDED)
    whole = run.search()
    whole_events = [one["action"] for one in run.events()]
    for path in (run.folder / "candidates", run.folder / "search.json", run.folder / "events.jsonl"):
        path.rename(path.with_name(f"{path.name}.whole"))
    asked, run.asked = run.asked, []

    kills = [0, 4, 5, 7]  # after so many jobs

    def killed(jobs: Sequence[CandidateJob], *rest: Any) -> None:
        if kills and len(run.asked) == kills[0]:
            raise KeyboardInterrupt
        run.work(jobs, *rest)

    monkeypatch.setattr(drive, "carry_out", killed)
    while kills:
        with pytest.raises(KeyboardInterrupt):
            run.search()
        kills.pop(0)
    again = run.search()
    assert again == whole
    assert run.asked == asked  # no probe and no epoch twice
    assert [one["action"] for one in run.events()].count("dropped") == whole_events.count("dropped") == 1


def test_the_limit_of_energy_stops_within_an_epoch_and_the_best_so_far_is_concluded(made: MakeRun) -> None:
    run = made("[search]\nmax_energy_wh = 0.01\n")  # 36 J
    log = run.search()
    assert verdicts(log) == {
        "cheap": ("concluded", 3),
        "good": ("open", 0),
        "weak": ("open", 0),
        "huge": ("open", 0),
    }
    assert log.spent_j == 4 * PROBE_J + 30
    assert log.stopped == "another epoch of cheap@64 would break max_energy_wh = 0.01"
    assert log.policy == "exhaustive"
    assert to_be_made(run) == {"cheap": (3, True)}


def test_not_even_the_cost_probes_go_far_beyond_a_limit(made: MakeRun) -> None:
    run = made("[search]\nmax_energy_wh = 0.0004\n")  # 1.44 J
    log = run.search()
    assert run.asked == [("cheap", 0), ("good", 0)]
    assert [one.verdict for one in log.candidates] == ["open", "open", "skipped", "skipped"]
    assert log.candidates[2].reason == "finding out what it costs would break max_energy_wh = 0.0004"
    assert log.spent_j == 2 * PROBE_J


def test_with_more_to_spend_a_search_takes_up_what_it_concluded(made: MakeRun) -> None:
    run = made("[search]\nmax_energy_wh = 0.01\n")
    run.search()
    text = (run.folder / "recipe.toml").read_text()
    write_text(run.folder / "recipe.toml", text.replace("0.01", "0.03"))
    write_record(run.folder / "run.json", run.results.info.model_copy(update={"key": "another"}))
    run.asked.clear()
    log = run.search()
    assert run.asked == [("cheap", 4), ("good", 1), ("good", 2), ("good", 3)]
    assert verdicts(log) == {
        "cheap": ("finished", 4),
        "good": ("open", 3),
        "weak": ("open", 0),
        "huge": ("open", 0),
    }


def test_what_breaks_a_budget_gets_no_joule_and_a_row_with_what_was_measured(made: MakeRun) -> None:
    run = made("[budgets]\nlatency_p90_ms = 2.5\n")
    log = run.search()
    assert run.asked == []  # every other candidate is trained to its end, by the stages that follow
    assert verdicts(log) == {
        "cheap": ("open", 0),
        "good": ("open", 0),
        "weak": ("rejected", 0),
        "huge": ("rejected", 0),
    }
    rows = {row.architecture: row for row in rank(run.results).rows}
    assert rows["weak"].status == rows["huge"].status == "over_budget"
    assert rows["weak"].reason == "before its training: fp32 latency at p90 3 ms, budget 2.5 ms"
    assert (rows["weak"].resources["latency"], rows["weak"].resources["train_energy"]) == (0.003, None)
    assert rows["cheap"].reason.startswith("not done yet")
    assert to_be_made(run) == {"cheap": (None, False), "good": (None, False)}
    results = run.results
    ended = [
        replace(entry, trained=made_records.trained("cheap", joules=40.0)) for entry in results.entries[:1]
    ]
    drive.finalise(replace(results, entries=tuple(ended)))
    after = read_record(run.folder / "search.json", SearchLog)
    assert after.candidates[0].verdict == "finished"
    assert (after.spent_j, after.saved_j) == (
        40.0,
        pytest.approx(3 * 40 + 100 * 40),
    )  # as they take 3 and 100 times as long


@pytest.mark.parametrize("search", ["", BOUNDED])
def test_what_a_slower_bench_ruled_out_is_decided_again(made: MakeRun, search: str) -> None:
    run = made(f"{search}[budgets]\nlatency_p90_ms = 2.5\n")
    before = verdicts(run.search())
    assert before["weak"] == before["huge"] == ("rejected", 0)
    run.nets = {name: replace(net, latency_s=0.0001) for name, net in NETS.items()}
    run.bench = replace(run.bench, machine=run.bench.machine.model_copy(update={"cpu": "quicker"}))
    drive.search(run.results, {64: run.folder}, this_machine.engine(1), run.bench, run)
    if search:
        after = read_record(run.folder / "search.json", SearchLog)
        assert after.machine == run.bench.machine
        assert "rejected" not in {one.verdict for one in after.candidates}
    else:
        assert not (run.folder / "search.json").exists()
        assert len(to_be_made(run)) == len(NETS)


def test_a_search_rejects_before_it_probes(made: MakeRun) -> None:
    run = made(BOUNDED + "[budgets]\nlatency_p90_ms = 2.5\n")
    log = run.search()
    assert {name for name, _ in run.asked} == {"cheap", "good"}
    assert verdicts(log)["huge"] == ("rejected", 0)
    assert (
        log.candidates[3].full_j is not None
    )  # by its latency, and what the others' trainings take for theirs
    assert log.saved_j is not None
    assert log.saved_j > log.candidates[3].full_j > 4 * 400


@pytest.mark.parametrize(
    "search", [BOUNDED, BOUNDED.replace("bounded", "halving"), "[search]\nmax_energy_wh = 1\n", ""]
)
def test_all_may_be_rejected(made: MakeRun, search: str) -> None:
    run = made(f"{search}[budgets]\nlatency_p90_ms = 0.5\n")
    log = run.search()
    assert {one.verdict for one in log.candidates} == {"rejected"}
    assert run.asked == []
    ranking = rank(run.results)
    assert [row.status for row in ranking.rows] == ["over_budget"] * 4
    assert [row.rank for row in ranking.rows] == [None] * 4


def test_a_ladder_that_was_never_climbed_has_a_row_of_its_own(made: MakeRun) -> None:
    run = made(BOUNDED)
    write_text(
        run.folder / "recipe.toml", (run.folder / "recipe.toml").read_text().replace('["fp32"]', '"auto"')
    )
    run.search()
    rows = {row.architecture: row for row in rank(run.results).rows}
    assert (rows["huge"].variant, rows["huge"].status, rows["huge"].resources["latency"]) == (
        "auto",
        "dropped",
        0.1,
    )


def test_without_budgets_and_policy_there_is_nothing_to_do(made: MakeRun) -> None:
    run = made("")
    drive.search(run.results, {64: run.folder}, this_machine.engine(1), this_machine.measurement_host(), run)
    assert sorted(path.name for path in run.folder.iterdir()) == ["recipe.toml", "run.json"]


def test_a_training_that_fails_is_out_and_the_search_goes_on(made: MakeRun) -> None:
    nets = {**NETS, "good": replace(NETS["good"], curve=None)}
    run = made(BOUNDED, nets)
    log = run.search()
    assert verdicts(log)["good"] == ("failed", 0)
    assert verdicts(log)["cheap"] == ("finished", 4)
    rows = {row.architecture: row for row in rank(run.results).rows}
    assert (rows["good"].status, rows["good"].reason) == ("failed", "train: no number")


def test_halving_drops_all_but_the_best_of_a_rung(made: MakeRun) -> None:
    log = made('[search]\npolicy = "halving"\n').search()
    found = verdicts(log)
    assert sorted(found.values()) == [("dropped", 1)] * 3 + [("finished", 4)]


def test_a_policy_that_weighs_costs_needs_them(made: MakeRun) -> None:
    with pytest.raises(
        ScoreError,
        match=r"train_energy of cheap@64 is not known\. Declare workstation\.watts_per_core, or leave",
    ):
        made(BOUNDED, joules=False).search()
    with pytest.raises(
        ScoreError, match=r"max_energy_wh = 0\.01, but what the search costs in that is not known"
    ):
        made("[search]\nmax_energy_wh = 0.01\n", joules=False).search()


def test_time_may_be_the_limit_where_energy_is_not_known(made: MakeRun) -> None:
    log = made("[search]\nmax_time_h = 0.01\n", joules=False).search()  # 36 s
    assert verdicts(log)["cheap"] == ("concluded", 3)
    assert (log.spent_j, log.saved_j) == (None, None)


def test_scores_are_those_of_the_whole_set(made: MakeRun, tmp_path: Path) -> None:
    """The bounds rest on what was spared as well; else the costliest that was trained would stand for the costliest of all."""
    run = made(BOUNDED)
    log = run.search()
    spared = {one.candidate: one for one in log.candidates}
    names = [made_records.candidate(name) for name in NETS]
    found = []
    for one in names:
        if spared[one.id].verdict == "finished":
            net = NETS[one.architecture]
            found.append(
                made_records.entry(
                    tmp_path / "made", one.architecture, joules=4 * net.epoch_j, method="declared"
                )
            )
        else:
            waiting = next(
                entry
                for entry in entries(run.folder, run.results.recipe, run.results.info)
                if entry.candidate == one
            )
            found.append(replace(waiting, pruned=spared[one.id]))
    ranking = rank(replace(run.results, entries=tuple(found)))
    assert ranking.bounds["train_energy"].hi == pytest.approx(PROBE_J + 4 * 400)
    assert ranking.bounds["latency"].hi == 0.1
    rows = {row.architecture: row for row in ranking.rows}
    assert [rows[name].status for name in NETS] == ["ok", "ok", "dropped", "dropped"]
    assert rows["huge"].reason.startswith("with performance 1 its PePR would be")
    assert rows["huge"].resources["train_energy"] == pytest.approx(PROBE_J + 4 * 400)
    assert rows["good"].normalised["train_energy"] == pytest.approx(40 / 1561, rel=0.01)
    report = made_records.field_report(made_records.bench("cheap", 0.002), made_records.bench("good", 0.003))
    there = rank(replace(run.results, entries=tuple(found)), field={"clinic.json": report})
    assert there.bounds["latency"].hi == 0.003  # nobody measured there what was never made
    assert [row.architecture for row in there.rows if row.rank is not None] == ["cheap", "good"]
