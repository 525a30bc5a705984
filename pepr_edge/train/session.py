"""A training held open: opened where it stopped, advanced an epoch at a time, each of them kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from pepr_edge.data import Dataset
from pepr_edge.energy.meter import Meter, MeterSettings
from pepr_edge.measure.memory import peak_memory_bytes
from pepr_edge.recipe import Recipe
from pepr_edge.records import Candidate, InterruptionLoss, Preprocess, ProbeResult, TrainCost, TrainingState
from pepr_edge.run_dir.store import read_current, read_record
from pepr_edge.run_dir.training_files import TRAINING
from pepr_edge.train.checkpoint_io import find, save
from pepr_edge.train.cost import lost, nothing, total_s
from pepr_edge.train.cost_tracker import CostTracker, read_snapshot
from pepr_edge.train.loop import batch, loss_function, optimiser
from pepr_edge.train.models import head_parameters
from pepr_edge.train.setup import choose_device, untrained
from pepr_edge.train.step import Mode, probe
from pepr_edge.train.trainer import Progress, Trainer


@dataclass(frozen=True)
class TrainingTask:
    """A candidate to be trained: on what, how, and where its files go.

    `key` is the hash of all that the result depends on. `exclusive`: no other job runs on this machine, so its energy counters are ours
    alone. `progress` is called after each step.
    """

    candidate: Candidate
    data: Dataset
    recipe: Recipe
    folder: Path
    key: str
    threads: int
    exclusive: bool
    progress: Progress


@dataclass(frozen=True)
class TrainingSession:
    """A training held open in this process. `lost` is what interruptions took from it before."""

    task: TrainingTask
    trainer: Trainer
    spec: Preprocess
    probes: tuple[ProbeResult, ...]
    cost_tracker: CostTracker
    lost: InterruptionLoss

    @property
    def device(self) -> torch.device:
        """Where it trains."""
        return self.trainer.step.device

    def advance(self, until_epoch: int | None) -> None:
        """Train to the end, or until so many epochs are done. What is kept on the way is no part of the cost.

        Raises:
            ModelError: the training fails.
        """
        while not self.trainer.over and (until_epoch is None or len(self.trainer.epochs) < until_epoch):
            self.trainer.advance(self.cost_tracker, self.task.progress)
            self.save()

    def save(self) -> None:
        """Write down how far it is, and all that it takes to go on."""
        self.note_peaks()
        save(self.task.folder, self.record(), self.trainer.state() if self.trainer.epochs else None)

    def save_account(self) -> None:
        """Write down what it has cost by now; what it goes on from stays as it was."""
        training = read_record(self.task.folder / TRAINING, TrainingState)
        save(
            self.task.folder,
            training.model_copy(update={"cost": self.cost_tracker.cost, "lost": self.lost}),
            None,
        )

    def note_peaks(self) -> None:
        """The greatest memory by now, into the cost."""
        gpu = torch.cuda.max_memory_reserved(self.device) if self.device.type == "cuda" else None
        self.cost_tracker.peaks(peak_memory_bytes(), gpu)

    def record(self) -> TrainingState:
        """How far it is."""
        trainer = self.trainer
        return TrainingState(
            key=self.task.key,
            candidate=self.task.candidate,
            num_params=trainer.num_params,
            layout=trainer.mode.layout,
            precision=trainer.mode.precision,
            probes=self.probes,
            epochs=trainer.epochs,
            epochs_wanted=self.task.recipe.train.epochs,
            best_epoch=trainer.best_epoch,
            stopped_early=trainer.stopped_early,
            cost=self.cost_tracker.cost,
            lost=self.lost,
        )


@contextmanager
def open_session(task: TrainingTask) -> Iterator[TrainingSession]:
    """A candidate's training, where it stopped if it was begun, else with the fastest mode chosen and no epoch done.

    A training keeps the mode that it began in, whatever a probe would say by now.

    Raises:
        ModelError: the model cannot be built, or no training step works.
    """
    settings, recipe = task.recipe.train, task.recipe
    device = choose_device(settings.device)
    model, spec = untrained(task.candidate, task.data, recipe, task.threads)
    if settings.mode == "head":
        _freeze_backbone(model)
    model = model.to(device)
    found = find(task.folder, task.key)
    cost, gone = _account(task, found[0] if found else None)
    with Meter(_meter_settings(recipe, device, task.exclusive)) as meter:
        cost_tracker = CostTracker(
            task.folder, task.key, meter, recipe.workstation.country, cost, gone.interruptions
        )
        if gone.interruptions:
            cost_tracker.write()  # should this process be interrupted as well, that is one more
        mode, probes = _mode(found[0]) if found else _probe(model, task.data, spec, recipe, cost_tracker)
        trainer = Trainer(
            mode.place(model, device), mode, task.data, spec, settings, recipe.score.performance, recipe.seed
        )
        run = TrainingSession(task, trainer, spec, probes, cost_tracker, gone)
        if found is None:
            run.save()
        elif found[1] is not None:
            trainer.restore(found[1], found[0].epochs, found[0].best_epoch)
        yield run


def _account(task: TrainingTask, found: TrainingState | None) -> tuple[TrainCost, InterruptionLoss]:
    """All that was spent on it, and what of that is lost: as much as is beyond what the training goes on from."""
    kept, before = (found.cost, found.lost) if found else (nothing(), InterruptionLoss())
    known = [(kept, before.interruptions)]
    # Even where its state is torn, a record says what was spent.
    if (record := read_current(task.folder / TRAINING, TrainingState, task.key)) is not None:
        known.append((record.cost, record.lost.interruptions))
    if (spent := read_snapshot(task.folder, task.key)) is not None:
        known.append((spent.cost, spent.interruptions))
    cost, interruptions = max(known, key=lambda pair: total_s(pair[0]))
    return (
        (cost, lost(before, kept, cost, interruptions + 1))
        if total_s(cost) > total_s(kept)
        else (kept, before)
    )


def _meter_settings(recipe: Recipe, device: torch.device, exclusive: bool) -> MeterSettings:
    return MeterSettings(
        watts_per_core=recipe.workstation.watts_per_core,
        gpu_watts=recipe.workstation.gpu_watts,
        uses_gpu=device.type == "cuda",
        exclusive=exclusive,
    )


def _forget_peak(device: torch.device) -> None:
    """Give back what the probe held on the GPU: the peak is to be that of the mode that was chosen."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def _freeze_backbone(model: nn.Module) -> None:
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for parameter in head_parameters(model):
        parameter.requires_grad_(True)


def _mode(training: TrainingState) -> tuple[Mode, tuple[ProbeResult, ...]]:
    return Mode(training.layout, training.precision), training.probes


def _probe(
    model: nn.Module, data: Dataset, spec: Preprocess, recipe: Recipe, cost_tracker: CostTracker
) -> tuple[Mode, tuple[ProbeResult, ...]]:
    """The fastest mode on one real batch."""
    settings, (pixels, labels) = recipe.train, data.splits["train"]
    device = next(model.parameters()).device

    def made(trial: nn.Module) -> torch.optim.Optimizer:
        cost_tracker.tick()
        return optimiser(settings, trial)

    cost_tracker.begin("training")
    images, targets = batch((pixels, labels), np.arange(min(settings.batch_size, len(labels))), spec, device)
    model.train()
    mode, results = probe(
        model, images, targets, made, loss_function(settings, labels, len(data.info.labels), device)
    )
    cost_tracker.end()
    _forget_peak(device)
    return mode, tuple(results)
