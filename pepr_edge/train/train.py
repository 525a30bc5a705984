"""The training stage: Candidate -> TrainResult, in one call, or up to an epoch and resumed later."""

from __future__ import annotations

from itertools import cycle, islice
from math import inf
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import nn

from pepr_edge.device.facts import environment
from pepr_edge.energy.meter import Usage
from pepr_edge.records import EVALUATED_SPLITS, CostProbe, Quantity, Split, TrainingState, TrainResult
from pepr_edge.run_dir.layout import CHECKPOINT, LOGITS, PROBE, TRAIN_RESULT
from pepr_edge.run_dir.store import atomic_writer, sha256_file, write_bytes, write_record
from pepr_edge.run_dir.training_files import clear
from pepr_edge.scoring.intervals import estimates
from pepr_edge.scoring.metrics import training_metric
from pepr_edge.train.cost import with_loss
from pepr_edge.train.loop import batch_loader, batches, loss_function, predict, train_mode, train_step
from pepr_edge.train.models import backbone_parameters, freeze
from pepr_edge.train.session import TrainingJob, TrainingSession, open_session
from pepr_edge.train.setup import accelerator
from pepr_edge.train.step import synchronise

# Steps of a cost probe.
WARM_UP_STEPS = 2
TIMED_STEPS = 8


def train(job: TrainingJob, until_epoch: int | None = None) -> TrainResult:
    """Train a candidate and write checkpoint.safetensors, logits.npz (validation and test) and train.json.

    A training that was interrupted or paused resumes after its last complete epoch. On the same machine it
    gives exactly the same weights as one without interruption.

    Args:
        job: what to train.
        until_epoch: stop after this epoch, at least 1, take the best so far, and keep the state to resume
            from; None: train all epochs of the recipe.
    Raises:
        ModelError: the model cannot be built, or its training fails.
    """
    with open_session(job) as session:
        session.advance(None if until_epoch is None else max(1, until_epoch))
        model = session.trainer.restore_best()
        # PyTorch reads the test split here for the first and only time; nothing is chosen by it.
        logits = _predictions(session, model)
        _save(model, logits, job.folder)
        result = _result(session, logits)
        finished = session.trainer.finished
        if not finished:  # more epochs may follow
            session.save_cost()
    write_record(job.folder / TRAIN_RESULT, result)
    if finished:
        clear(job.folder)
    return result


def train_until(job: TrainingJob, epoch: int) -> TrainingState:
    """Train until an epoch is done, or none is left, and keep the state to resume from.

    The learning-rate schedule is that of all epochs in the recipe, so a paused training ends like one without
    a pause.

    Raises:
        ModelError: the model cannot be built, or its training fails.
    """
    with open_session(job) as session:
        session.advance(epoch)
        return session.record()


def probe_cost(job: TrainingJob) -> CostProbe:
    """Time a few training steps in the fastest mode to estimate the cost of an epoch, and write probe.json.

    A training that follows keeps the mode, and the cost of the probe is part of its setup.

    Raises:
        ModelError: the model cannot be built, or no training step works.
    """
    with open_session(job) as session:
        usage, images = _time_steps(session)
        session.update_peaks()
        cost_probe = _cost_probe(session, usage, images)
        session.save_cost()  # not the state: the steps have changed the model
    write_record(job.folder / PROBE, cost_probe)
    return cost_probe


def _predictions(session: TrainingSession, model: nn.Module) -> dict[Split, NDArray[np.float32]]:
    tracker = session.cost_tracker
    splits = session.job.data.splits
    mode = session.trainer.mode
    tracker.begin("evaluation")
    logits = {
        split: predict(model, splits[split][0], session.spec, mode, tracker.tick)
        for split in EVALUATED_SPLITS
    }
    tracker.end()
    return logits


