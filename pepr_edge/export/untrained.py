"""The ONNX files of a candidate that is not trained yet: what they need on the device does not depend on the weights."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from pepr_edge.errors import ExportError, PeprError
from pepr_edge.export.artifact import MODEL
from pepr_edge.export.check import BATCHES
from pepr_edge.export.convert import convert
from pepr_edge.export.onnx_file import export
from pepr_edge.export.prepare import Prepared
from pepr_edge.export.program import write_program
from pepr_edge.measure.runtimes import RUNTIMES
from pepr_edge.measure.runtimes.pytorch import PROGRAM
from pepr_edge.recipe import FLOAT32, Export, Recipe
from pepr_edge.recipe.variants import load
from pepr_edge.records import Candidate, SessionSettings

TYPICAL = "int8_static"  # of what a ladder may choose


def screened_variants(settings: Export) -> tuple[str, ...]:
    """The variants that stand for what a candidate would leave as: those named; for a ladder where it starts, and its likeliest end."""
    return tuple(dict.fromkeys((*settings.made, *([FLOAT32, TYPICAL] if settings.auto else []))))


def write_untrained(
    module: nn.Module, candidate: Candidate, recipe: Recipe, images: NDArray[np.float32], folder: Path
) -> dict[str, str]:
    """Write <variant>/model.onnx into a folder, for each variant that is looked at.

    Args:
        module: on the CPU, with its initial weights.
        candidate, recipe: what it is of.
        images: model inputs to calibrate on, shape (n, channels, px, px).
        folder: of the looks.
    Returns:
        Why a variant could not be made, by its name.
    Raises:
        ExportError: not even the float32 file can be made.
    """
    reasons = {}
    with tempfile.TemporaryDirectory() as temporary:
        base = Path(temporary) / MODEL
        export(
            module,
            candidate.in_channels,
            candidate.image_size_px,
            base,
            lambda path: _check(path, images, candidate.num_classes),
        )
        with Prepared(base) as prepared:
            for name in screened_variants(recipe.export):
                (folder / name).mkdir(parents=True, exist_ok=True)
                try:
                    convert(load(name), prepared, folder / name / MODEL, images)
                except PeprError as fault:
                    reasons[name] = str(fault)
        if recipe.device.runtime == "pytorch":
            write_program(module, candidate.in_channels, candidate.image_size_px, base.parent)
            shutil.copyfile(base.with_name(PROGRAM), folder / FLOAT32 / PROGRAM)
    return reasons


def _check(path: Path, images: NDArray[np.float32], num_classes: int) -> None:
    """What the file says is not looked at: with weights by chance it may be anything."""
    runtime = RUNTIMES["onnxruntime"]
    session = runtime.open(path, SessionSettings(threads=1))
    for batch in BATCHES:
        found = runtime.run(session, images[np.arange(batch) % len(images)])
        if found.shape != (batch, num_classes):
            raise ExportError(f"at batch {batch} the file gives outputs of shape {found.shape}.")
