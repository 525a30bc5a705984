"""What can be known to fail before anything is spent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from pepr_edge import zoo
from pepr_edge.energy.carbon import intensity
from pepr_edge.errors import MeasurementError, ModelError, PeprError
from pepr_edge.measure.runtimes import RUNTIMES, onnxruntime
from pepr_edge.recipe import Device, Recipe, variants

# Providers of onnxruntime that are listed wherever its build has them, with a GPU or without.
NVIDIA = ("cuda", "tensorrt")


def check_files(recipe: Recipe) -> None:
    """Find what can be known to fail from the recipe and its files alone.

    Raises:
        PeprError: the first of `faulty_files`.
    """
    for fault in faulty_files(recipe):
        raise fault


def faulty_files(recipe: Recipe) -> Iterator[PeprError]:
    """What can be known to fail from the recipe and its files alone: an unknown variant or country, a missing weights file."""
    for name in recipe.export.made:
        yield from _fault_of(lambda name=name: variants.load(name))  # type: ignore[misc]
    if (country := recipe.workstation.country) is not None:
        yield from _fault_of(lambda: intensity(country))
    weights = recipe.candidates.weights
    if weights not in ("pretrained", "scratch") and not Path(weights).is_file():
        yield ModelError(
            f'candidates.weights = "{weights}": no such file, expected "pretrained", "scratch" or the path of a weights file.'
        )


def _fault_of(look: Callable[[], object]) -> Iterator[PeprError]:
    try:
        look()
    except PeprError as fault:
        yield fault


def unknown_architectures(recipe: Recipe) -> list[str]:
    """A line for each candidate's name that neither the zoo nor timm knows. Needs timm where there is one beyond the zoo."""
    beyond = [name for name in recipe.candidates.architectures if name not in zoo.architectures()]
    if not beyond:
        return []
    from pepr_edge.train.models import unknown_architecture

    return [f"candidates.architectures: {line}" for name in beyond if (line := unknown_architecture(name))]


def unfit_sizes(recipe: Recipe) -> list[str]:
    """A line for each candidate of the zoo at a size that it does not take: it would fail in the run."""
    known = zoo.architectures()
    return [
        f"candidates.image_size_px = {px}, but {name} takes {known[name].sizes}. Change the size, or leave {name} out."
        for name in recipe.candidates.architectures
        if name in known
        for px in recipe.candidates.image_size_px
        if not known[name].accepts(px)
    ]


def check_machine(recipe: Recipe, trains_here: bool = True, measures_here: bool = True) -> None:
    """Find what this machine cannot do of what it is to do, before anything is spent.

    Raises:
        PeprError: unknown architectures, all at once; a runtime or a GPU that is not there.
    """
    if lines := unknown_architectures(recipe):
        raise ModelError("\n".join(lines))
    if measures_here and (fault := device_fault(recipe.device)) is not None:
        raise MeasurementError(fault)
    if trains_here and recipe.train.device == "cuda":
        from pepr_edge.train.setup import choose_device

        choose_device("cuda")


def device_fault(device: Device) -> str | None:
    """Why this machine cannot run a model as the recipe's device would, and what to do; None where it can.

    "auto" needs onnxruntime, and another runtime no more than it is there: the ladder races those that are.
    """
    runtime, provider = device.settings().runtime, device.provider
    reason = RUNTIMES[runtime].unavailable(provider)
    if reason is None and runtime == "onnxruntime" and provider in NVIDIA and not _has_gpu():
        reason = "PyTorch finds no NVIDIA GPU here."
    if reason is None:
        return None
    if provider == "cpu" or RUNTIMES[runtime].unavailable() is not None:
        return f'device.runtime = "{device.runtime}", but {reason}'
    if runtime == "onnxruntime":
        return f'device.provider = "{provider}", but {reason} {onnxruntime.ADVICE[provider]}, or set device.provider = "cpu".'
    return f'device.provider = "{provider}" with device.runtime = "{runtime}", but {reason} Otherwise set device.provider = "cpu".'


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()
