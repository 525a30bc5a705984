"""The deployed form of a trained module: what is exported, measured and handed over.

Some architectures train with parallel branches and batch normalisations that can be merged into single layers
afterwards (mobileone, repvgg, fastvit). timm merges them; all exports go through this module.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from timm.utils.model import reparameterize_model
from torch import nn

from pepr_edge.errors import ExportError
from pepr_edge.export.check import Logits
from pepr_edge.export.onnx_file import Exported, export
from pepr_edge.records import Form
from pepr_edge.untrusted.shown import first_line

BATCH = 16  # images at a time when the two forms are compared
NOT_MERGED = "exported as it was trained, with its training-time branches"


class DeployedForm(NamedTuple):
    """The module to export and its numbers of parameters.

    `note` says why the trained form is exported although timm has another one; empty if not.
    """

    module: nn.Module
    form: Form
    note: str = ""


def deployed_form(
    module: nn.Module, images: NDArray[np.float32], max_difference: float | None
) -> DeployedForm:
    """Return the form of a module for deployment.

    The module itself is left as it is, in evaluation mode.

    Args:
        module: as it was trained, on the CPU.
        images: model inputs, shape (n, channels, px, px), n >= 1.
        max_difference: how much the logits of the two forms may differ on the images; if more, the trained
            form is deployed. None: any logits, for a module with random weights.
    """
    module.eval()
    try:
        with torch.no_grad():
            merged = reparameterize_model(module)  # works on a copy
        merged.eval()
        if _structure(merged) == _structure(module):
            return _as_trained(module)
        fault = _difference_fault(module, merged, images, max_difference)
    except Exception as error:  # each architecture has code of its own for this
        fault = first_line(error)
    if fault is not None:
        return _as_trained(module, f"{NOT_MERGED}: {fault}")
    form = Form(trained_params=count_parameters(module), deployed_params=count_parameters(merged))
    return DeployedForm(merged, form)


def export_deployed(
    module: nn.Module,
    images: NDArray[np.float32],
    max_difference: float | None,
    path: Path,
    check: Callable[[Path], None],
) -> tuple[DeployedForm, Exported]:
    """Write the deployed form of a module as a float32 ONNX file, or the trained form if that fails.

    Args:
        module, images, max_difference: see `deployed_form`.
        path, check: see `onnx_file.export`. The check compares with the trained module.
    Raises:
        ExportError: no form can be exported; the reasons are those of the trained form.
    """
    channels, image_size_px = images.shape[1:3]
    deployed = deployed_form(module, images, max_difference)
    if deployed.module is not module:
        try:
            return deployed, export(deployed.module, channels, image_size_px, path, check)
        except ExportError as fault:
            deployed = _as_trained(module, f"{NOT_MERGED}: {first_line(fault)}")
    return deployed, export(module, channels, image_size_px, path, check)


def count_parameters(module: nn.Module) -> int:
    """Return the number of parameters of a module."""
    return sum(parameter.numel() for parameter in module.parameters())


def _as_trained(module: nn.Module, note: str = "") -> DeployedForm:
    count = count_parameters(module)
    return DeployedForm(module, Form(trained_params=count, deployed_params=count), note)


def _structure(module: nn.Module) -> tuple[list[tuple[str, type]], list[tuple[str, torch.Size]]]:
    """Return the names and types of all layers, and the names and shapes of all parameters."""
    layers = [(name, type(layer)) for name, layer in module.named_modules()]
    shapes = [(name, parameter.shape) for name, parameter in module.named_parameters()]
    return layers, shapes


def _difference_fault(
    module: nn.Module, merged: nn.Module, images: NDArray[np.float32], max_difference: float | None
) -> str | None:
    """Return how the merged form's logits differ by too much, or None."""
    if max_difference is None:
        return None
    difference = float(np.abs(_logits(merged, images) - _logits(module, images)).max())
    if difference <= max_difference:  # False for NaN
        return None
    return f"the merged form's logits differ by {difference:.2g}, tolerance {max_difference:.2g}"


def _logits(module: nn.Module, images: NDArray[np.float32]) -> Logits:
    with torch.inference_mode():
        batches = [module(batch) for batch in torch.split(torch.from_numpy(images), BATCH)]
    logits: Logits = torch.cat(batches).numpy()
    return logits
