"""The network to check: trained for a few steps on phantom images, so that its logits vary between images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from pepr_edge import zoo
from pepr_edge.data import phantom
from pepr_edge.errors import ModelError
from pepr_edge.images.preprocess import to_tensor
from pepr_edge.records import Candidate, Preprocess
from pepr_edge.tasks import task_of
from pepr_edge.train.loop import predict
from pepr_edge.train.setup import pixel_statistics
from pepr_edge.train.step import ComputeMode, TrainStep

LABELS = phantom.LABELS
STEPS = 3
BATCH, MIN_BATCH = (
    16,
    4,
)  # images in a step: at zoo.CHECK_PX, and at large sizes, which take many times longer
MIN_CHECK_IMAGES = 16
LEARNING_RATE = 1e-3
# Smallest standard deviation of the logits over the images, relative to the largest logit. Below it,
# differences between images are lost in the rounding of float32.
MIN_RELATIVE_SPREAD = 1e-4
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Network:
    """A network after training, its images, and `expected`, PyTorch's logits for the check images."""

    model: nn.Module
    spec: Preprocess
    train_pixels: Pixels
    check_pixels: Pixels
    expected: NDArray[np.float32]

    @property
    def spread(self) -> float:
        """Standard deviation of the logits over the images, averaged over the classes."""
        return float(self.expected.std(axis=0).mean())


def candidate(architecture: str, image_size_px: int) -> Candidate:
    """Return a candidate for grey images of two classes."""
    return Candidate(
        architecture=architecture, image_size_px=image_size_px, in_channels=1, num_classes=len(LABELS)
    )


def train_briefly(wanted: Candidate, model: nn.Module) -> Network:
    """Train a few steps and update the statistics of batch normalisation.

    With its initial statistics the logits explode or vanish.

    Raises:
        ModelError: a step fails, or the logits are not finite or the same for all images.
    """
    size_px = wanted.image_size_px
    batch = max(MIN_BATCH, round(BATCH * min(1.0, zoo.CHECK_PX / size_px)))
    train_count = STEPS * batch
    check_count = max(2 * batch, MIN_CHECK_IMAGES)
    pixels, labels = phantom.images(train_count + check_count, seed=1, size_px=size_px)
    train_pixels = pixels[:train_count, ..., None]
    check_pixels = pixels[train_count:, ..., None]
    mean, std = pixel_statistics(train_pixels)
    spec = Preprocess(
        channels=1, image_size_px=size_px, interpolation="bilinear", mean=mean, std=std, scale=255.0
    )
    image_batches = torch.split(torch.from_numpy(to_tensor(train_pixels, spec)), batch)
    label_batches = torch.split(torch.from_numpy(labels[:train_count]), batch)
    try:
        _train(model, image_batches, label_batches)
        _update_batch_norm(model, image_batches)
        logits = predict(model, check_pixels, spec, ComputeMode())
    except RuntimeError as fault:
        lines = str(fault).splitlines()
        raise ModelError(f"a training step fails ({lines[0][:200] if lines else ''})") from fault
    network = Network(model, spec, train_pixels, check_pixels, logits)
    if not np.isfinite(logits).all():
        raise ModelError("its logits are not finite after a few training steps")
    if network.spread < MIN_RELATIVE_SPREAD * float(np.abs(logits).max()):
        raise ModelError("its logits are the same for every image after a few training steps")
    return network


def _train(model: nn.Module, batches: Sequence[torch.Tensor], labels: Sequence[torch.Tensor]) -> None:
    model.train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    step = TrainStep(model, ComputeMode(), optimiser, task_of().loss())
    for images, targets in zip(batches, labels, strict=True):
        loss = float(step(images, targets))
        if not math.isfinite(loss):
            raise ModelError(f"the loss of a training step is {loss}")


def _update_batch_norm(model: nn.Module, batches: Sequence[torch.Tensor]) -> None:
    """Set the running statistics as after many steps: the mean over batches with the current weights."""
    model.eval()
    for layer in model.modules():
        if isinstance(layer, _BatchNorm):
            layer.reset_running_stats()
            layer.momentum = None  # a plain mean over all batches
            layer.train()
    with torch.no_grad():
        for images in batches:
            model(images)
    model.eval()
