"""Write a PyTorch module as an exported program, which the runtime "pytorch" opens."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import nn

from pepr_edge.errors import ExportError
from pepr_edge.export.onnx_file import MAX_BATCH
from pepr_edge.measure.runtimes.pytorch import PROGRAM


def write_program(model: nn.Module, channels: int, image_size_px: int, folder: Path) -> None:
    """Write the module's exported program into a folder, beside model.onnx.

    Args:
        model: on the CPU.
        channels, image_size_px: its input.
        folder: of the float32 ONNX file.
    Raises:
        ExportError: PyTorch cannot export it.
    """
    batch = torch.export.Dim("batch", min=1, max=MAX_BATCH)
    example = torch.zeros(2, channels, image_size_px, image_size_px)
    part = folder / f".{PROGRAM}"
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            try:
                program = torch.export.export(model.eval(), (example,), dynamic_shapes=({0: batch},))
            except Exception:  # some architectures export only with a fixed batch; the device uses batch 1
                program = torch.export.export(model.eval(), (example[:1],))
            torch.export.save(program, part)
        part.replace(folder / PROGRAM)
    except Exception as fault:
        words = " ".join(str(fault).split())[:200] or type(fault).__name__
        raise ExportError(f"PyTorch cannot export this module as a program ({words}).") from fault
    finally:
        part.unlink(missing_ok=True)
