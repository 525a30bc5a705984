"""The session of a training: it resumes where the training stopped, and saves the state after every epoch."""

from __future__ import annotations

import copy
import math
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
from pepr_edge.recipe.settings import ResolvedRecipe, ResolvedTrain
from pepr_edge.records import (
    Candidate,
    InterruptionLoss,
    Preprocess,
    ProbeResult,
    TrainCost,
    TrainingState,
)
from pepr_edge.run_dir.layout import TRAINING
from pepr_edge.run_dir.store import read_current, read_record
from pepr_edge.scoring.metrics import training_metric
from pepr_edge.train import checkpoint_io
from pepr_edge.train.cost import interruption_loss, no_cost, total_s
from pepr_edge.train.cost_tracker import CostTracker, read_snapshot
from pepr_edge.train.distil import TeacherFiles, teacher_logits
from pepr_edge.train.loop import batch, loss_function, optimiser
from pepr_edge.train.models import backbone_parameters, freeze
from pepr_edge.train.setup import choose_device, initial_model
from pepr_edge.train.step import BRIEF_BELOW_STEPS, ComputeMode, TrainStep, probe, synchronise
from pepr_edge.train.thread_probe import probe_threads
from pepr_edge.train.trainer import Progress, Trainer
from pepr_edge.train.weights.load import Loaded


@dataclass(frozen=True)
class TrainingJob:
    """A candidate to train, with its data, its recipe, and the folder of its files.

    `key` is the hash of everything that the result depends on. `exclusive` is True if no other job runs on
    this machine, so that its energy counters measure this job alone. `progress` is called after each step.
    `weights_file` holds the initial weights; empty from scratch. `teacher`: learn from it, too.
    """

    candidate: Candidate
    data: Dataset
    recipe: ResolvedRecipe
    folder: Path
    key: str
    threads: int
    exclusive: bool
    progress: Progress
    weights_file: str = ""
    teacher: TeacherFiles | None = None

    @property
    def settings(self) -> ResolvedTrain:
        """How to train this candidate."""
        return self.recipe.train.of_weights(self.candidate.weights)


@dataclass(frozen=True)
class TrainingSession:
    """A training that is open in this process. `lost` is what interruptions have taken from it so far.

    `threads` is their number, chosen by the probe or as the engine gives them. `weights` is how the
    initial weights were assigned.
    """

    job: TrainingJob
    trainer: Trainer
    threads: int
    spec: Preprocess
    probes: tuple[ProbeResult, ...]
    cost_tracker: CostTracker
    lost: InterruptionLoss
    weights: Loaded

    @property
    def device(self) -> torch.device:
        """The device it trains on."""
        return self.trainer.step.device

    def advance(self, until_epoch: int | None) -> None:
        """Train until an epoch is done, or to the end (None). Saving the state is not part of the cost.

        Raises:
            ModelError: the training fails.
        """
        trainer = self.trainer
        while not trainer.finished and (until_epoch is None or len(trainer.epochs) < until_epoch):
            trainer.train_one_epoch(self.cost_tracker, self.job.progress)
            self.save()

    def save(self) -> None:
        """Save the progress and the state from which the training can resume."""
        self.update_peaks()
        state = self.trainer.state() if self.trainer.epochs else None
        checkpoint_io.save(self.job.folder, self.record(), state)

    def save_cost(self) -> None:
        """Save the cost so far; the state from which the training resumes stays unchanged."""
        training = read_record(self.job.folder / TRAINING, TrainingState)
        training = training.model_copy(update={"cost": self.cost_tracker.cost, "lost": self.lost})
        checkpoint_io.save(self.job.folder, training, None)

    def update_peaks(self) -> None:
        """Update the peak memory in the cost."""
        gpu = torch.cuda.max_memory_reserved(self.device) if self.device.type == "cuda" else None
        self.cost_tracker.update_peaks(peak_memory_bytes(), gpu)

    def record(self) -> TrainingState:
        """Return the progress as a record."""
        trainer = self.trainer
        return TrainingState(
            key=self.job.key,
            candidate=self.job.candidate,
            num_params=trainer.num_params,
            layout=trainer.mode.layout,
            precision=trainer.mode.precision,
            threads=self.threads,
            probes=self.probes,
            epochs=trainer.epochs,
            epochs_wanted=self.job.settings.epochs,
            best_epoch=trainer.best_epoch,
            stopped_early=trainer.stopped_early,
            cost=self.cost_tracker.cost,
            lost=self.lost,
            teacher_sha256=self.job.teacher.trained.checkpoint_sha256 if self.job.teacher else None,
        )


