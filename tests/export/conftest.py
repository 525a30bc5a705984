from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import pytest
import tiny_nets
from fake_device import VARIANTS, Device, recipe, source
from numpy.typing import NDArray
from one_thread import one_thread  # noqa: F401
from torch import nn

from pepr_edge.data import Dataset, DataSettings, load, prepare
from pepr_edge.export import autotune as autotune_module
from pepr_edge.export import variant_race
from pepr_edge.export.artifact import ExportSource
from pepr_edge.export.autotune import AutotuneResult, autotune
from pepr_edge.export.prepare import PreparedModel
from pepr_edge.measure import settings as measure_settings
from pepr_edge.measure.runtimes import RUNTIMES
from pepr_edge.recipe import Recipe
from pepr_edge.recipe import variants as variant_settings
from pepr_edge.recipe.settings import ResolvedRecipe
from pepr_edge.records import Candidate, TrainResult
from pepr_edge.train.models import restore
from pepr_edge.train.session import TrainingJob
from pepr_edge.train.train import train

CANDIDATE = Candidate(architecture="test_efficientnet", image_size_px=32, in_channels=1, num_classes=2)


@pytest.fixture
def two_runtimes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let onnxruntime and OpenVINO be the runtimes that can be used, on four cores, whatever is installed."""

    def on_the_cpu(provider: str = "cpu") -> str | None:
        return None if provider == "cpu" else "on the CPU only."

    monkeypatch.setattr(measure_settings, "usable_cores", lambda: 4)
    for name, runtime in RUNTIMES.items():
        if name == "openvino":
            monkeypatch.setattr(runtime, "unavailable", on_the_cpu)
        elif name != "onnxruntime":
            monkeypatch.setattr(runtime, "unavailable", lambda provider="cpu": "it is not installed.")


class Trained(NamedTuple):
    """A candidate after the training stage."""

    result: TrainResult
    logits: dict[str, NDArray[np.float32]]
    folder: Path
    data: Dataset
    recipe: Recipe

    @property
    def source(self) -> ExportSource:
        """The input of the export stage; its logits may be changed."""
        return ExportSource(self.result, copy.deepcopy(self.logits), self.data, self.recipe)

    def module(self) -> nn.Module:
        """Return a new copy of the candidate's module."""
        return restore(self.result.candidate, self.folder / self.result.checkpoint)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A candidate trained for two epochs, with more test images (80) than parity uses. Do not change it."""
    folder = tmp_path_factory.mktemp("trained")
    prepare(
        DataSettings("phantom", 32, phantom_images=160, val_fraction=0.2, test_fraction=0.5, seed=1),
        folder / "data",
    )
    data = load(folder / "data")
    recipe = ResolvedRecipe.model_validate(
        {
            "name": "test",
            "device": {"name": "test"},
            "candidates": {"architectures": [CANDIDATE.architecture], "image_size_px": 32},
            "train": {"epochs": 2, "batch_size": 16, "device": "cpu"},
        }
    )
    result = train(
        TrainingJob(
            CANDIDATE, data, recipe, folder, "a key", threads=1, exclusive=True, progress=lambda *_: None
        )
    )
    with np.load(folder / "logits.npz") as logits:
        return Trained(result, dict(logits), folder, data, recipe)


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, two_runtimes: None) -> Callable[..., AutotuneResult]:
    """Run autotuning on a fake device with onnxruntime and OpenVINO."""

    def run(
        device: Device, wanted: Recipe | None = None, variants: tuple[str, ...] = VARIANTS
    ) -> AutotuneResult:
        monkeypatch.setattr(autotune_module, "convert", device.convert)
        monkeypatch.setattr(variant_race, "time_interleaved", device.time_interleaved)
        monkeypatch.setattr(autotune_module, "ModelProcess", device.model_process)
        base = tmp_path / "base.onnx"
        onnx.save(tiny_nets.convolutions(), str(base))
        return autotune(
            source(wanted or recipe()),
            base,
            tuple(map(variant_settings.load, variants)),
            tmp_path,
            lambda done, total, note: None,
        )

    return run


@pytest.fixture
def separable(tmp_path: Path) -> Iterator[PreparedModel]:
    onnx.save(tiny_nets.separable(), tmp_path / "fp32.onnx")
    with PreparedModel(tmp_path / "fp32.onnx") as prepared:
        yield prepared
