"""Save an ONNX file after onnxruntime's own graph passes."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import onnx
from onnx import numpy_helper


def optimise(source: Path, path: Path, level: Literal["basic", "extended"]) -> None:
    """Write a float32 ONNX file after onnxruntime's passes, which give the same result on every machine.

    Args:
        source: the file to read.
        path: the file to write.
        level: "basic" keeps to the operators of the ONNX standard, which every runtime can load; "extended"
            fuses some into onnxruntime's own.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(
        onnxruntime.GraphOptimizationLevel, f"ORT_ENABLE_{level.upper()}"
    )
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
    before = onnx.load(str(source))
    after = onnx.load(str(path))
    # onnxruntime declares every operator set that it knows, and drops the producer.
    used = {node.domain for node in after.graph.node} | {""}
    declared = [entry for entry in after.opset_import if entry.domain in used]
    del after.opset_import[:]
    after.opset_import.extend(declared)
    after.producer_name = before.producer_name
    after.producer_version = before.producer_version
    _remove_idle_slices(after)
    onnx.save(after, str(path))


def has_subgraphs(graph: onnx.GraphProto) -> bool:
    """Return True if a node has a branch or a loop."""
    return any(any(attribute.HasField("g") for attribute in node.attribute) for node in graph.node)


def _remove_idle_slices(model: onnx.ModelProto) -> None:
    """Remove slices that keep the whole tensor, which onnxruntime leaves.

    They come from models that keep the first n of n channels (ghostnet). OpenVINO 2026.4 ends the process
    with a segmentation fault if such slices and the concatenations before them are quantised and the batch is
    fixed.
    """
    graph = model.graph
    slices = [node for node in graph.node if node.op_type == "Slice"]
    # A branch or loop may read tensors of the outer graph; none of the zoo's graphs has one.
    if not slices or has_subgraphs(graph):
        return
    constants = {tensor.name: tensor for tensor in graph.initializer}
    outputs = {value.name for value in graph.output}
    shapes = _shapes(model)
    replaced: dict[str, str] = {}
    for node in list(graph.node):
        node.input[:] = [replaced.get(name, name) for name in node.input]
        if node.op_type != "Slice" or node.output[0] in outputs:
            continue
        if _is_idle(node, constants, shapes.get(node.input[0], [])):
            replaced[node.output[0]] = node.input[0]
            graph.node.remove(node)
    used: set[str] = set()
    for node in graph.node:
        used.update(node.input)
    bounds: set[str] = set()
    for node in slices:
        bounds.update(node.input[1:])
    for name in bounds - used:
        graph.initializer.remove(constants[name])


def _shapes(model: onnx.ModelProto) -> dict[str, list[int]]:
    """Return the shape of every tensor; an unknown size is 0."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    shapes = {}
    for value in (*inferred.value_info, *inferred.input):
        shapes[value.name] = [size.dim_value for size in value.type.tensor_type.shape.dim]
    return shapes


def _is_idle(node: onnx.NodeProto, constants: dict[str, onnx.TensorProto], shape: list[int]) -> bool:
    """Return True if a slice keeps all of a tensor of this shape, in which an unknown size is 0."""
    if len(node.input) < 3 or not set(node.input[1:]) <= set(constants):
        return False
    bounds = [numpy_helper.to_array(constants[name]).tolist() for name in node.input[1:]]
    starts, ends = bounds[:2]
    axes = bounds[2] if len(bounds) > 2 else range(len(starts))
    steps = bounds[3] if len(bounds) > 3 else [1] * len(starts)
    if any(starts) or any(step != 1 for step in steps):
        return False
    for axis, end in zip(axes, ends, strict=True):
        if not -len(shape) <= axis < len(shape) or not 0 < shape[axis] <= end:
            return False
    return True
