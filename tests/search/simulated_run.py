"""A run whose trainings and measurements are simulated, for tests of its search."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import made_records

from pepr_edge import pipeline
from pepr_edge.engine import this_machine
from pepr_edge.engine.job import CandidateFiles, CandidateJob
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
