"""Train one candidate: epochs, early stopping on validation, and what it cost."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pepr_edge.data import Dataset
from pepr_edge.energy.meter import Meter, Use
from pepr_edge.errors import ModelError
from pepr_edge.metrics import metric as metric_of
from pepr_edge.preprocess import to_tensor
from pepr_edge.recipe import Train
from pepr_edge.records import Epoch, Preprocess
from pepr_edge.train.augment import light
from pepr_edge.train.models import head_parameters
from pepr_edge.train.step import Mode, Stepper, synchronise

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]
Progress = Callable[[int, int, int, float], None]  # step, steps in an epoch, epoch, best validation performance so far (-inf before)
EVALUATION_BATCH = 128


@dataclass(frozen=True)
class Trained:
    """What the epochs left; the module holds the weights of the best of them. `training` and `evaluation` are the cost of each epoch."""

    epochs: tuple[Epoch, ...]
    best_epoch: int
    images: int
    training: tuple[Use, ...]
    evaluation: tuple[Use, ...]


def optimiser(settings: Train, model: nn.Module) -> torch.optim.Optimizer:
    """Adam for protocol "paper", else AdamW, over what the mode trains."""
    parameters = head_parameters(model) if settings.mode == "head" else list(model.parameters())
    if settings.protocol == "paper":
        return torch.optim.Adam(parameters, lr=settings.learning_rate, fused=True)
    return torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True)


def loss_function(settings: Train, labels: Labels, num_classes: int, device: torch.device) -> nn.Module:
    """Cross entropy; class-balanced, each class weighs the same whatever its number of images."""
    if not settings.class_balanced:
        return nn.CrossEntropyLoss()
    counts = np.maximum(np.bincount(labels, minlength=num_classes), 1)  # a class without images is in no batch
    weights = torch.tensor(len(labels) / (num_classes * counts), dtype=torch.float32, device=device)
    return nn.CrossEntropyLoss(weight=weights)


def batch(
    data: tuple[Pixels, Labels], chosen: NDArray[np.intp], spec: Preprocess, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Some images and labels of a split as tensors on the device."""
    images = torch.from_numpy(to_tensor(data[0][chosen], spec))
    return images.to(device, non_blocking=True), torch.from_numpy(data[1][chosen]).to(device, non_blocking=True)


def batches(n: int, size: int, rng: np.random.Generator) -> list[NDArray[np.intp]]:
    """All n indices in random order, in batches; a last batch of one joins the one before, as batch normalisation needs two."""
    order = rng.permutation(n)
    parts = [order[start : start + size] for start in range(0, n, size)]
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [np.concatenate(parts[-2:])]
    return parts


def predict(model: nn.Module, pixels: Pixels, spec: Preprocess, mode: Mode) -> NDArray[np.float32]:
    """Logits of a whole split, every image, in float32: as the model will be deployed.

    Returns:
        Shape (n, classes).
    """
    device = next(model.parameters()).device
    model.eval()
    found = []
    with torch.inference_mode():
        for start in range(0, len(pixels), EVALUATION_BATCH):
            images = torch.from_numpy(to_tensor(pixels[start : start + EVALUATION_BATCH], spec)).to(device)
            found.append(model(mode.arrange(images)).float().cpu().numpy())
    return np.concatenate(found)


def fit(
    model: nn.Module, mode: Mode, data: Dataset, spec: Preprocess, settings: Train, metric: str, seed: int, meter: Meter, progress: Progress
) -> Trained:
    """Train in place.

    The best epoch has the best validation performance, and among equals the least validation loss.

    Raises:
        ModelError: the loss is no longer a number, or the metric is not defined on the validation split.
    """
    torch.manual_seed(seed)  # for dropout: how much the probe has drawn depends on the machine
    (train, val), rng = (data.splits["train"], data.splits["val"]), np.random.default_rng(seed)
    steps = len(batches(len(train[1]), settings.batch_size, rng))
    loss = loss_function(settings, train[1], len(data.info.labels), next(model.parameters()).device)
    step = stepper(model, mode, settings, loss, steps * settings.epochs)
    generator = torch.Generator().manual_seed(seed)
    epochs: list[Epoch] = []
    training: list[Use] = []
    evaluation: list[Use] = []
    best, best_state = (-math.inf, -math.inf), model.state_dict()
    best_epoch = 0
    for epoch in range(1, settings.epochs + 1):
        mark = meter.mark()
        train_loss = train_epoch(step, train, spec, settings, rng, generator, lambda done: progress(done, steps, epoch, best[0]))  # noqa: B023
        training.append(meter.since(mark))
        mark = meter.mark()
        logits = predict(model, val[0], spec, mode)
        evaluation.append(meter.since(mark))
        epochs.append(_epoch(epoch, train_loss, logits, val[1], metric, training[-1], settings))
        reached = (epochs[-1].val_performance, -epochs[-1].val_loss)
        if reached > best:
            best, best_epoch = reached, epoch
            best_state = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        if epoch - best_epoch >= settings.patience:
            break
    model.load_state_dict(best_state)
    return Trained(tuple(epochs), best_epoch, len(train[1]) * len(epochs), tuple(training), tuple(evaluation))


def _epoch(epoch: int, train_loss: float, logits: NDArray[np.float32], labels: Labels, metric: str, use: Use, settings: Train) -> Epoch:
    """The record of an epoch, from its training loss and its logits on validation."""
    val_loss = float(nn.functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(np.array(labels))))
    if not math.isfinite(train_loss) or not math.isfinite(val_loss):
        raise ModelError(
            f"the loss became {train_loss} in training and {val_loss} on validation in epoch {epoch}. "
            f"Lower train.learning_rate ({settings.learning_rate})."
        )
    performance = metric_of(metric)(logits, labels)
    if math.isnan(performance):
        raise ModelError(
            f"{metric} is not defined on the validation split: all its images are of one class. Use another score.performance."
        )
    return Epoch(
        epoch=epoch,
        train_loss=train_loss,
        val_loss=val_loss,
        val_performance=performance,
        duration_s=use.duration_s,
        energy_j=use.energy.value,
    )


def stepper(model: nn.Module, mode: Mode, settings: Train, loss: nn.Module, total_steps: int) -> Stepper:
    """The optimiser and schedule of a protocol, for a model on its device."""
    optimising = optimiser(settings, model)
    schedule = None
    if settings.protocol == "default":
        # PyTorch divides by zero where the rise to the greatest rate takes one step, as a quarter of four does.
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimising, settings.learning_rate, total_steps=max(8, total_steps), pct_start=0.25)
    return Stepper(model, mode, optimising, loss, schedule)


def train_epoch(
    step: Stepper,
    train: tuple[Pixels, Labels],
    spec: Preprocess,
    settings: Train,
    rng: np.random.Generator,
    generator: torch.Generator,
    progress: Callable[[int], None],
) -> float:
    """One pass over the training split; the mean loss."""
    train_mode(step.model, settings)
    losses = []
    for done, chosen in enumerate(batches(len(train[1]), settings.batch_size, rng), start=1):
        images, labels = batch(train, chosen, spec, step.device)
        if settings.augment == "light":
            images = light(images, generator, flips=settings.flips)
        losses.append(step(images, labels))
        progress(done)
    synchronise(step.device)
    return float(torch.stack(losses).mean())


def train_mode(model: nn.Module, settings: Train) -> None:
    """Training mode; with mode "head" the backbone stays as it is, batch statistics included."""
    model.train(settings.mode == "full")
