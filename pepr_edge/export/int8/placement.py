"""Which nodes compute on integers: those for which onnxruntime has an integer kernel, where that pays."""

from __future__ import annotations

import numpy as np
import onnx

from pepr_edge.export.int8.graph import SILU, Graph
from pepr_edge.export.int8.rewrites import STEM_CHANNELS
from pepr_edge.recipe.variants import WEIGHTED

# onnxruntime computes these on integers if all of their inputs are integers. Softmax has an integer kernel
# too, which takes five times as long as float32.
ELEMENTWISE = (
    "Add",
    "AveragePool",
    "Clip",
    "Concat",
    "GlobalAveragePool",
    "LeakyRelu",
    "MaxPool",
    "Mul",
    "Relu",
    "Resize",
    "Sigmoid",
)
# These move values and compute nothing.
MOVING = ("Flatten", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze")
OPERATORS = (*WEIGHTED, *ELEMENTWISE, *MOVING)
# Their integer kernels can give float32 results, without a rounding to 8 bits.
FLOAT_RESULTS = ("Gemm", "MatMul")
# Products for each value that is rounded and restored. With fewer, int8 was measured no faster than float32.
MIN_PRODUCTS = 30
# A convolution of an image with few channels copies its pixels in many short pieces, unless
# `rewrites.fold_pixels` could give the image more channels. With at most this many weights for each pixel of
# the window, int8 took 0.84 to 2.4 times as long as float32 (docs/decisions/integer-kernels.md).
MAX_IMAGE_WEIGHTS = 96


def float_nodes(graph: Graph, keep: frozenset[str] = frozenset()) -> frozenset[str]:
    """Return the names of the nodes that stay float32.

    Args:
        graph: the float32 graph.
        keep: nodes that stay float32 in any case.
    """
    integer: set[str] = set()  # tensors that an integer node makes
    floats = set()
    for node in graph.nodes:
        if node.name in keep:
            floats.add(node.name)
        elif node.op_type == SILU or (is_factor(graph, node) and node.input[0] in integer):
            # SiLU's result is rounded for its integer readers; `clean.fold_factors` removes a factor.
            floats.add(node.name)
            integer.update(node.output)
        elif _computes_on_integers(graph, node, integer):
            if node.op_type not in FLOAT_RESULTS or _feeds_integers(graph, node.output[0], keep):
                integer.update(node.output)
        else:
            floats.add(node.name)
    floats.update(_lonely(graph, floats, integer))
    return frozenset(floats)


def _lonely(graph: Graph, floats: set[str], integer: set[str]) -> list[str]:
    """Return the layers between float32 nodes that compute too little to pay for rounding in and out."""
    names = []
    for node in graph.nodes:
        if node.op_type not in WEIGHTED or node.name in floats or node.input[0] in integer:
            continue
        readers = graph.consumers(node.output[0])
        if (
            all(reader.name in floats for reader in readers)
            and _products_per_value(graph, node) < MIN_PRODUCTS
        ):
            names.append(node.name)
    return names


def _products_per_value(graph: Graph, node: onnx.NodeProto) -> float:
    """Return how many products a layer computes for each value that it reads or makes."""
    weight = graph.constant(node.input[1])
    source = _size(graph.shape(node.input[0]))
    result = _size(graph.shape(node.output[0]))
    if weight is None or not source or not result:
        return float("inf")
    outputs = weight.shape[0] if weight.ndim == 4 else graph.shape(node.output[0])[-1]
    return result * (weight.size / outputs) / (source + result)


def _size(shape: tuple[int, ...]) -> int:
    """Return the number of values for one image; 0 if it is not known."""
    return int(np.prod(shape[1:])) if shape else 0


def _feeds_integers(graph: Graph, name: str, keep: frozenset[str]) -> bool:
    """True if only integer convolutions and linear layers read a tensor, maybe after it was moved."""
    readers = graph.consumers(name)
    if not readers or name in graph.outputs:
        return False
    for reader in readers:
        if reader.op_type in MOVING:
            if not _feeds_integers(graph, reader.output[0], keep):
                return False
        elif reader.op_type not in WEIGHTED or reader.name in keep or graph.constant(reader.input[1]) is None:
            return False
    return True


def is_factor(graph: Graph, node: onnx.NodeProto) -> bool:
    """True for a product with a positive number."""
    factor = graph.scalar(node.input[1]) if node.op_type == "Mul" else None
    return factor is not None and factor > 0


def _computes_on_integers(graph: Graph, node: onnx.NodeProto, integer: set[str]) -> bool:
    if node.op_type in WEIGHTED:
        return graph.constant(node.input[1]) is not None and not _reads_few_channels(graph, node)
    if node.op_type in MOVING:
        return node.input[0] in integer
    if node.op_type not in ELEMENTWISE:
        return False
    data = [name for name in node.input if name and graph.constant(name) is None]
    return bool(data) and all(name in integer for name in data)


def _reads_few_channels(graph: Graph, node: onnx.NodeProto) -> bool:
    """True for a convolution of the image that has too few weights to be faster on integers."""
    weight = graph.constant(node.input[1]) if node.op_type == "Conv" else None
    if weight is None or node.input[0] not in graph.inputs:
        return False
    outputs, channels = weight.shape[:2]
    return bool(channels < STEM_CHANNELS and outputs * channels <= MAX_IMAGE_WEIGHTS)
