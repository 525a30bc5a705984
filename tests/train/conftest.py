from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from one_thread import one_thread  # noqa: F401
from torch import nn

from pepr_edge.data import Dataset, DataSettings, load, prepare
from pepr_edge.recipe.settings import ResolvedRecipe
from pepr_edge.records import ProbeResult
from pepr_edge.train import session
from pepr_edge.train.step import ComputeMode


class Tiny(nn.Module):
    """Convolution, batch normalisation, dropout and a linear layer, in 60 parameters."""

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.2)
        self.fc = nn.Linear(4, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.norm(self.conv(images)).relu().mean((2, 3))
        logits: torch.Tensor = self.fc(self.drop(features))
        return logits

    def get_classifier(self) -> nn.Module:
        return self.fc


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Phantom images at 32 px: 45 for training, 16 for validation, 20 for the test. Read-only."""
    folder = tmp_path_factory.mktemp("data")
    settings = DataSettings("phantom", 32, phantom_images=81, val_fraction=0.2, test_fraction=0.25, seed=1)
    prepare(settings, folder)
    return load(folder)


@pytest.fixture
def tiny() -> Callable[..., nn.Module]:
    """Make the tiny model; the same seed gives the same weights."""

    def make(channels: int = 1, seed: int = 0) -> nn.Module:
        torch.manual_seed(seed)
        return Tiny(channels)

    return make


@pytest.fixture(scope="session")
def recipe() -> Callable[..., ResolvedRecipe]:
    """Make a recipe with some tables replaced."""

    def make(**tables: dict[str, Any]) -> ResolvedRecipe:
        values: dict[str, Any] = {
            "name": "test",
            "device": {"name": "test"},
            "candidates": {"architectures": ["test_efficientnet"], "image_size_px": 32},
            "train": {"epochs": 2, "device": "cpu"},
        }
        return ResolvedRecipe.model_validate({**values, **tables})

    return make


@pytest.fixture
def fixed_mode(monkeypatch: pytest.MonkeyPatch) -> ComputeMode:
    """The mode of all trainings of a test: a probe's choice differs from one training to the next."""
    mode = ComputeMode("channels_last", "bfloat16")
    result = ProbeResult(layout=mode.layout, precision=mode.precision, images_per_s=1.0)
    monkeypatch.setattr(session, "probe", lambda *_, brief: (mode, [result]))
    return mode


@pytest.fixture
def weights_file(tmp_path: Path) -> Callable[..., Path]:
    """Write a state dict as a weights file in the format of its suffix."""

    def write(state: Any, suffix: str) -> Path:
        from safetensors.torch import save_file

        path = tmp_path / f"weights{suffix}"
        if suffix == ".safetensors":
            save_file(state, path)
        else:
            torch.save(state, path)
        return path

    return write
