"""A PyTorch module to one ONNX file with a dynamic batch, by the first exporter whose file works."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import onnx
import torch
from torch import nn

from pepr_edge.errors import ExportError
from pepr_edge.export.optimise import optimise

INPUT, OUTPUT = "pixel_values", "logits"  # the names that optimum's ORTModelForImageClassification expects
MAX_BATCH = 4096
MAX_BYTES = 2**31 - 1  # of a protobuf message, and so of an ONNX file that is one piece


class Exported(NamedTuple):
    """Which exporter's file it is, and whether it was simplified."""

    exporter: str
    simplified: bool


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


class _ForOptimum(nn.Module):
    """A module with the signature and the configuration of one of transformers, which is all that optimum asks of a model."""

    def __init__(self, model: nn.Module, channels: int, image_size_px: int) -> None:
        super().__init__()
        from transformers import PretrainedConfig

        self.model, self.config = model, PretrainedConfig(num_channels=channels, image_size=image_size_px)

    def forward(self, pixel_values: torch.Tensor) -> dict[str, torch.Tensor]:
        return {OUTPUT: self.model(pixel_values)}


def by_optimum(model: nn.Module, example: torch.Tensor, path: Path) -> None:
    """optimum's exporter, which patches the graph's dynamic sizes after it was traced.

    `main_export` asks the hub for the model, and `onnx_export_from_model` knows the modules of timm by their class alone; `export`, which
    both call, takes any module.
    """
    from optimum.exporters.onnx import export as export_by_optimum
    from optimum.exporters.onnx.model_configs import MobileNetV1OnnxConfig

    wrapped = _ForOptimum(model, *example.shape[1:3]).eval()
    # The configuration of an image classifier whose batch alone is dynamic.
    config = MobileNetV1OnnxConfig(wrapped.config, task="image-classification")
    shapes = {
        "batch_size": len(example),
        "num_channels": example.shape[1],
        "height": example.shape[2],
        "width": example.shape[3],
    }
    export_by_optimum(wrapped, config, path, opset=17, input_shapes=shapes)


# In the order in which they are tried.
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
        path: the file to be.
        check: raises ExportError where the file does not do what the module does.
    Raises:
        ExportError: no exporter gave a file that passes the check; says why for each. Or the module is too large for one file.
    """
    _refuse_too_large(model)
    model.eval()
    # Two images: with one, a tracer may take the batch for a constant.
    example = torch.zeros(2, channels, image_size_px, image_size_px)
    reasons = []
    for name, exporter in EXPORTERS.items():
        try:
            with warnings.catch_warnings(), torch.no_grad():
                warnings.simplefilter(
                    "ignore"
                )  # the exporters warn of each other, and of every traced constant
                exporter(model, example, path)
            forget_places(path)
            onnx.checker.check_model(str(path))
            check(path)
            return Exported(name, _simplify(path, check))
        except ExportError as fault:
            reasons.append(f"{name}: {fault}")
        except Exception as fault:  # the exporters and the runtime raise errors of a hundred kinds
            reasons.append(f"{name}: {_root_cause(fault)}")
    raise ExportError("no exporter gave a faithful ONNX file: " + "; ".join(reasons))


def forget_places(path: Path) -> None:
    """Take the notes out of an ONNX file: the newer exporter gives each node the stack that it comes from, with paths of this machine."""
    model = onnx.load(str(path))
    before = model.ByteSize()
    del model.metadata_props[:]
    graphs = [model.graph, *model.functions]
    while graphs:
        graph = graphs.pop()
        named = (
            () if isinstance(graph, onnx.FunctionProto) else (*graph.initializer, *graph.input, *graph.output)
        )
        for noted in (graph, *graph.node, *graph.value_info, *named):
            noted.ClearField("metadata_props")
            noted.ClearField("doc_string")
        graphs += [
            inner
            for node in graph.node
            for attribute in node.attribute
            for inner in (attribute.g, *attribute.graphs)
            if inner.node
        ]
    if model.ByteSize() < before:
        onnx.save(model, str(path))


def _refuse_too_large(model: nn.Module) -> None:
    tensors = [*model.parameters(), *model.buffers()]
    size_bytes = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    if size_bytes > MAX_BYTES:
        has = f"the model's weights need {size_bytes / 2**30:.1f} GiB, and one ONNX file holds at most 2 GiB"
        raise ExportError(f"{has} (a limit of its format, protobuf). Choose a smaller architecture.")


def _simplify(path: Path, check: Callable[[Path], None]) -> bool:
    """Put the file as onnxruntime's basic passes leave it into its place, if it is smaller and still does what the module does.

    They fold constants and batch normalisation, and drop what does nothing: the runtimes do so as well, each time that they load it.
    """
    simpler = path.with_name(f"{path.stem}.simpler.onnx")
    try:
        optimise(path, simpler, "basic")
        onnx.checker.check_model(str(simpler))
        if nodes(simpler) >= nodes(path):
            return False
        check(simpler)
        simpler.replace(path)
        return True
    except Exception:  # whatever was wrong with it, the file as exported is right
        return False
    finally:
        simpler.unlink(missing_ok=True)


def nodes(path: Path) -> int:
    """Number of nodes of an ONNX file."""
    return len(onnx.load(str(path)).graph.node)


def _root_cause(fault: BaseException) -> str:
    """One line on what began it: the newer exporter's own errors tell only how far it got."""
    while fault.__cause__ is not None:
        fault = fault.__cause__
    lines = str(fault).strip().splitlines()
    return f"{type(fault).__name__}: {lines[0][:200]}" if lines else type(fault).__name__
