"""The start of a training: its device, the initial model, and the normalisation of its images."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pepr_edge.data import Dataset
from pepr_edge.errors import ModelError
from pepr_edge.recipe import SCRATCH, Recipe
from pepr_edge.records import Candidate, Preprocess
from pepr_edge.train.models import create, create_with_weights, normalisation
from pepr_edge.train.weights.load import Loaded

Statistics = tuple[tuple[float, ...], tuple[float, ...]]  # mean and standard deviation per channel


def choose_device(wanted: Literal["auto", "cpu", "cuda"]) -> torch.device:
    """Return the device to train on.

    Raises:
        ModelError: CUDA is required, but there is no CUDA GPU.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ModelError(
            'train.device = "cuda", but PyTorch finds no CUDA GPU here. '
            'Use "auto" or "cpu", or train on a machine that has one.'
        )
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


def accelerator(device: torch.device) -> str:
    """Return the name of the GPU; empty for a CPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else ""


class InitialModel(NamedTuple):
    """A candidate before its first step, on the CPU, its preprocessing, and how its weights were assigned."""

    model: nn.Module
    spec: Preprocess
    weights: Loaded


def initial_model(
    candidate: Candidate, data: Dataset, recipe: Recipe, threads: int, weights_file: str
) -> InitialModel:
    """Return a candidate with its initial weights.

    Sets PyTorch's seed and number of threads.

    Args:
        candidate, data, recipe: to train.
        threads: of PyTorch.
        weights_file: its initial weights; empty from scratch.
    Raises:
        ModelError: the model cannot be built, or its weights are not there or do not fit.
    """
    if candidate.weights == SCRATCH:
        return InitialModel(*untrained(candidate, data, recipe, threads), Loaded())
    if not weights_file:
        raise ModelError(
            f"{candidate.architecture}: the weights that the run began with ({candidate.weights}) are no "
            "longer on this machine. Put their file back, or begin again with --fresh."
        )
    torch.set_num_threads(threads)
    torch.manual_seed(recipe.seed)
    model, loaded = create_with_weights(candidate, Path(weights_file), _small_logits(recipe))
    return InitialModel(model, preprocess_of(candidate, model, data, recipe), loaded)


def untrained(
    candidate: Candidate, data: Dataset, recipe: Recipe, threads: int
) -> tuple[nn.Module, Preprocess]:
    """Return a candidate with random weights, on the CPU, and its preprocessing: enough to measure its cost.

    Sets PyTorch's seed and number of threads.

    Raises:
        ModelError: the model cannot be built.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(recipe.seed)
    model = create(candidate, _small_logits(recipe))
    return model, preprocess_of(candidate, model, data, recipe)


def _small_logits(recipe: Recipe) -> bool:
    """True except for the paper's protocol, whose models begin as timm builds them."""
    return recipe.train.protocol != "paper"


def preprocess_of(candidate: Candidate, model: nn.Module, data: Dataset, recipe: Recipe) -> Preprocess:
    """Return the preprocessing, normalised as the weights expect, or by the training images from scratch."""
    channels = candidate.in_channels
    if candidate.weights == SCRATCH:
        mean, std = pixel_statistics(data.splits["train"][0])
    else:
        mean, std = normalisation(model, channels)
    return Preprocess(
        channels=channels,
        image_size_px=candidate.image_size_px,
        interpolation=recipe.data.filter_for(candidate),
        mean=mean,
        std=std,
        scale=255.0,
        grey_bits=data.info.grey_bits,
    )


def pixel_statistics(pixels: NDArray[np.uint8]) -> Statistics:
    """Return the mean and standard deviation of pixels / 255 per channel, to six digits.

    Args:
        pixels: uint8, shape (n, px, px, channels); read in parts, as it may be memory-mapped.
    """
    channels = pixels.shape[-1]
    count = 0
    total = np.zeros(channels)
    squares = np.zeros(channels)
    for start in range(0, len(pixels), 1024):
        part = pixels[start : start + 1024].astype(np.float64).reshape(-1, channels) / 255
        count += len(part)
        total += part.sum(axis=0)
        squares += (part**2).sum(axis=0)
    mean = total / count
    # A minimum variance, so that a constant channel is not divided by zero.
    std = np.sqrt(np.maximum(squares / count - mean**2, 1e-6))
    return _rounded(mean), _rounded(std)


def _rounded(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(round(value, 6) for value in values.tolist())