def _time_steps(session: TrainingSession) -> tuple[Usage, int]:
    """Take a few steps after a warm-up; return what they used, and their number of images."""
    trainer = session.trainer
    job = session.job
    device = session.device
    settings = job.settings
    train_split = job.data.splits["train"]
    labels = train_split[1]
    rng = np.random.default_rng(job.recipe.seed)
    generator = torch.Generator().manual_seed(job.recipe.seed)
    steps = WARM_UP_STEPS + TIMED_STEPS
    info = job.data.info
    loss = loss_function(settings, labels, len(info.labels), device, info.kind)
    step = train_step(trainer.model, trainer.mode, settings, loss, steps)
    parts = list(islice(cycle(batches(len(labels), settings.batch_size, rng)), steps))
    train_mode(trainer.model, settings)
    load_batch = batch_loader(train_split, session.spec, settings, generator, device)

    # Of a training that begins with the classifier alone, as large a share of the steps.
    first_alone = steps - round(settings.head_share * TIMED_STEPS)

    def take(first: int, last: int) -> Usage:
        session.cost_tracker.begin("setup")
        for number in range(first, last):
            if number == first_alone:
                freeze(backbone_parameters(trainer.model))
            step(*load_batch(parts[number]))
            session.cost_tracker.tick()
            job.progress(number + 1, steps, 0, -inf)
        synchronise(device)
        return session.cost_tracker.end()

    take(0, WARM_UP_STEPS)
    usage = take(WARM_UP_STEPS, steps)
    return usage, sum(len(part) for part in parts[WARM_UP_STEPS:])


def _cost_probe(session: TrainingSession, usage: Usage, images: int) -> CostProbe:
    job = session.job
    trainer = session.trainer
    cost = session.cost_tracker.cost
    scale = len(job.data.splits["train"][1]) / images
    how = f"scaled from {TIMED_STEPS} steps"
    # Nearly all of such a step is the backbone's, which runs once for all epochs if its features are kept.
    if trainer.uses_features():
        scale /= job.recipe.train.epochs
        how += ", features once for all epochs"
    epoch_energy = usage.energy
    if epoch_energy.value is not None:
        scaled = {"value": epoch_energy.value * scale, "source": f"{epoch_energy.source}, {how}"}
        epoch_energy = epoch_energy.model_copy(update=scaled)
    epoch_duration = Quantity(
        value=usage.duration_s * scale, method="measured", source=f"perf_counter, {how}"
    )
    return CostProbe(
        key=job.key,
        candidate=job.candidate,
        num_params=trainer.num_params,
        layout=trainer.mode.layout,
        precision=trainer.mode.precision,
        steps=TIMED_STEPS,
        images_per_s=images / usage.duration_s,
        epoch_energy_j=epoch_energy,
        epoch_duration_s=epoch_duration,
        peak_memory_bytes=cost.peak_memory_bytes,
        gpu_peak_memory_bytes=cost.gpu_peak_memory_bytes,
        cost=cost,
    )


def _result(session: TrainingSession, logits: dict[Split, NDArray[np.float32]]) -> TrainResult:
    job = session.job
    recipe = job.recipe
    trainer = session.trainer
    metric = training_metric(recipe.score.performance)
    info = job.data.info
    labels = {split: np.asarray(job.data.splits[split][1]) for split in EVALUATED_SPLITS}
    return TrainResult(
        key=job.key,
        candidate=job.candidate,
        preprocess=session.spec,
        num_params=trainer.num_params,
        checkpoint=CHECKPOINT,
        checkpoint_sha256=sha256_file(job.folder / CHECKPOINT),
        data_sha256=job.data.info.sha256,
        protocol=recipe.train.protocol,
        mode=job.settings.mode,
        layout=trainer.mode.layout,
        precision=trainer.mode.precision,
        probes=session.probes,
        epochs=trainer.epochs,
        best_epoch=trainer.best_epoch,
        stopped_early=len(trainer.epochs) < recipe.train.epochs,
        performance_metric=metric,
        performance=estimates(logits, labels, metric, info.positive_index, info.kind),
        positive=info.positive_index,
        cost=with_loss(session.cost_tracker.cost, session.lost),
        environment=environment(
            session.threads, accelerator(session.device), ("torch", "timm", "numpy", "pillow")
        ),
        seed=recipe.seed,
        weights_match=session.weights.match,
        weights_notes=session.weights.notes,
        head_epochs=min(len(trainer.epochs), job.settings.head_epochs),
        teacher=None if job.teacher is None else job.teacher.record(),
    )


def _save(model: nn.Module, logits: dict[Split, NDArray[np.float32]], folder: Path) -> None:
    weights = {name: tensor.contiguous().cpu() for name, tensor in model.state_dict().items()}
    write_bytes(folder / CHECKPOINT, safetensors.torch.save(weights))
    with atomic_writer(folder / LOGITS) as file:
        np.savez(file, **logits)  # type: ignore[arg-type]
