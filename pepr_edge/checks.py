"""What can be known to fail before anything is spent."""

from __future__ import annotations

from pathlib import Path

from pepr_edge import zoo
from pepr_edge.energy.carbon import intensity
from pepr_edge.errors import MeasurementError, ModelError
from pepr_edge.export import variants
from pepr_edge.field.runtimes import RUNTIMES
from pepr_edge.recipe import Recipe


def check_files(recipe: Recipe) -> None:
    """Find what can be known to fail from the recipe and its files alone.

    Raises:
        PeprError: an unknown variant or country, a missing weights file.
    """
    for name in recipe.export.variants:
        variants.load(name)
    if recipe.workstation.country is not None:
        intensity(recipe.workstation.country)
    weights = recipe.candidates.weights
    if weights not in ("pretrained", "scratch") and not Path(weights).is_file():
        raise ModelError(f'candidates.weights = "{weights}": no such file, expected "pretrained", "scratch" or the path of a weights file.')


def check_machine(recipe: Recipe) -> None:
    """Find what this machine cannot do, before anything is spent.

    Raises:
        PeprError: unknown architectures, all at once; a runtime or a GPU that is not there.
    """
    if unknown := [name for name in recipe.candidates.architectures if name not in zoo.architectures()]:
        from pepr_edge.train.models import unknown_architecture

        if lines := [line for name in unknown if (line := unknown_architecture(name))]:
            raise ModelError("\n".join(f"candidates.architectures: {line}" for line in lines))
    device = recipe.device
    reason = RUNTIMES[device.settings().runtime].unavailable(device.provider)
    if device.provider == "cuda" and (reason is not None or not _has_gpu()):
        raise MeasurementError(
            f'device.provider = "cuda", but {reason or "PyTorch finds no NVIDIA GPU here."} Run this recipe on a machine with an NVIDIA '
            'GPU (there, run `pip install onnxruntime-gpu`), or set device.provider = "cpu".'
        )
    if reason is not None:
        raise MeasurementError(f'device.runtime = "{device.runtime}", but {reason}')
    if recipe.train.device == "cuda":
        from pepr_edge.train.train import choose_device

        choose_device("cuda")


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()
