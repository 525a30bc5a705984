"""Checks before a run: find what must fail before time and energy are spent."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path

from pepr_edge import zoo
from pepr_edge.energy.carbon import intensity
from pepr_edge.errors import MeasurementError, ModelError, PeprError, RecipeError
from pepr_edge.export.options import autotuning_fault
from pepr_edge.measure.runtimes import RUNTIMES, onnxruntime
from pepr_edge.recipe import Device, Recipe, variants

# onnxruntime lists these providers if its build has them, even without a GPU.
NVIDIA = ("cuda", "tensorrt")


def check_files(recipe: Recipe) -> None:
    """Check the recipe and the files that it names.

    Raises:
        PeprError: the first of `file_errors`.
    """
    for error in file_errors(recipe):
        raise error


def file_errors(recipe: Recipe) -> Iterator[PeprError]:
    """Yield an error for each part of the recipe that cannot work on any machine, or is missing on this one.

    These are unknown variants and countries, a missing weights file, and autotuning with a runtime that takes
    no part in it.
    """
    for name in recipe.export.required:
        try:
            variants.load(name)
        except PeprError as error:
            yield error
    if recipe.workstation.country is not None:
        try:
            intensity(recipe.workstation.country)
        except PeprError as error:
            yield error
    weights = recipe.candidates.weights
    if weights not in ("pretrained", "scratch") and not Path(weights).is_file():
        yield ModelError(
            f'candidates.weights = "{weights}": no such file, '
            'expected "pretrained", "scratch" or the path of a weights file. Check the path.'
        )
    fault = autotuning_fault(recipe.device) if recipe.export.auto else None
    if fault is not None:
        yield RecipeError(fault)


def unknown_architectures(recipe: Recipe) -> list[str]:
    """Return a line for each architecture that neither the zoo nor timm knows.

    Needs timm if the recipe has an architecture outside the zoo.
    """
    other_names = [name for name in recipe.candidates.architectures if name not in zoo.architectures()]
    if not other_names:
        return []
    from pepr_edge.train.models import unknown_architecture

    faults = [unknown_architecture(name) for name in other_names]
    return [f"candidates.architectures: {fault}" for fault in faults if fault]


def unsupported_sizes(recipe: Recipe) -> list[str]:
    """Return a line for each zoo candidate with an image size that it does not support."""
    known = zoo.architectures()
    lines = []
    for name, size_px in product(recipe.candidates.architectures, recipe.candidates.image_size_px):
        if name in known and not known[name].accepts(size_px):
            lines.append(
                f"candidates.image_size_px = {size_px}, but {name} takes {known[name].sizes}. "
                f"Change the size, or leave {name} out."
            )
    return lines


def check_machine(recipe: Recipe, trains_here: bool = True, measures_here: bool = True) -> None:
    """Check that this machine can do its part of the run.

    Raises:
        PeprError: unknown architectures, all at once; a missing runtime or GPU.
    """
    unknown = unknown_architectures(recipe)
    if unknown:
        raise ModelError("\n".join(unknown))
    fault = device_fault(recipe.device) if measures_here else None
    if fault is not None:
        raise MeasurementError(fault)
    if trains_here and recipe.train.device == "cuda":
        from pepr_edge.train.setup import choose_device

        choose_device("cuda")


def device_fault(device: Device) -> str | None:
    """Return why this machine cannot run a model as the recipe's device would, and what to do; else None.

    "auto" needs only onnxruntime: autotuning compares the runtimes that are installed.
    """
    runtime = device.settings().runtime
    provider = device.provider
    reason = RUNTIMES[runtime].unavailable(provider)
    if reason is None and runtime == "onnxruntime" and provider in NVIDIA and not _has_gpu():
        reason = "PyTorch finds no NVIDIA GPU here."
    if reason is None:
        return None
    if provider == "cpu" or RUNTIMES[runtime].unavailable() is not None:
        return f'device.runtime = "{device.runtime}", but {reason}'
    if runtime == "onnxruntime":
        advice = onnxruntime.ADVICE[provider]
        return f'device.provider = "{provider}", but {reason} {advice}, or set device.provider = "cpu".'
    return (
        f'device.provider = "{provider}" with device.runtime = "{runtime}", but {reason} '
        'Otherwise set device.provider = "cpu".'
    )


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()