@contextmanager
def open_session(job: TrainingJob) -> Iterator[TrainingSession]:
    """Resume the training of a candidate, or begin it with the fastest mode and no epoch done.

    A training keeps the mode and the threads with which it began, whatever a new probe would choose.

    Raises:
        ModelError: the model cannot be built, or no training step works.
    """
    recipe = job.recipe
    settings = job.settings
    device = choose_device(settings.device)
    saved = checkpoint_io.load(job.folder, job.key)
    training, state = saved if saved is not None else (None, None)
    cost, loss = _cost_and_loss(job, training)
    with Meter(_meter_settings(recipe, device, job.exclusive)) as meter:
        country = recipe.workstation.country
        cost_tracker = CostTracker(job.folder, job.key, meter, country, cost, loss.interruptions)
        if loss.interruptions:
            cost_tracker.write()  # so that a further interruption is counted
        cost_tracker.begin("setup")
        initial = initial_model(job.candidate, job.data, recipe, job.threads, job.weights_file)
        model, spec, weights = initial
        if settings.mode == "head":
            freeze(backbone_parameters(model))
        model = model.to(device)
        if training is None:
            mode, threads, probes = _probe(model, job, spec, cost_tracker)
        else:
            mode = ComputeMode(training.layout, training.precision)
            threads = training.threads or job.threads
            probes = training.probes
            torch.set_num_threads(threads)  # with another number the sums are rounded differently
            _warm_up(model, mode, job, spec)
        model = mode.place(model, device)
        metric = training_metric(recipe.score.performance)
        logits = None if job.teacher is None else teacher_logits(job.teacher, device, cost_tracker)
        trainer = Trainer(model, mode, job.data, spec, settings, metric, recipe.seed, logits)
        cost_tracker.end()
        session = TrainingSession(job, trainer, threads, spec, probes, cost_tracker, loss, weights)
        if training is None:
            session.save()
        elif state is not None:
            trainer.restore(state, training.epochs, training.best_epoch)
        yield session


def _cost_and_loss(job: TrainingJob, saved: TrainingState | None) -> tuple[TrainCost, InterruptionLoss]:
    """Return the whole cost so far, and the part of it that is lost: everything beyond the saved state."""
    saved_cost = saved.cost if saved else no_cost()
    saved_loss = saved.lost if saved else InterruptionLoss()
    cost = saved_cost
    interruptions = saved_loss.interruptions
    # A record tells the cost even if the state file that it names is torn.
    record = read_current(job.folder / TRAINING, TrainingState, job.key)
    if record is not None and total_s(record.cost) > total_s(cost):
        cost = record.cost
        interruptions = record.lost.interruptions
    snapshot = read_snapshot(job.folder, job.key)
    if snapshot is not None and total_s(snapshot.cost) > total_s(cost):
        cost = snapshot.cost
        interruptions = snapshot.interruptions
    if total_s(cost) <= total_s(saved_cost):
        return saved_cost, saved_loss
    return cost, interruption_loss(saved_loss, saved_cost, cost, interruptions + 1)


def _meter_settings(recipe: Recipe, device: torch.device, exclusive: bool) -> MeterSettings:
    return MeterSettings(
        watts_per_core=recipe.workstation.watts_per_core,
        gpu_watts=recipe.workstation.gpu_watts,
        uses_gpu=device.type == "cuda",
        exclusive=exclusive,
    )


def _reset_peak(device: torch.device) -> None:
    """Free the probe's GPU memory, so that the peak is that of the chosen mode."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def _probe(
    model: nn.Module, job: TrainingJob, spec: Preprocess, cost_tracker: CostTracker
) -> tuple[ComputeMode, int, tuple[ProbeResult, ...]]:
    """Find the number of threads on a CPU, and the fastest mode for it, on one real batch.

    The threads come first: beside another program, threads that wait for each other slow one mode more than
    the next, so the choice of the mode would be left to chance. With one thread it is not.
    """
    settings = job.settings
    train = job.data.splits["train"]
    labels = train[1]
    device = next(model.parameters()).device

    def make_optimiser(trial: nn.Module) -> torch.optim.Optimizer:
        cost_tracker.tick()
        return optimiser(settings, trial)

    images, targets = batch(train, np.arange(min(settings.batch_size, len(labels))), spec, device)
    model.train()
    loss = loss_function(settings, labels, len(job.data.info.labels), device, job.data.info.kind)
    steps = settings.epochs * math.ceil(len(labels) / settings.batch_size)
    threads = job.threads
    of_threads: list[ProbeResult] = []
    if device.type == "cpu" and threads > 1:
        threads, of_threads = probe_threads(model, images, targets, make_optimiser, loss, threads)
    mode, of_modes = probe(model, images, targets, make_optimiser, loss, brief=steps < BRIEF_BELOW_STEPS)
    _reset_peak(device)
    return mode, threads, (*of_threads, *of_modes)


def _warm_up(model: nn.Module, mode: ComputeMode, job: TrainingJob, spec: Preprocess) -> None:
    """Train a copy for a step, so that no epoch pays for allocating memory and selecting kernels.

    Without a pause, the probe has done this.
    """
    settings = job.settings
    train = job.data.splits["train"]
    labels = train[1]
    device = next(model.parameters()).device
    images, targets = batch(train, np.arange(min(settings.batch_size, len(labels))), spec, device)
    trial = mode.place(copy.deepcopy(model), device).train()
    loss = loss_function(settings, labels, len(job.data.info.labels), device, job.data.info.kind)
    TrainStep(trial, mode, optimiser(settings, trial), loss)(images, targets)
    synchronise(device)
    del trial
    _reset_peak(device)
