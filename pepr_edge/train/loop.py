"""What an epoch is made of: optimiser, loss, batches, steps, and the reading of a whole split."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pepr_edge.images.preprocess import to_tensor
from pepr_edge.recipe import Train
from pepr_edge.records import Preprocess
from pepr_edge.train.augment import light
from pepr_edge.train.models import head_parameters
from pepr_edge.train.step import Mode, TrainStep, synchronise

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]
# What a step takes of some of the training images: its inputs and their labels, on the device.
BatchLoader = Callable[[NDArray[np.intp]], tuple[torch.Tensor, torch.Tensor]]
EVALUATION_BATCH = 128


def optimiser(settings: Train, model: nn.Module) -> torch.optim.Optimizer:
    """Adam for protocol "paper", else AdamW, over what the mode trains."""
    parameters = head_parameters(model) if settings.mode == "head" else list(model.parameters())
    if settings.protocol == "paper":
        return torch.optim.Adam(parameters, lr=settings.learning_rate, fused=True)
    return torch.optim.AdamW(
        parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )


def loss_function(settings: Train, labels: Labels, num_classes: int, device: torch.device) -> nn.Module:
    """Cross entropy; class-balanced, each class weighs the same whatever its number of images."""
    if not settings.class_balanced:
        return nn.CrossEntropyLoss()
    counts = np.maximum(
        np.bincount(labels, minlength=num_classes), 1
    )  # a class without images is in no batch
    weights = torch.tensor(len(labels) / (num_classes * counts), dtype=torch.float32, device=device)
    return nn.CrossEntropyLoss(weight=weights)


def batch(
    data: tuple[Pixels, Labels], chosen: NDArray[np.intp], spec: Preprocess, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Some images and labels of a split as tensors on the device."""
    images = torch.from_numpy(to_tensor(data[0][chosen], spec))
    return images.to(device, non_blocking=True), torch.from_numpy(data[1][chosen]).to(
        device, non_blocking=True
    )


def batches(n: int, size: int, rng: np.random.Generator) -> list[NDArray[np.intp]]:
    """All n indices in random order, in batches; a last batch of one joins the one before, as batch normalisation needs two."""
    order = rng.permutation(n)
    parts = [order[start : start + size] for start in range(0, n, size)]
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [np.concatenate(parts[-2:])]
    return parts


def predict(
    model: nn.Module, pixels: Pixels, spec: Preprocess, mode: Mode, tick: Callable[[], None] = lambda: None
) -> NDArray[np.float32]:
    """Logits of a whole split, every image, in float32: as the model will be deployed.

    Args:
        tick: called after each batch.
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
            tick()
    return np.concatenate(found)


def train_step(model: nn.Module, mode: Mode, settings: Train, loss: nn.Module, total_steps: int) -> TrainStep:
    """The optimiser and schedule of a protocol, for a model on its device."""
    optimising = optimiser(settings, model)
    schedule = None
    if settings.protocol == "default":
        # PyTorch divides by zero where the rise to the greatest rate takes one step, as a quarter of four does.
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimising, settings.learning_rate, total_steps=max(8, total_steps), pct_start=0.25
        )
    return TrainStep(model, mode, optimising, loss, schedule)


def train_epoch(
    step: TrainStep,
    settings: Train,
    draw: BatchLoader,
    parts: Sequence[NDArray[np.intp]],
    progress: Callable[[int], None],
) -> float:
    """One pass over the training split, in these parts; the mean loss."""
    train_mode(step.model, settings)
    losses = []
    for done, chosen in enumerate(parts, start=1):
        losses.append(step(*draw(chosen)))
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
    """Images of the training split as they are trained on: augmented, if the recipe says so."""

    def draw(chosen: NDArray[np.intp]) -> tuple[torch.Tensor, torch.Tensor]:
        images, labels = batch(train, chosen, spec, device)
        return light(
            images, generator, flips=settings.flips
        ) if settings.augment == "light" else images, labels

    return draw


def train_mode(model: nn.Module, settings: Train) -> None:
    """Training mode; with mode "head" the backbone stays as it is, batch statistics included."""
    model.train(settings.mode == "full")
