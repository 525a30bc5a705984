"""Correct the mean of each layer's result for what the rounding of its weights and its input shifts.

Source: Nagel et al. 2019, Data-free quantization through weight equalization and bias correction; here with
means measured on images.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx

from pepr_edge.export.int8.graph import Array, Graph, attribute, is_depthwise
from pepr_edge.export.int8.ranges import Range, rounded
from pepr_edge.export.int8.statistics import Floats, TensorStatistics
from pepr_edge.recipe.variants import Quantise

WEIGHT_STEPS = 127
REDUCED_STEPS = 63  # of weights with seven bits


def correct(
    graph: Graph,
    floats: frozenset[str],
    statistics: Mapping[str, TensorStatistics],
    ranges: Mapping[str, Range],
    settings: Quantise,
) -> int:
    """Subtract from each integer layer's bias the mean error of its result; return how many changed.

    Args:
        graph: in float32, which is changed: it no longer computes the same in float32.
        floats: nodes that stay float32.
        statistics: of the inputs of the layers.
        ranges: to which the inputs are rounded.
        settings: how the weights are rounded.
    """
    count = 0
    for node in graph.nodes:
        found = statistics.get(node.input[0]) if node.op_type in ("Conv", "Gemm") else None
        weight = graph.constant(node.input[1]) if found is not None else None
        if node.name in floats or found is None or weight is None or len(node.input) < 3:
            continue
        bias = graph.constant(node.input[2])
        if bias is None:
            continue
        shift = _shift(graph, node, weight, found, ranges[node.input[0]], settings)
        if shift is None or shift.shape != bias.shape:
            continue
        names = [
            *node.input[:2],
            graph.add_constant(f"{node.name}.bias_corrected", (bias - shift).astype(np.float32)),
        ]
        graph.set_inputs(node, names)
        count += 1
    return count


def _shift(
    graph: Graph,
    node: onnx.NodeProto,
    weight: Array,
    found: TensorStatistics,
    limits: Range,
    settings: Quantise,
) -> Floats | None:
    """Return the mean error of each output: E[Wq xq - W x]."""
    transposed = node.op_type == "Gemm" and not attribute(node, "transB", 0)
    rows = np.asarray(weight.T if transposed else weight, np.float64)
    rounded_rows = round_weights(rows, settings)
    sample = found.sample.astype(np.float64)
    error = (rounded(sample, limits) - sample).mean(axis=1)
    if is_depthwise(graph, node):
        kernel = rows.reshape(len(rows), -1)
        rounded_kernel = rounded_rows.reshape(len(rows), -1)
        if len(found.mean) != len(rows):
            return None
        return np.asarray(
            rounded_kernel.sum(axis=1) * error + (rounded_kernel - kernel).sum(axis=1) * found.mean
        )
    sums = rows.reshape(*rows.shape[:2], -1).sum(axis=2)
    rounded_sums = rounded_rows.reshape(*rows.shape[:2], -1).sum(axis=2)
    if sums.shape[1] != len(found.mean):
        return None
    return np.asarray(rounded_sums @ error + (rounded_sums - sums) @ found.mean)


def round_weights(rows: Floats, settings: Quantise) -> Floats:
    """Return weights after rounding to symmetric steps, by output or for all together."""
    flat = rows.reshape(len(rows), -1)
    largest = np.abs(flat).max(axis=1, keepdims=True)
    if not settings.per_channel:
        largest = np.full_like(largest, largest.max())
    steps = REDUCED_STEPS if settings.reduce_range else WEIGHT_STEPS
    scale = np.where(largest > 0, largest / steps, 1.0)
    return np.asarray((np.round(flat / scale) * scale).reshape(rows.shape))
