"""Checks before a run: find what must fail before time and energy are spent."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np

from pepr_edge import zoo
from pepr_edge.energy import meter, nvml
from pepr_edge.energy.carbon import intensity
from pepr_edge.energy.meter import MeterSettings
from pepr_edge.errors import MeasurementError, ModelError, PeprError, RecipeError
from pepr_edge.export.options import autotuning_fault
from pepr_edge.measure.runtimes import RUNTIMES, onnxruntime
from pepr_edge.measure.settings import threads_here
from pepr_edge.recipe import AUTO, Candidates, Device, Recipe, variants
from pepr_edge.recipe.task import decision_metric_fault
from pepr_edge.records import DataInfo
from pepr_edge.scoring.metrics import fits, metric
from pepr_edge.scoring.stand_in import OF_ENERGY
from pepr_edge.tasks import task_of
from pepr_edge.train.weights.resolving import missing_file
from pepr_edge.untrusted.paths import is_dir, is_file

# Less than any runtime takes: Python with numpy alone has a peak of 26 MiB, with onnxruntime 44 MiB.
MIN_PROCESS_BYTES = 24 * 2**20
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

    These are unknown variants and countries, a missing weights file, autotuning with a runtime that takes no
    part in it, CO2eq without a country, and a memory budget that no runtime keeps.
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
    yield from _weights_errors(recipe.candidates)
    fault = autotuning_fault(recipe.device) if recipe.export.auto else None
    for line in (fault, _co2eq_fault(recipe), _memory_fault(recipe)):
        if line is not None:
            yield RecipeError(line)


def _weights_errors(candidates: Candidates) -> Iterator[ModelError]:
    """Yield an error if the weights file or folder that a recipe names is not there."""
    if candidates.weights_file is not None and not is_file(candidates.weights_file):
        yield missing_file(Path(candidates.weights_file))
    if candidates.weights_dir is not None and not is_dir(candidates.weights_dir):
        yield ModelError(
            f'candidates.weights_dir = "{candidates.weights_dir}": no such folder, expected one with '
            "ARCHITECTURE.safetensors, .pth or .pt. Check the path, or make it: pepr-edge weights fetch."
        )


def _co2eq_fault(recipe: Recipe) -> str | None:
    """Return why CO2eq, which the recipe needs, cannot be known; else None."""
    if recipe.workstation.country is not None:
        return None
    if recipe.score.weights.get("train_co2eq", 0.0) > 0:
        asked = f"score.weights has train_co2eq = {recipe.score.weights['train_co2eq']:g}"
    elif recipe.search.max_co2eq_g is not None:
        asked = f"search.max_co2eq_g = {recipe.search.max_co2eq_g:g}"
    else:
        return None
    return (
        f"{asked}, but CO2eq needs the country of the training machine. "
        'Add its three letters: workstation.country = "DNK".'
    )


def _memory_fault(recipe: Recipe) -> str | None:
    """Return why no candidate can keep the memory budget, else None."""
    limit = recipe.limits().get("peak_memory_bytes")
    if limit is None or limit >= MIN_PROCESS_BYTES:
        return None
    of_budget = recipe.budgets.peak_memory_mib
    name = "device.memory_mib"
    if of_budget is not None and of_budget * 2**20 <= limit:
        name = "budgets.peak_memory_mib"
    return (
        f"{name} = {limit / 2**20:g}, expected at least {MIN_PROCESS_BYTES / 2**20:g}: Python with numpy "
        f"alone takes more, so no candidate can keep it. Raise {name}."
    )


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
    if recipe.candidates.image_size_px == AUTO:
        return []
    known = zoo.architectures()
    lines = []
    for name, size_px in product(recipe.candidates.architectures, recipe.candidates.image_size_px):
        if name in known and not known[name].accepts(size_px):
            lines.append(
                f"candidates.image_size_px = {size_px}, but {name} takes {known[name].sizes}. "
                f"Change the size, or leave {name} out."
            )
    return lines


def check_architectures(recipe: Recipe) -> None:
    """Check that timm knows the architectures.

    Raises:
        ModelError: unknown ones, all at once.
    """
    unknown = unknown_architectures(recipe)
    if unknown:
        raise ModelError("\n".join(unknown))


def check_machine(recipe: Recipe, trains_here: bool = True, measures_here: bool = True) -> None:
    """Check that this machine can do its part of the run.

    Raises:
        PeprError: unknown architectures, all at once; a missing runtime or GPU.
    """
    check_architectures(recipe)
    fault = device_fault(recipe.device) if measures_here else None
    if fault is not None:
        raise MeasurementError(fault)
    if trains_here and recipe.train.device == "cuda":
        from pepr_edge.train.setup import choose_device

        choose_device("cuda")


def energy_unknown(recipe: Recipe, exclusive: bool) -> str | None:
    """Return why this machine cannot tell the energy of a training, else None.

    Args:
        recipe: of the run.
        exclusive: a training has the machine to itself, so counters of the whole machine can be read.
    """
    settings = MeterSettings(
        watts_per_core=recipe.workstation.watts_per_core,
        gpu_watts=recipe.workstation.gpu_watts,
        exclusive=exclusive,
    )
    uses_gpu = recipe.train.device == "cuda"
    if recipe.train.device == "auto":
        uses_gpu = nvml.unavailable(MeterSettings(watts_per_core=None), "gpu") is None
    return meter.unavailable(replace(settings, uses_gpu=uses_gpu))


def check_energy(recipe: Recipe, exclusive: bool) -> str | None:
    """Check that the energy of the trainings is known if the recipe needs it.

    Args:
        recipe: of the run, which trains on this machine.
        exclusive: as in `energy_unknown`.
    Returns:
        A note if training time will take the place of energy in the score, else None.
    Raises:
        RecipeError: a limit of energy or CO2eq, and no energy is known.
    """
    weighted = any(recipe.score.weights.get(name, 0.0) > 0 for name in OF_ENERGY)
    limits = {"max_energy_wh": recipe.search.max_energy_wh, "max_co2eq_g": recipe.search.max_co2eq_g}
    limited = [f"search.{name} = {value:g}" for name, value in limits.items() if value is not None]
    reason = energy_unknown(recipe, exclusive) if weighted or limited else None
    if reason is None:
        return None
    line = "gpu_watts" if "gpu_watts" in reason else "watts_per_core"
    solution = f"declare [workstation] {line} = ... (the watts of one busy core)"
    if line == "gpu_watts":
        solution = f"declare [workstation] {line} = ... (the watts of the busy GPU)"
    if limited:
        raise RecipeError(
            f"{limited[0]}, but the energy of a training cannot be known here ({reason}). "
            f"Leave it out (search.max_time_h needs no energy), or {solution}."
        )
    return (
        f"the energy of the trainings cannot be known here ({reason}), so the ranking weighs training time "
        f"in its place; to rank by energy, {solution}"
    )


def check_metric(recipe: Recipe, info: DataInfo) -> None:
    """Check that the validation images define the metric of the ranking.

    Raises:
        RecipeError: the metric is not defined even for perfect predictions, as AUROC with one class only.
    """
    name = recipe.score.performance
    fault = decision_metric_fault(name, info, recipe)
    if fault:
        raise RecipeError(f'score.performance = "{name}", but {fault}. Set another, or remove the line.')
    if not fits(name, info.kind):
        raise RecipeError(
            f'score.performance = "{name}", which is no metric of the task, {info.kind}. Set '
            f'score.performance = "{task_of(info.kind).DEFAULT_PERFORMANCE}", or remove the line.'
        )
    task = task_of(info.kind)
    val = info.splits["val"]
    counts = val.class_counts
    labels = task.example_labels(counts, val.images)
    perfect = task.perfect_logits(labels, len(counts))
    with np.errstate(all="ignore"):
        is_defined = len(labels) > 0 and math.isfinite(
            metric(name, info.positive_index, info.kind)(perfect, labels)
        )
    if is_defined:
        return
    listed = ", ".join(f"{label} {count}" for label, count in zip(info.labels, counts, strict=True))
    remedy = (
        'Raise data.val_fraction, add validation images of each class, or set score.performance = "accuracy".'
    )
    if info.kind == "multilabel":  # each of its metrics needs the same
        remedy = "Raise data.val_fraction, or add validation images with and without each finding."
    raise RecipeError(
        f'score.performance = "{name}", but the validation images do not define it ({listed}). {remedy}'
    )


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


def fewer_threads(device: Device) -> str | None:
    """Return what a user should know if this machine measures with fewer threads than the device, else None.

    Only of a runtime that the recipe names: what "auto" chooses is not known yet.
    """
    runtime = device.settings().runtime
    threads = threads_here(runtime, device.threads)
    if threads == device.threads:
        return None
    return (
        f"device.threads = {device.threads}, but {runtime} starts at most {threads} on this machine, one for "
        "each core. The models are measured with no more threads, and their bundles use no more on the "
        "device. For more, run the recipe on a computer with more cores, or give bench --threads there."
    )


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()
