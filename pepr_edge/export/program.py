"""Write a PyTorch module as an exported program, which the runtime "pytorch" opens."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.export import ExportedProgram

from pepr_edge.errors import ExportError
from pepr_edge.export.fold import fold_batch_norms
from pepr_edge.export.onnx_file import MAX_BATCH
from pepr_edge.measure.runtimes.pytorch import PROGRAM

COMPARED_IMAGES = 16  # on which the program with folded batch normalisations must agree with the module


def write_program(
    model: nn.Module, images: NDArray[np.float32], max_difference: float | None, folder: Path
) -> None:
    """Write the module's exported program into a folder, beside model.onnx.

    Batch normalisation is folded into convolutions, as in the ONNX file, if the logits then stay the same.

    Args:
        model: in its deployed form, on the CPU.
        images: model inputs, shape (n, channels, px, px), n >= 1.
        max_difference: how much folding may change the logits on them; None: any logits, for random weights.
        folder: of the float32 ONNX file.
    Raises:
        ExportError: PyTorch cannot export it.
    """
    example = torch.zeros(2, *images.shape[1:])
    part = folder / f".{PROGRAM}"
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program = _export(model.eval(), example)
            compared = torch.from_numpy(images[:COMPARED_IMAGES])
            torch.export.save(_folded(program, model, example, compared, max_difference) or program, part)
        part.replace(folder / PROGRAM)
    except Exception as fault:
        words = " ".join(str(fault).split())[:200] or type(fault).__name__
        raise ExportError(f"PyTorch cannot export this module as a program ({words}).") from fault
    finally:
        part.unlink(missing_ok=True)


def _export(model: nn.Module, example: torch.Tensor) -> ExportedProgram:
    batch = torch.export.Dim("batch", min=1, max=MAX_BATCH)
    try:
        return torch.export.export(model, (example,), dynamic_shapes=({0: batch},))
    except Exception:  # some architectures export only with a fixed batch; the device uses batch 1
        return torch.export.export(model, (example[:1],))


def _folded(
    program: ExportedProgram,
    model: nn.Module,
    example: torch.Tensor,
    images: torch.Tensor,
    max_difference: float | None,
) -> ExportedProgram | None:
    """Return the program with folded batch normalisations; None if there are none, or the logits change."""
    graph = program.module()
    try:
        if fold_batch_norms(graph) == 0:
            return None
        folded = _export(graph, example)
        if max_difference is None:
            return folded
        difference = _logits(folded.module(), images) - _logits(model, images)
    except Exception:  # PyTorch's graphs differ between its versions; the program as exported stays
        return None
    return folded if float(difference.abs().max()) <= max_difference else None


def _logits(call: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor) -> torch.Tensor:
    """Return logits, one image at a time: the program may have a fixed batch."""
    return torch.cat([call(image) for image in torch.split(images, 1)])
