"""The network that is checked: a few training steps from scratch on phantom images, so that nothing of it is degenerate."""

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
from pepr_edge.train.loop import predict
from pepr_edge.train.setup import pixel_statistics
from pepr_edge.train.step import Mode, TrainStep

LABELS = phantom.LABELS
STEPS = 3
BATCH, LEAST_BATCH = 16, 4  # images in a step, at zoo.CHECK_PX and at sizes where they take many times longer
LEAST_KEPT = 16
LEARNING_RATE = 1e-3
# Standard deviation of the logits over the images, beside their size: less than this is lost in float32's rounding.
LEAST_SPREAD = 1e-4
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Network:
    """A network after its steps, the images it saw, those kept for checking, and what PyTorch says of these."""

    model: nn.Module
    spec: Preprocess
    seen: Pixels
    kept: Pixels
    expected: NDArray[np.float32]

    @property
    def spread(self) -> float:
        """Standard deviation of the logits over the images, the mean of the classes'."""
        return float(self.expected.std(axis=0).mean())


def candidate(architecture: str, image_size_px: int) -> Candidate:
    """Grey images of two classes."""
    return Candidate(
        architecture=architecture, image_size_px=image_size_px, in_channels=1, num_classes=len(LABELS)
    )


def train_a_little(wanted: Candidate, model: nn.Module) -> Network:
    """Take a few steps, and let batch normalisation see the images: with its first statistics the logits explode or vanish.

    Raises:
        ModelError: a step fails, or the logits are no numbers or the same for all images.
    """
    batch = max(LEAST_BATCH, round(BATCH * min(1.0, zoo.CHECK_PX / wanted.image_size_px)))
    count = STEPS * batch
    pixels, labels = phantom.images(count + max(2 * batch, LEAST_KEPT), seed=1, size_px=wanted.image_size_px)
    seen, kept = pixels[:count, ..., None], pixels[count:, ..., None]
    mean, std = pixel_statistics(seen)
    spec = Preprocess(
        channels=1,
        image_size_px=wanted.image_size_px,
        interpolation="bilinear",
        mean=mean,
        std=std,
        scale=255.0,
    )
    images = torch.from_numpy(to_tensor(seen, spec))
    try:
        _steps(model, torch.split(images, batch), torch.split(torch.from_numpy(labels[:count]), batch))
        _settle(model, torch.split(images, batch))
        network = Network(model, spec, seen, kept, predict(model, kept, spec, Mode()))
    except RuntimeError as fault:
        raise ModelError(f"a training step fails ({(str(fault).splitlines() or [''])[0][:200]})") from fault
    if not np.isfinite(network.expected).all():
        raise ModelError("after a few steps its logits are no numbers")
    if network.spread < LEAST_SPREAD * float(np.abs(network.expected).max()):
        raise ModelError("after a few steps it says the same of every image")
    return network


def _steps(model: nn.Module, batches: Sequence[torch.Tensor], labels: Sequence[torch.Tensor]) -> None:
    model.train()
    step = TrainStep(
        model, Mode(), torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE), nn.CrossEntropyLoss()
    )
    for images, targets in zip(batches, labels, strict=True):
        loss = float(step(images, targets))
        if not math.isfinite(loss):
            raise ModelError(f"the loss of a training step is {loss}")


def _settle(model: nn.Module, batches: Sequence[torch.Tensor]) -> None:
    """Running statistics as they would be after many steps: the mean over batches with the weights as they now are."""
    model.eval()
    for layer in model.modules():
        if isinstance(layer, _BatchNorm):
            layer.reset_running_stats()
            layer.momentum = None  # a plain mean over what comes
            layer.train()
    with torch.no_grad():
        for images in batches:
            model(images)
    model.eval()
