"""Write a PyTorch module as one ONNX file with a dynamic batch, by the first exporter that succeeds."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import onnx
import torch
from torch import nn

from pepr_edge.errors import ExportError
from pepr_edge.export.optimise import optimise
from pepr_edge.untrusted.shown import first_line

INPUT, OUTPUT = "pixel_values", "logits"  # the names that optimum's ORTModelForImageClassification expects
MAX_BATCH = 4096
MAX_BYTES = 2**31 - 1  # of a protobuf message, and so of an ONNX file without external data


class Exported(NamedTuple):
    """The exporter that wrote the file, and whether the file was simplified."""

    exporter: str
    simplified: bool


def by_torchscript(model: nn.Module, example: torch.Tensor, path: Path) -> None:
    """Export with PyTorch's older exporter, many times faster than dynamo.

    The runtime folds on loading what this exporter does not fold.
    """
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
    """Export with PyTorch's newer exporter."""
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


class _ForOptimum(nn.Module):
    """A module with the signature and configuration of a transformers model, which optimum requires."""

    def __init__(self, model: nn.Module, channels: int, image_size_px: int) -> None:
        super().__init__()
        from transformers import PretrainedConfig

        self.model = model
        self.config = PretrainedConfig(num_channels=channels, image_size=image_size_px)

    def forward(self, pixel_values: torch.Tensor) -> dict[str, torch.Tensor]:
        return {OUTPUT: self.model(pixel_values)}


def by_optimum(model: nn.Module, example: torch.Tensor, path: Path) -> None:
    """Export with optimum, which patches dynamic sizes in the traced graph.

    `main_export` fetches the model from the hub, and `onnx_export_from_model` knows timm's modules only by
    their class. Both call `export`, which takes any module.
    """
    from optimum.exporters.onnx import export as export_by_optimum
    from optimum.exporters.onnx.model_configs import MobileNetV1OnnxConfig

    wrapped = _ForOptimum(model, *example.shape[1:3]).eval()
    # The configuration of an image classifier in which only the batch is dynamic.
    config = MobileNetV1OnnxConfig(wrapped.config, task="image-classification")
    shapes = {
        "batch_size": len(example),
        "num_channels": example.shape[1],
        "height": example.shape[2],
        "width": example.shape[3],
    }
    export_by_optimum(wrapped, config, path, opset=17, input_shapes=shapes)


# Tried in this order.
EXPORTERS: dict[str, Callable[[nn.Module, torch.Tensor, Path], None]] = {
    "torchscript": by_torchscript,
    "dynamo": by_dynamo,
    "optimum": by_optimum,
}


def export(
    model: nn.Module, channels: int, image_size_px: int, path: Path, check: Callable[[Path], None]
) -> Exported:
    """Write the module as one float32 ONNX file.

    Args:
        model: on the CPU.
        channels, image_size_px: its input.
        path: the file to write.
        check: raises ExportError if the file does not agree with the module.
    Raises:
        ExportError: the module is too large for one file, or no exporter's file passes the check; names the
            reason of each exporter.
    """
    _check_size(model)
    model.eval()
    # Two images: with one, a tracer may take the batch for a constant.
    example = torch.zeros(2, channels, image_size_px, image_size_px)
    reasons = []
    for name, exporter in EXPORTERS.items():
        try:
            with warnings.catch_warnings(), torch.no_grad():
                # The exporters warn of each other, and of every traced constant.
                warnings.simplefilter("ignore")
                exporter(model, example, path)
            remove_metadata(path)
            onnx.checker.check_model(str(path))
            check(path)
            return Exported(name, _simplify(path, check))
        except ExportError as fault:
            reasons.append(f"{name}: {fault}")
        except Exception as fault:  # the exporters and the runtime raise errors of many kinds
            reasons.append(f"{name}: {_root_cause(fault)}")
    raise ExportError("no exporter gave a faithful ONNX file: " + "; ".join(reasons))


def remove_metadata(path: Path) -> None:
    """Remove metadata and doc strings.

    The newer exporter writes the stack trace of each node there, with paths of this machine.
    """
    model = onnx.load(str(path))
    before = model.ByteSize()
    del model.metadata_props[:]
    graphs: list[Any] = [model.graph, *model.functions]
    while graphs:
        graph = graphs.pop()
        items = [graph, *graph.node, *graph.value_info]
        if isinstance(graph, onnx.GraphProto):
            items += [*graph.initializer, *graph.input, *graph.output]
        for item in items:
            item.ClearField("metadata_props")
            item.ClearField("doc_string")
        for node in graph.node:
            graphs += _subgraphs(node)
    if model.ByteSize() < before:
        onnx.save(model, str(path))


def _subgraphs(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """Return the bodies of a branch or loop."""
    graphs: list[onnx.GraphProto] = []
    for attribute in node.attribute:
        graphs += [attribute.g, *attribute.graphs]
    return [graph for graph in graphs if graph.node]


def _check_size(model: nn.Module) -> None:
    tensors = [*model.parameters(), *model.buffers()]
    size_bytes = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    if size_bytes > MAX_BYTES:
        raise ExportError(
            f"the model's weights need {size_bytes / 2**30:.1f} GiB, expected at most 2 GiB, the limit of an "
            "ONNX file (protobuf). Choose a smaller architecture."
        )


def _simplify(path: Path, check: Callable[[Path], None]) -> bool:
    """Replace the file by the output of onnxruntime's basic passes if it is smaller and passes the check.

    The passes fold constants and batch normalisation, and remove nodes without effect. Without this, a
    runtime repeats them at every load.
    """
    simpler = path.with_name(f"{path.stem}.simpler.onnx")
    try:
        optimise(path, simpler, "basic")
        onnx.checker.check_model(str(simpler))
        if node_count(simpler) >= node_count(path):
            return False
        check(simpler)
        simpler.replace(path)
        return True
    except Exception:  # the file as exported passed the check, so it stays
        return False
    finally:
        simpler.unlink(missing_ok=True)


def node_count(path: Path) -> int:
    """Return the number of nodes of an ONNX file."""
    return len(onnx.load(str(path)).graph.node)


def _root_cause(fault: BaseException) -> str:
    """Return the first cause as one line: the newer exporter's own errors only say how far it got."""
    while fault.__cause__ is not None:
        fault = fault.__cause__
    return first_line(fault)
