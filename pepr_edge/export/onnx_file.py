"""A PyTorch module to one ONNX file with a dynamic batch, by the first exporter whose file works."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import onnx
import torch
from torch import nn

from pepr_edge.errors import ExportError

INPUT, OUTPUT = "pixel_values", "logits"  # the names that optimum's ORTModelForImageClassification expects
MAX_BATCH = 4096


def by_torchscript(model: nn.Module, example: torch.Tensor, path: Path) -> None:
    """The older exporter of PyTorch: many times quicker than the other one; what it leaves unfolded, the runtime folds as it loads."""
    torch.onnx.export(
        model,
        (example,),
        path,
        dynamo=False,
        opset_version=17,
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_axes={INPUT: {0: "batch"}, OUTPUT: {0: "batch"}},
    )


def by_dynamo(model: nn.Module, example: torch.Tensor, path: Path) -> None:
    """The newer exporter of PyTorch."""
    torch.onnx.export(
        model,
        (example,),
        path,
        dynamo=True,
        opset_version=18,
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=MAX_BATCH)},),
        external_data=False,
        verbose=False,
    )


# In the order in which they are tried.
EXPORTERS: dict[str, Callable[[nn.Module, torch.Tensor, Path], None]] = {"torchscript": by_torchscript, "dynamo": by_dynamo}


def export(model: nn.Module, channels: int, image_size_px: int, path: Path, check: Callable[[Path], None]) -> str:
    """Write the module as one float32 ONNX file.

    Args:
        model: on the CPU.
        channels, image_size_px: its input.
        path: the file to be.
        check: raises ExportError where the file does not do what the module does.
    Returns:
        The name of the exporter.
    Raises:
        ExportError: no exporter gave a file that passes the check; says why for each.
    """
    model.eval()
    # Two images: with one, a tracer may take the batch for a constant.
    example = torch.zeros(2, channels, image_size_px, image_size_px)
    reasons = []
    for name, exporter in EXPORTERS.items():
        try:
            with warnings.catch_warnings(), torch.no_grad():
                warnings.simplefilter("ignore")  # the exporters warn of each other, and of every traced constant
                exporter(model, example, path)
            onnx.checker.check_model(str(path))
            check(path)
            return name
        except ExportError as fault:
            reasons.append(f"{name}: {fault}")
        except Exception as fault:  # the exporters and the runtime raise errors of a hundred kinds
            reasons.append(f"{name}: {_root_cause(fault)}")
    raise ExportError("no exporter gave a faithful ONNX file: " + "; ".join(reasons))


def _root_cause(fault: BaseException) -> str:
    """One line on what began it: the newer exporter's own errors tell only how far it got."""
    while fault.__cause__ is not None:
        fault = fault.__cause__
    lines = str(fault).strip().splitlines()
    return f"{type(fault).__name__}: {lines[0][:200]}" if lines else type(fault).__name__


def facts(path: Path) -> tuple[int, str]:
    """Opset and producer of an ONNX file."""
    model = onnx.load(str(path), load_external_data=False)
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    return opset, f"{model.producer_name} {model.producer_version}".strip()
