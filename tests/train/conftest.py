from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from one_thread import one_thread  # noqa: F401
from torch import nn

from pepr_edge.data import Dataset, DataSettings, load, prepare
from pepr_edge.recipe import Recipe


class Tiny(nn.Module):
    """Convolution, batch normalisation, dropout, linear: all that a training step has to get right, in 60 parameters."""

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        self.conv, self.norm, self.drop, self.fc = (
            nn.Conv2d(channels, 4, 3),
            nn.BatchNorm2d(4),
            nn.Dropout(0.2),
            nn.Linear(4, 2),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.fc(self.drop(self.norm(self.conv(images)).relu().mean((2, 3))))
        return features

    def get_classifier(self) -> nn.Module:
        return self.fc


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Phantom images at 32 px: 45 of training, 16 of validation, 20 of test. Not to be changed."""
    folder = tmp_path_factory.mktemp("data")
    prepare(
        DataSettings("phantom", 32, phantom_images=81, val_fraction=0.2, test_fraction=0.25, seed=1), folder
    )
    return load(folder)


@pytest.fixture
def tiny() -> Callable[..., nn.Module]:
    """Make the tiny model: of the same seed always the same."""

    def make(channels: int = 1, seed: int = 0) -> nn.Module:
        torch.manual_seed(seed)
        return Tiny(channels)

    return make


@pytest.fixture(scope="session")
def recipe() -> Callable[..., Recipe]:
    """Make a recipe, its tables overridden."""

    def make(**tables: dict[str, Any]) -> Recipe:
        values: dict[str, Any] = {
            "name": "test",
            "device": {"name": "test"},
            "candidates": {"architectures": ["test_efficientnet"], "image_size_px": 32},
            "train": {"epochs": 2, "device": "cpu"},
        }
        return Recipe.model_validate({**values, **tables})

    return make


@pytest.fixture
def weights_file(tmp_path: Path) -> Callable[..., Path]:
    """Write a state dict as a weights file, by its suffix."""

    def write(state: Any, suffix: str) -> Path:
        from safetensors.torch import save_file

        path = tmp_path / f"weights{suffix}"
        if suffix == ".safetensors":
            save_file(state, path)
        else:
            torch.save(state, path)
        return path

    return write
