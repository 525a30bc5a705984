"""Further seeds of a candidate: which are trained, and when that ends. The trainings are made up."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import made_records
import pytest

from pepr_edge.engine import this_machine
from pepr_edge.engine.job import CandidateFiles, CandidateJob
from pepr_edge.records import Epoch, Estimate, Failure, Quantity, Ranking, RankingRow
from pepr_edge.run_dir.layout import candidate_folder
from pepr_edge.run_dir.reader import Results, load
from pepr_edge.run_dir.store import write_record, write_text
from pepr_edge.search import repeats

NAMES = ("small", "middle", "large")
JOULES = 360.0  # of a training: 0.1 Wh, and as many seconds: 0.1 h


class Run:
    """A run directory whose trainings are written by a fake, and ranked by another.

    performances: on validation, by candidate and repeat; None: that training fails.
    first: the candidates that may be first, by the number of trainings that there are.
    """

    def __init__(
        self,
        folder: Path,
        train: str,
        more: str = "",
        performances: Mapping[tuple[str, int], float | None] | None = None,
        first: Callable[[int], set[str]] = lambda trainings: {"small", "middle"},
    ) -> None:
        self.folder = folder
        self.performances = performances or {}
        self.first = first
        self.jobs: list[tuple[str, int]] = []
        self.batches: list[int] = []
        self.said: list[str] = []
        info = made_records.info(*NAMES)
        write_record(folder / "run.json", info)
        write_text(folder / "recipe.toml", f"{made_records.RECIPE}[train]\nepochs = 1\n{train}\n{more}")

    @property
    def results(self) -> Results:
        return load(self.folder)

    def with_first_trainings(self) -> Run:
        results = self.results
        jobs = [
            repeats.make_job(results, one, self.files, this_machine.engine(1), "repeat")
            for one in results.info.candidates
        ]
        self.work(jobs, None, "", None)
        self.jobs.clear()
        self.batches.clear()
        return self

    @property
    def files(self) -> CandidateFiles:
        return CandidateFiles({(64, "bilinear"): self.folder}, {})

    def work(self, jobs: Sequence[CandidateJob], *given: Any) -> None:
        self.batches.append(len(jobs))
        for job in jobs:
            name = job.candidate.architecture
            self.jobs.append((name, job.repeat))
            assert job.recipe.seed == job.repeat
            performance = self.performances.get((name, job.repeat), 0.8)
            folder = Path(job.folder)
            if performance is None:
                failure = Failure(
                    key=job.train_key, candidate=job.candidate, stage="train", reason="loss nan"
                )
                write_record(folder / "failure.json", failure)
            else:
                self._write(folder, job, performance)
            if len(given) == 4:
                given[3](job)

    def _write(self, folder: Path, job: CandidateJob, performance: float) -> None:
        name = job.candidate.architecture
        estimate = Estimate(value=performance, ci=(0.0, 1.0), split="val", n=100)
        trained = made_records.trained(name, JOULES, "declared", job.train_key)
        nothing = Quantity(value=0.0, method="measured")
        others = {
            field: nothing
            for field in type(trained.cost).model_fields
            if field.endswith(("energy_j", "duration_s", "co2eq_g"))
        }
        times = {
            "energy_j": trained.cost.energy_j,
            "duration_s": Quantity(value=JOULES, method="measured"),
        }
        trained = trained.replace(
            performance={"val_accuracy": estimate},
            seed=job.recipe.seed,
            epochs=one_epoch(performance),
            cost=trained.cost.replace(**(others | times)),
        )
        write_record(folder / "train.json", trained)
        write_text(folder / trained.checkpoint, f"checkpoint {name}")

    def rank(self, results: Results) -> Ranking:
        counts = [len(results.trainings(one)) for one in results.info.candidates]
        first = self.first(sum(counts))
        rows = [
            RankingRow(
                rank=number,
                candidate=f"{name}@64",
                architecture=name,
                variant="fp32",
                status="ok",
                rank_ci=(1 if name in first else 2, 3),
            )
            for number, name in enumerate(NAMES, start=1)
        ]
        return made_ranking(rows, settled=len(first) == 1)

    def say(self, text: str) -> None:
        self.said.append(text)

    @contextmanager
    def bar(self, label: str) -> Any:
        yield self

    def update(self, done: int, total: int, note: str = "") -> None:
        pass

    def event(self) -> dict[str, Any]:
        """The last event of the kind "repeats"."""
        lines = (self.folder / "events.jsonl").read_text().splitlines()
        found: list[dict[str, Any]] = [json.loads(line) for line in lines]
        return [event for event in found if event["event"] == "repeats"][-1]

    def until_settled(self, parallel: int = 1) -> Results:
        engine = this_machine.engine(parallel)
        return repeats.repeat_until_settled(self.results, self.files, engine, self)


def one_epoch(performance: float) -> tuple[Epoch, ...]:
    epoch = Epoch(
        epoch=1, train_loss=1.0, val_loss=1.0, val_performance=performance, duration_s=1.0, energy_j=1.0
    )
    return (epoch,)


def made_ranking(rows: Sequence[RankingRow], settled: bool) -> Ranking:
    return Ranking(
        performance_metric="accuracy",
        performance_split="val",
        weights={},
        normalise="minmax",
        alpha=1.0,
        set_id="",
        device="made",
        data="made",
        majority_baseline=0.5,
        bounds={},
        rows=tuple(rows),
        settled=settled,
    )


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    def made(train: str, *given: Any, **named: Any) -> Run:
        run = Run(tmp_path, train, *given, **named)
        monkeypatch.setattr(repeats, "run_jobs", run.work)
        monkeypatch.setattr(repeats, "rank", run.rank)
        return run

    return made


MakeRun = Callable[..., Run]


def test_a_fixed_number_trains_every_seed_of_every_candidate(make: MakeRun) -> None:
    run = make("repeats = 2")
    results = repeats.train_repeats(run.results, run.files, this_machine.engine(1), run)
    assert run.jobs == [(name, repeat) for repeat in (0, 1) for name in NAMES]
    assert [sorted(results.trainings(one)) for one in results.info.candidates] == [[0, 1]] * 3
    run.jobs.clear()
    repeats.train_repeats(run.results, run.files, this_machine.engine(1), run)
    assert run.jobs == []


def test_one_training_is_left_to_the_job_that_exports_as_well(make: MakeRun) -> None:
    for train in ("", 'repeats = "auto"'):
        run = make(train)
        results = run.results
        assert repeats.train_repeats(results, run.files, this_machine.engine(1), run) is results
    assert run.jobs == []


def test_a_seed_that_failed_is_tried_again_and_does_not_stop_the_others(make: MakeRun) -> None:
    run = make("repeats = 3", performances={("small", 1): None})
    results = repeats.train_repeats(run.results, run.files, this_machine.engine(1), run)
    assert sorted(results.trainings(results.info.candidates[0])) == [0, 2]
    assert any("loss nan" in line for line in run.said)
    run.jobs.clear()
    repeats.train_repeats(run.results, run.files, this_machine.engine(1), run)
    assert run.jobs == [("small", 1)]


def test_a_fixed_number_keeps_the_stop_rules_of_the_search(make: MakeRun) -> None:
    # Six trainings would be 0.6 Wh.
    run = make("repeats = 2", "[search]\nmax_energy_wh = 0.45")
    repeats.train_repeats(run.results, run.files, this_machine.engine(1), run)
    assert run.jobs == [("small", 0), ("middle", 0), ("large", 0), ("small", 1)]
    assert "max_energy_wh = 0.45" in run.event()["reason"]


def test_only_candidates_that_may_be_first_are_repeated_until_it_is_settled(make: MakeRun) -> None:
    run = make(
        'repeats = "auto"', first=lambda trainings: {"middle", "large"} if trainings < 5 else {"large"}
    )
    run.with_first_trainings()
    results = run.until_settled()
    assert run.jobs == [("middle", 1), ("large", 1)]
    assert run.event()["settled"] is True
    assert run.event()["trainings"] == {"small@64": 1, "middle@64": 2, "large@64": 2}
    assert [len(entry.repeats) for entry in results.entries] == [1, 2, 2]


def test_repeats_end_at_their_max(make: MakeRun) -> None:
    run = make('repeats = "auto"\nmax_repeats = 2').with_first_trainings()
    run.until_settled()
    assert run.jobs == [("small", 1), ("middle", 1)]
    assert run.batches == [1, 1]
    assert "max_repeats = 2" in run.event()["reason"]
    assert run.event()["settled"] is False
    run.until_settled()
    assert len(run.jobs) == 2, "a second run goes on from what is there"


@pytest.mark.parametrize("enough", [3, 4])
def test_repeats_end_where_further_ones_like_these_would_not_settle_first_place(
    make: MakeRun, monkeypatch: pytest.MonkeyPatch, enough: int
) -> None:
    """First place would be settled with `enough` trainings of each candidate; three are allowed."""
    run = make('repeats = "auto"\nmax_repeats = 3').with_first_trainings()

    def ranked(results: Results) -> Ranking:
        counts = [len(entry.repeats) for entry in results.entries]
        # The spread over seeds is known as soon as one candidate has two.
        sources = ("images", "seeds") if max(counts) > 1 else ("images",)
        return run.rank(results).replace(sources=sources, settled=min(counts) >= enough)

    monkeypatch.setattr(repeats, "rank", ranked)
    run.until_settled()
    if enough == 4:
        assert run.jobs == [("small", 1)]
        assert "like those so far" in run.event()["reason"]
        assert run.event()["settled"] is False
    else:
        assert run.jobs == [("small", 1), ("middle", 1), ("small", 2), ("middle", 2)]


def test_the_candidate_with_fewer_trainings_is_repeated_first(make: MakeRun) -> None:
    run = make(
        'repeats = "auto"',
        first=lambda trainings: {"small", "middle"} if trainings < 5 else {"middle", "large"},
    )
    run.with_first_trainings().until_settled()
    assert run.jobs == [("small", 1), ("middle", 1), ("large", 1), ("middle", 2), ("large", 2)]


@pytest.mark.parametrize("rule", ["max_energy_wh = 0.45", "max_time_h = 0.45"])
def test_repeats_end_at_a_stop_rule_of_the_search(make: MakeRun, rule: str) -> None:
    run = make('repeats = "auto"', f"[search]\n{rule}").with_first_trainings()
    run.until_settled(parallel=2)
    # Three trainings have used 0.3; a fourth is paid for, and a fifth beside it is not.
    assert run.jobs == [("small", 1)]
    assert rule in run.event()["reason"]
    assert run.event()["settled"] is False


def test_a_candidate_whose_repeat_fails_is_not_repeated_for_ever(make: MakeRun) -> None:
    performances = {("small", 1): None, ("middle", 1): None}
    run = make('repeats = "auto"', performances=performances).with_first_trainings()
    run.until_settled()
    assert run.jobs == [("small", 1), ("middle", 1)]
    assert "failed" in run.event()["reason"]


def test_a_candidate_alone_is_settled(make: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make('repeats = "auto"').with_first_trainings()
    monkeypatch.setattr(
        repeats, "rank", lambda results: made_ranking(run.rank(results).rows[:1], settled=False)
    )
    run.until_settled()
    assert run.jobs == []
    assert run.event()["settled"] is True


def unsettled_below(run: Run, trainings: int) -> Callable[[Results], Ranking]:
    """A ranking that is settled from this number of trainings on."""

    def rank(results: Results) -> Ranking:
        count = sum(len(results.trainings(one)) for one in results.info.candidates)
        return run.rank(results).replace(settled=count >= trainings)

    return rank


def test_a_first_place_that_another_run_may_change_repeats_the_next_in_rank(
    make: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make('repeats = "auto"', first=lambda trainings: {"middle"}).with_first_trainings()
    monkeypatch.setattr(repeats, "rank", unsettled_below(run, 7))
    run.until_settled()
    assert run.jobs == [("middle", 1), ("small", 1), ("middle", 2), ("small", 2)]
    assert run.event()["settled"] is True


def test_variants_of_one_candidate_are_not_told_apart_by_seeds(
    make: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make('repeats = "auto"').with_first_trainings()

    def two_variants(results: Results) -> Ranking:
        small, middle, _ = run.rank(results).rows
        variants = [small, small.replace(rank=2, variant="int8"), middle.replace(rank=3, rank_ci=(3, 3))]
        return made_ranking(variants, settled=False)

    monkeypatch.setattr(repeats, "rank", two_variants)
    run.until_settled()
    assert run.jobs == [("small", 1)]
    assert "variants" in run.event()["reason"]


def test_what_a_stop_rule_leaves_is_used(make: MakeRun) -> None:
    run = make("repeats = 2", "[search]\nmax_energy_wh = 0.45")
    repeats.train_repeats(run.results, run.files, this_machine.engine(2), run)
    assert run.jobs == [("small", 0), ("middle", 0), ("large", 0), ("small", 1)]


def test_rows_that_are_not_ok_take_no_part(make: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make('repeats = "auto"').with_first_trainings()

    def all_over_budget(results: Results) -> Ranking:
        rows = [row.replace(status="over_budget", rank=None) for row in run.rank(results).rows]
        return made_ranking(rows, settled=False)

    monkeypatch.setattr(repeats, "rank", all_over_budget)
    run.until_settled()
    assert run.jobs == []
    assert "no candidate" in run.event()["reason"]


def test_artifacts_stay_those_of_the_first_seed_until_all_are_trained(make: MakeRun) -> None:
    run = make('repeats = "auto"\nmax_repeats = 2', performances={("small", 1): 0.9}).with_first_trainings()
    results = run.until_settled()
    small, middle = results.info.candidates[:2]
    assert [len(results.trainings(one)) for one in (small, middle)] == [2, 2]
    assert results.deployed_repeat(small) == 0
    assert repeats.to_deploy(results) == [small]
    assert run.results.deployed_repeat(small) == 1, "read again, the better seed is deployed"


def test_a_repeat_has_its_own_folder_key_and_seed(make: MakeRun) -> None:
    run = make("repeats = 2")
    results = run.results
    small = results.info.candidates[0]
    jobs = [
        repeats.make_job(results, small, run.files, this_machine.engine(1), "repeat", repeat=repeat)
        for repeat in (0, 2)
    ]
    folder = candidate_folder(run.folder, small)
    assert [job.folder for job in jobs] == [str(folder), str(folder / "seed-2")]
    assert [job.recipe.seed for job in jobs] == [0, 2]
    assert jobs[0].train_key != jobs[1].train_key
    assert jobs[1].training_folder == folder / "seed-2"
    assert "seed 2" in jobs[1].label
