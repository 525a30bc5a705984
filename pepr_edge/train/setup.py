"""What a training starts from: its device, and the normalisation of its images."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import nn

from pepr_edge.data import Dataset
from pepr_edge.errors import ModelError
from pepr_edge.recipe import Recipe
from pepr_edge.records import Candidate, Preprocess
from pepr_edge.train.models import create, normalisation


def choose_device(wanted: Literal["auto", "cpu", "cuda"]) -> torch.device:
    """The device to train on.

    Raises:
        ModelError: CUDA is asked for and there is none.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ModelError(
            'train.device = "cuda", but PyTorch finds no CUDA GPU here. Use "auto" or "cpu", or train on a machine that has one.'
        )
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


def accelerator(device: torch.device) -> str:
    """The GPU's name; empty on a CPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else ""


def untrained(
    candidate: Candidate, data: Dataset, recipe: Recipe, threads: int
) -> tuple[nn.Module, Preprocess]:
    """A candidate with its initial weights, on the CPU, and what its images go through. Sets the seed and the number of threads.

    Raises:
        ModelError: it cannot be built.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(recipe.seed)
    model = create(candidate, recipe.candidates.weights)
    return model, preprocess_of(candidate, model, data, recipe)


def preprocess_of(candidate: Candidate, model: nn.Module, data: Dataset, recipe: Recipe) -> Preprocess:
    """Normalisation that the weights expect; from scratch, that of the training images."""
    channels = candidate.in_channels
    if candidate.weights == "scratch":
        mean, std = pixel_statistics(data.splits["train"][0])
    else:
        mean, std = normalisation(model, channels)
    return Preprocess(
        channels=channels,
        image_size_px=candidate.image_size_px,
        interpolation=recipe.data.interpolation,
        mean=mean,
        std=std,
        scale=255.0,
    )


def pixel_statistics(pixels: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel of pixels / 255, to six digits.

    Args:
        pixels: uint8, shape (n, px, px, channels); read in parts, as it may be mapped from the disk.
    """
    count, total, squares = 0, np.zeros(pixels.shape[-1]), np.zeros(pixels.shape[-1])
    for start in range(0, len(pixels), 1024):
        part = pixels[start : start + 1024].astype(np.float64).reshape(-1, pixels.shape[-1]) / 255
        count, total, squares = count + len(part), total + part.sum(axis=0), squares + (part**2).sum(axis=0)
    mean = total / count
    # A channel that is constant must not be divided by zero.
    std = np.sqrt(np.maximum(squares / count - mean**2, 1e-6))
    return tuple(round(float(value), 6) for value in mean), tuple(round(float(value), 6) for value in std)
