"""onnxruntime's own graph passes, saved."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import onnx
from onnx import numpy_helper


def optimise(source: Path, path: Path, level: Literal["basic", "extended"]) -> None:
    """Write a float32 ONNX file as onnxruntime leaves it after its passes.

    Both levels are the same on every machine. "basic" keeps to the operators of the ONNX standard, which every runtime can load; "extended"
    fuses some into onnxruntime's own.

    Args:
        source: the file as it is.
        path: the file to be.
        level: how far.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(
        onnxruntime.GraphOptimizationLevel, f"ORT_ENABLE_{level.upper()}"
    )
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
    before, after = onnx.load(str(source)), onnx.load(str(path))
    # onnxruntime declares every set of operators that it knows, and forgets who made the file.
    used = {node.domain for node in after.graph.node} | {""}
    declared = [entry for entry in after.opset_import if entry.domain in used]
    del after.opset_import[:]
    after.opset_import.extend(declared)
    after.producer_name, after.producer_version = before.producer_name, before.producer_version
    _drop_idle_slices(after)
    onnx.save(after, str(path))


def _drop_idle_slices(model: onnx.ModelProto) -> None:
    """Take out slices that cut nothing off, which onnxruntime leaves.

    They are of models that keep the first n of n channels (ghostnet). OpenVINO 2026.4 ends the process with a segmentation fault where such
    slices and the joints before them are quantised and the batch is fixed.
    """
    graph = model.graph
    slices = [node for node in graph.node if node.op_type == "Slice"]
    # A branch or loop may read what stands outside of it; none of the zoo's graphs has one.
    if not slices or any(attribute.HasField("g") for node in graph.node for attribute in node.attribute):
        return
    constants = {tensor.name: tensor for tensor in graph.initializer}
    outputs = {value.name for value in graph.output}
    inferred = onnx.shape_inference.infer_shapes(model).graph
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*inferred.value_info, *inferred.input)
    }
    same: dict[str, str] = {}
    for node in list(graph.node):
        node.input[:] = [same.get(name, name) for name in node.input]
        if (
            node in slices
            and node.output[0] not in outputs
            and _is_idle(node, constants, shapes.get(node.input[0], []))
        ):
            same[node.output[0]] = node.input[0]
            graph.node.remove(node)
    used = {name for node in graph.node for name in node.input}
    for name in {name for node in slices for name in node.input[1:]} - used:
        graph.initializer.remove(constants[name])


def _is_idle(node: onnx.NodeProto, constants: dict[str, onnx.TensorProto], shape: list[int]) -> bool:
    """Whether a slice keeps all of a tensor of this shape, whose sizes that are not known are 0."""
    if len(node.input) < 3 or not set(node.input[1:]) <= set(constants):
        return False
    starts, ends, *more = (numpy_helper.to_array(constants[name]).tolist() for name in node.input[1:])
    axes = more[0] if more else range(len(starts))
    steps = more[1] if len(more) > 1 else [1] * len(starts)
    whole = [
        -len(shape) <= axis < len(shape) and 0 < shape[axis] <= end
        for axis, end in zip(axes, ends, strict=True)
    ]
    return all(whole) and not any(starts) and set(steps) == {1}
