"""The parts of an epoch: optimiser, loss, batches, steps, and the prediction of a whole split."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pepr_edge.images.preprocess import to_tensor
from pepr_edge.recipe import Train
from pepr_edge.recipe.settings import ResolvedTrain
from pepr_edge.records import Preprocess
from pepr_edge.tasks import DEFAULT_TASK, TaskKind, task_of
from pepr_edge.train.augment import light
from pepr_edge.train.models import head_parameters
from pepr_edge.train.step import ComputeMode, Targets, TrainStep, synchronise

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]
# Takes indices of training images and returns the inputs of a step and its targets, on the device.
BatchLoader = Callable[[NDArray[np.intp]], tuple[torch.Tensor, Targets]]
EVALUATION_BATCH = 128


def optimiser(settings: ResolvedTrain, model: nn.Module) -> torch.optim.Optimizer:
    """Return Adam for the protocol "paper", else AdamW, over the parameters that the mode trains."""
    parameters = head_parameters(model) if settings.mode == "head" else list(model.parameters())
    rate = settings.learning_rate
    if settings.protocol == "paper":
        return torch.optim.Adam(parameters, lr=rate, fused=True)
    return torch.optim.AdamW(parameters, lr=rate, weight_decay=settings.weight_decay, fused=True)


def loss_function(
    settings: Train,
    labels: Labels,
    num_classes: int,
    device: torch.device,
    kind: TaskKind = DEFAULT_TASK,
) -> nn.Module:
    """Return the loss of the task on the device; class-balanced if the recipe asks for it."""
    task = task_of(kind)
    counts = task.class_counts(labels, num_classes) if settings.class_balanced else None
    return task.loss(counts, len(labels)).to(device)


def batch(
    data: tuple[Pixels, Labels], chosen: NDArray[np.intp], spec: Preprocess, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the chosen images and labels of a split as tensors on the device."""
    pixels, labels = data
    images = torch.from_numpy(to_tensor(pixels[chosen], spec))
    targets = torch.from_numpy(labels[chosen])
    return images.to(device, non_blocking=True), targets.to(device, non_blocking=True)


def batches(n: int, size: int, rng: np.random.Generator) -> list[NDArray[np.intp]]:
    """Return all n indices in random order, in batches.

    A last batch of a single image is added to the previous one, since batch normalisation needs two.
    """
    order = rng.permutation(n)
    parts = [order[start : start + size] for start in range(0, n, size)]
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [np.concatenate(parts[-2:])]
    return parts


def predict(
    model: nn.Module,
    pixels: Pixels,
    spec: Preprocess,
    mode: ComputeMode,
    tick: Callable[[], None] = lambda: None,
) -> NDArray[np.float32]:
    """Return the logits of a whole split in float32, as the model will be deployed.

    Args:
        model: on its device, in the layout of the mode.
        pixels: uint8, shape (n, px, px, channels).
        spec: how pixels become the input.
        mode: its layout is used, but not its precision.
        tick: called after each batch.
    Returns:
        Shape (n, classes).
    """
    device = next(model.parameters()).device
    model.eval()
    logits = []
    with torch.inference_mode():
        for start in range(0, len(pixels), EVALUATION_BATCH):
            images = torch.from_numpy(to_tensor(pixels[start : start + EVALUATION_BATCH], spec)).to(device)
            logits.append(model(mode.arrange(images)).float().cpu().numpy())
            tick()
    return np.concatenate(logits)


def train_step(
    model: nn.Module, mode: ComputeMode, settings: ResolvedTrain, loss: nn.Module, total_steps: int
) -> TrainStep:
    """Return a training step with the optimiser and schedule of the protocol, for a model on its device."""
    optimising = optimiser(settings, model)
    schedule = None
    if settings.protocol == "default":
        # PyTorch divides by zero if the rise to the maximum rate takes one step, as a quarter of four steps
        # does.
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimising, settings.learning_rate, total_steps=max(8, total_steps), pct_start=0.25
        )
    return TrainStep(model, mode, optimising, loss, schedule)


def train_epoch(
    step: TrainStep,
    settings: Train,
    load_batch: BatchLoader,
    parts: Sequence[NDArray[np.intp]],
    progress: Callable[[int], None],
) -> float:
    """Train on each part of the training split once, and return the mean loss."""
    train_mode(step.model, settings)
    losses = []
    for done, chosen in enumerate(parts, start=1):
        losses.append(step(*load_batch(chosen)))
        progress(done)
    synchronise(step.device)
    return float(torch.stack(losses).mean())


def batch_loader(
    train: tuple[Pixels, Labels],
    spec: Preprocess,
    settings: Train,
    generator: torch.Generator,
    device: torch.device,
) -> BatchLoader:
    """Return a loader of training batches, augmented if the recipe asks for it."""

    def load_batch(chosen: NDArray[np.intp]) -> tuple[torch.Tensor, torch.Tensor]:
        images, labels = batch(train, chosen, spec, device)
        if settings.augment == "light":
            images = light(images, generator, flips=settings.flips)
        return images, labels

    return load_batch


def train_mode(model: nn.Module, settings: Train) -> None:
    """Set the training mode; in mode "head" the backbone stays unchanged, including its batch statistics."""
    model.train(settings.mode != "head")
