"""The training stage: Candidate -> TrainResult, in one go, or up to some epoch and on from there later."""

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
from pepr_edge.energy.meter import Use
from pepr_edge.records import CostProbe, Quantity, Split, TrainingState, TrainResult
from pepr_edge.run_dir.store import LOGITS, sha256_file, write_bytes, write_record, written
from pepr_edge.run_dir.training_files import PROBE, clear
from pepr_edge.scoring.intervals import estimates
from pepr_edge.train.cost import told
from pepr_edge.train.loop import batch_loader, batches, loss_function, predict, train_mode, train_step
from pepr_edge.train.session import TrainingSession, TrainingTask, open_session
from pepr_edge.train.setup import accelerator
from pepr_edge.train.step import synchronise

CHECKPOINT = "checkpoint.safetensors"
SPLITS: tuple[Split, Split] = ("val", "test")
WARM_UP_STEPS, TIMED_STEPS = 2, 8  # of a cost probe


def train(task: TrainingTask, until_epoch: int | None = None) -> TrainResult:
    """Train a candidate and write checkpoint.safetensors, logits.npz (validation and test) and train.json into its folder.

    A training that was interrupted or paused goes on after its last whole epoch. It ends with the very weights of one that never was, on
    the same machine with as many threads.

    Args:
        task: what to train.
        until_epoch: conclude with the best of so many epochs, at least one, and keep what it takes to go on; None: of all that the recipe
            wants.
    Raises:
        ModelError: the model cannot be built, or its training fails.
    """
    with open_session(task) as run:
        run.advance(None if until_epoch is None else max(1, until_epoch))
        model, splits = run.trainer.to_best(), task.data.splits
        run.cost_tracker.begin("evaluation")
        # The test split is read here for the first and only time by PyTorch: nothing is chosen by it.
        logits = {
            split: predict(model, splits[split][0], run.spec, run.trainer.mode, run.cost_tracker.tick)
            for split in SPLITS
        }
        run.cost_tracker.end()
        _save(model, logits, task.folder)
        result = _result(run, logits)
        if not run.trainer.over:  # more epochs may be wanted later
            run.save_account()
    write_record(task.folder / "train.json", result)
    if run.trainer.over:
        clear(task.folder)
    return result


def train_until(task: TrainingTask, epoch: int) -> TrainingState:
    """Train until so many epochs are done, or none is left, and leave it there to go on later.

    The schedule is that of all the epochs that the recipe wants, so that a training that was paused ends as one that was not.

    Raises:
        ModelError: the model cannot be built, or its training fails.
    """
    with open_session(task) as run:
        run.advance(epoch)
        return run.record()


def probe_cost(task: TrainingTask) -> CostProbe:
    """Time a few training steps of a candidate in its fastest mode, and write probe.json: what an epoch would cost.

    The training that may follow keeps the mode, and counts in what the probe has cost.

    Raises:
        ModelError: the model cannot be built, or no training step works.
    """
    with open_session(task) as run:
        use, images = _timed(run)
        run.note_peaks()
        found = _cost_probe(run, use, images)
        run.save_account()  # alone: the steps have trained the model
    write_record(task.folder / PROBE, found)
    return found


def _timed(run: TrainingSession) -> tuple[Use, int]:
    """What some steps use after some of warm-up, and on how many images."""
    trainer, task = run.trainer, run.task
    settings, train = task.recipe.train, task.data.splits["train"]
    rng, generator = np.random.default_rng(task.recipe.seed), torch.Generator().manual_seed(task.recipe.seed)
    loss = loss_function(settings, train[1], len(task.data.info.labels), run.device)
    step = train_step(trainer.model, trainer.mode, settings, loss, WARM_UP_STEPS + TIMED_STEPS)
    parts = list(islice(cycle(batches(len(train[1]), settings.batch_size, rng)), WARM_UP_STEPS + TIMED_STEPS))
    train_mode(trainer.model, settings)
    draw = batch_loader(train, run.spec, settings, generator, run.device)

    def take(first: int, last: int) -> Use:
        run.cost_tracker.begin("training")
        for number in range(first, last):
            step(*draw(parts[number]))
            run.cost_tracker.tick()
            task.progress(number + 1, len(parts), 0, -inf)
        synchronise(run.device)
        return run.cost_tracker.end()

    take(0, WARM_UP_STEPS)
    return take(WARM_UP_STEPS, len(parts)), sum(len(part) for part in parts[WARM_UP_STEPS:])


def _cost_probe(run: TrainingSession, use: Use, images: int) -> CostProbe:
    scale, how = len(run.task.data.splits["train"][1]) / images, f"scaled from {TIMED_STEPS} steps"
    if (
        run.trainer.keeps_features()
    ):  # all but a little of such a step is the backbone's, whose turn comes once
        scale, how = scale / run.task.recipe.train.epochs, f"{how}, features once for all epochs"
    energy_j = use.energy.value
    energy = (
        {"value": energy_j * scale, "source": f"{use.energy.source}, {how}"} if energy_j is not None else {}
    )
    return CostProbe(
        key=run.task.key,
        candidate=run.task.candidate,
        num_params=run.trainer.num_params,
        layout=run.trainer.mode.layout,
        precision=run.trainer.mode.precision,
        steps=TIMED_STEPS,
        images_per_s=images / use.duration_s,
        epoch_energy_j=use.energy.model_copy(update=energy),
        epoch_duration_s=Quantity(
            value=use.duration_s * scale, method="measured", source=f"perf_counter, {how}"
        ),
        peak_memory_bytes=run.cost_tracker.cost.peak_memory_bytes,
        gpu_peak_memory_bytes=run.cost_tracker.cost.gpu_peak_memory_bytes,
        cost=run.cost_tracker.cost,
    )


def _result(run: TrainingSession, logits: dict[Split, NDArray[np.float32]]) -> TrainResult:
    task, trainer = run.task, run.trainer
    metric = task.recipe.score.performance
    return TrainResult(
        key=task.key,
        candidate=task.candidate,
        preprocess=run.spec,
        num_params=trainer.num_params,
        checkpoint=CHECKPOINT,
        checkpoint_sha256=sha256_file(task.folder / CHECKPOINT),
        data_sha256=task.data.info.sha256,
        protocol=task.recipe.train.protocol,
        mode=task.recipe.train.mode,
        layout=trainer.mode.layout,
        precision=trainer.mode.precision,
        probes=run.probes,
        epochs=trainer.epochs,
        best_epoch=trainer.best_epoch,
        stopped_early=len(trainer.epochs) < task.recipe.train.epochs,
        performance_metric=metric,
        performance=estimates(
            dict(logits), {split: np.asarray(task.data.splits[split][1]) for split in SPLITS}, metric
        ),
        cost=told(run.cost_tracker.cost, run.lost),
        environment=environment(task.threads, accelerator(run.device), ("torch", "timm", "numpy", "pillow")),
        seed=task.recipe.seed,
    )


def _save(model: nn.Module, logits: dict[Split, NDArray[np.float32]], folder: Path) -> None:
    weights = {name: tensor.contiguous().cpu() for name, tensor in model.state_dict().items()}
    write_bytes(folder / CHECKPOINT, safetensors.torch.save(weights))
    with written(folder / LOGITS) as file:
        np.savez(file, **logits)  # type: ignore[arg-type]
