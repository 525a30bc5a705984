"""A search in a run directory. A fake in place of the workers writes the records that real workers leave."""

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
from pepr_edge.engine.job import CandidateFiles, CandidateJob
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
from pepr_edge.run_dir.reader import Results, load
from pepr_edge.run_dir.store import read_record, write_record, write_text
from pepr_edge.search import candidate_search
from pepr_edge.train.cost import no_cost

EPOCHS = 4
PROBE_J = 1.0


@dataclass(frozen=True)
class Net:
    """A candidate: latency, energy of an epoch, validation performance by epoch (None: training fails)."""

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
    """A run directory, and the jobs that its workers got (`jobs`) and the messages (`said`)."""

    def __init__(self, folder: Path, nets: dict[str, Net], more: str, joules: bool = True) -> None:
        self.folder = folder
        self.nets = nets
        self.joules = joules
        self.host = this_machine.measurement_host()
        self.jobs: list[tuple[str, int | None]] = []
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
        candidate_search.search(
            self.results,
            CandidateFiles({(64, "bilinear"): self.folder}, {}),
            this_machine.engine(1),
            self.host,
            self,
        )
        return read_record(self.folder / "search.json", SearchLog)

    def screen(self, results: Results, *_: Any) -> dict[str, tuple[ScreeningResult, ...]]:
        screenings: dict[str, tuple[ScreeningResult, ...]] = {}
        for candidate in results.info.candidates:
            name = candidate.architecture
            profile = made_records.profile(name, self.nets[name].latency_s)
            screening = ScreeningResult(
                key="", candidate=candidate, variant="fp32", size_bytes=1000, profile=profile
            )
            screenings[candidate.id] = (screening,)
        return screenings

    def work(self, jobs: Sequence[CandidateJob], *_: Any) -> None:
        for job in jobs:
            name = job.candidate.architecture
            folder = Path(job.folder)
            epochs = 0 if job.kind == "probe" else job.until_epoch
            self.jobs.append((name, epochs))
            if self.nets[name].curve is None:
                failure = Failure(
                    key=job.train_key, candidate=job.candidate, stage="train", reason="no number"
                )
                write_record(folder / "failure.json", failure)
                continue
            if job.kind == "probe":
                write_record(folder / "probe.json", self._probe(job, self.nets[name]))
            assert epochs is not None
            write_record(folder / "training.json", self._training(job, self.nets[name], epochs))

    def _cost(self, joules: float) -> TrainCost:
        energy = Quantity(value=None, method="unavailable")
        if self.joules:
            energy = Quantity(value=joules, method="declared")
        duration = Quantity(value=joules, method="measured")
        return no_cost().replace(energy_j=energy, duration_s=duration)

    def _probe(self, job: CandidateJob, net: Net) -> CostProbe:
        epoch = self._cost(net.epoch_j)
        cost = self._cost(PROBE_J)
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
        trained = [
            Epoch(
                epoch=number,
                train_loss=1.0,
                val_loss=1.0,
                val_performance=performance,
                duration_s=1.0,
                energy_j=1.0,
            )
            for number, performance in enumerate(net.curve[:epochs], start=1)
        ]
        return TrainingState(
            key=job.train_key,
            candidate=job.candidate,
            num_params=1,
            layout="contiguous",
            precision="float32",
            probes=(),
            epochs=tuple(trained),
            epochs_wanted=EPOCHS,
            best_epoch=epochs,
            cost=self._cost(PROBE_J + epochs * net.epoch_j),
        )

    def say(self, text: str) -> None:
        self.said.append(text)

    @contextmanager
    def bar(self, label: str) -> Any:
        yield self

    def update(self, done: int, total: int, note: str = "") -> None:
        pass

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "events.jsonl").read_text().splitlines()]


MakeRun = Callable[..., Run]


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeRun:
    """Make a run whose workers are a fake."""

    def make(more: str, nets: dict[str, Net] = NETS, joules: bool = True) -> Run:
        run = Run(tmp_path, nets, more, joules)
        monkeypatch.setattr(candidate_search, "screen", run.screen)
        monkeypatch.setattr(candidate_search, "run_jobs", run.work)
        return run

    return make


def verdicts(log: SearchLog) -> dict[str, tuple[str, int]]:
    return {
        searched.candidate.removesuffix("@64"): (searched.verdict, searched.epochs)
        for searched in log.candidates
    }


def next_jobs(run: Run) -> dict[str, tuple[str, int | None]]:
    """The jobs of the next stage by candidate: their kind, and their last epoch (None: all)."""
    results = run.results
    jobs = [
        pipeline._training_job(
            results, candidate, CandidateFiles({(64, "bilinear"): run.folder}, {}), this_machine.engine(1)
        )
        for candidate in results.info.candidates
    ]
    return {job.candidate.architecture: (job.kind, job.until_epoch) for job in jobs if job is not None}


BOUNDED = '[search]\npolicy = "bounded"\nshare = 1.0\n'


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


def test_the_search_continues_after_a_failed_training(made: MakeRun) -> None:
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


def test_unknown_costs_that_a_policy_needs_are_an_error(made: MakeRun) -> None:
    with pytest.raises(ScoreError, match=r"max_energy_wh = 0\.01, but .* is not known"):
        made("[search]\nmax_energy_wh = 0.01\n", joules=False).search()


def test_without_energy_a_search_weighs_training_time(made: MakeRun) -> None:
    log = made(BOUNDED, joules=False).search()
    assert (log.spent_j, log.saved_j) == (None, None)
    assert verdicts(log)["cheap"] == ("finished", 4)
    assert any(epochs == 0 for _, epochs in verdicts(log).values())


def test_a_time_limit_needs_no_energy(made: MakeRun) -> None:
    log = made("[search]\nmax_time_h = 0.01\n", joules=False).search()  # 36 s
    assert verdicts(log)["cheap"] == ("concluded", 3)
    assert (log.spent_j, log.saved_j) == (None, None)


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
