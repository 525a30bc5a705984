"""Write linear layers as Gemm, whose integer kernel adds the bias and gives float32 in one pass."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from pepr_edge.export.int8.graph import Graph


def join_linear(graph: Graph) -> int:
    """Replace MatMul with constant weights, and the addition of its bias, by Gemm between two reshapes.

    onnxruntime does the same on loading, but then leaves the weights in float32: it does not see that the
    bias of the new Gemm is a constant.
    """
    count = 0
    for node in list(graph.nodes):
        weight = graph.constant(node.input[1]) if node.op_type == "MatMul" else None
        shape = graph.shape(node.input[0])
        if weight is None or weight.ndim != 2 or len(shape) < 2 or 0 in shape[1:]:
            continue
        old, bias = _with_bias(graph, node, weight.shape[1])
        name = node.name or f"linear_{node.output[0]}"
        flat = graph.new_name(f"{node.output[0]}.rows")
        result = old[-1].output[0]
        rows = result if len(shape) == 2 else graph.new_name(f"{node.output[0]}.product")
        bias_name = graph.add_constant(f"{name}.bias", bias)
        weight_name = graph.add_constant(f"{name}.weight", weight)
        gemm = helper.make_node(
            "Gemm", [node.input[0] if len(shape) == 2 else flat, weight_name, bias_name], [rows], name
        )
        if len(shape) == 2:
            graph.replace(old, [gemm])
        else:
            flatten = graph.reshape(node.input[0], flat, (-1, shape[-1]))
            restore = graph.reshape(rows, result, (-1, *shape[1:-1], weight.shape[1]))
            graph.set_shape(flat, (0, shape[-1]))
            graph.set_shape(rows, (0, weight.shape[1]))
            graph.replace(old, [flatten, gemm, restore])
        count += 1
    return count


def _with_bias(
    graph: Graph, product: onnx.NodeProto, outputs: int
) -> tuple[list[onnx.NodeProto], np.ndarray]:
    """Return a product and the addition after it, if that adds a bias, and the bias, which may be zero."""
    zero = np.zeros(outputs, np.float32)
    addition = graph.only_consumer(product.output[0])
    if addition is None or addition.op_type != "Add":
        return [product], zero
    other = [name for name in addition.input if name != product.output[0]]
    bias = graph.constant(other[0]) if len(other) == 1 else None
    if bias is None or bias.size not in (1, outputs) or bias.ndim > len(graph.shape(product.input[0])):
        return [product], zero
    if bias.size > 1 and bias.shape[-1] != outputs:  # a column adds one value per row
        return [product], zero
    return [product, addition], (zero + bias.reshape(-1)).astype(np.float32)
