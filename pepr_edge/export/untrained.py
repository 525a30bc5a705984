"""Write the ONNX files of an untrained candidate: its latency and memory do not depend on the weights."""

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
from pepr_edge.export.deployed_form import export_deployed
from pepr_edge.export.prepare import PreparedModel
from pepr_edge.export.program import write_program
from pepr_edge.export.screened import screened_variants
from pepr_edge.measure.runtimes import RUNTIMES
from pepr_edge.measure.runtimes.pytorch import PROGRAM
from pepr_edge.recipe import FLOAT32, Recipe
from pepr_edge.recipe.variants import load
from pepr_edge.records import Candidate, SessionSettings


def write_untrained(
    module: nn.Module, candidate: Candidate, recipe: Recipe, images: NDArray[np.float32], folder: Path
) -> dict[str, str]:
    """Write <variant>/model.onnx into a folder, for each screened variant, in the candidate's deployed form.

    Args:
        module: on the CPU, with its initial weights.
        candidate, recipe: those of the module.
        images: model inputs for calibration, shape (n, channels, px, px).
        folder: of the candidate's screening.
    Returns:
        The variants that could not be made, each with the reason.
    Raises:
        ExportError: the float32 file cannot be made.
    """

    def check(path: Path) -> None:
        _check_shapes(path, images, candidate.num_classes)

    reasons = {}
    with tempfile.TemporaryDirectory() as temporary:
        base = Path(temporary) / MODEL
        deployed, _ = export_deployed(module, images, None, base, check)
        with PreparedModel(base) as prepared:
            for name in screened_variants(recipe.export):
                variant_folder = folder / name
                variant_folder.mkdir(parents=True, exist_ok=True)
                try:
                    convert(load(name), prepared, variant_folder / MODEL, images)
                except PeprError as fault:
                    reasons[name] = str(fault)
        if recipe.device.runtime == "pytorch":
            write_program(deployed.module, images, None, base.parent)
            shutil.copyfile(base.with_name(PROGRAM), folder / FLOAT32 / PROGRAM)
    return reasons


def _check_shapes(path: Path, images: NDArray[np.float32], num_classes: int) -> None:
    """Check only the shapes: with random weights the logits may have any values."""
    runtime = RUNTIMES["onnxruntime"]
    session = runtime.open(path, SessionSettings(threads=1))
    for batch in BATCHES:
        logits = runtime.run(session, images[np.arange(batch) % len(images)])
        if logits.shape != (batch, num_classes):
            raise ExportError(f"at batch {batch} the file gives outputs of shape {logits.shape}.")
