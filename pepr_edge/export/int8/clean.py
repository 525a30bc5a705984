"""Clean a quantised graph: no roundings that serve no integer kernel, no products that a scale can do."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from pepr_edge.export.int8.graph import Graph
from pepr_edge.export.int8.placement import FLOAT_RESULTS


def strip_roundings(graph: Graph, floats: Collection[str]) -> int:
    """Remove the roundings of results that only float32 nodes read; return how many.

    Args:
        graph: quantised.
        floats: names of the nodes that stay float32.
    """
    count = 0
    for node in list(graph.nodes):
        source = graph.producer(node.input[0]) if node.op_type == "QuantizeLinear" else None
        if source is None or source.op_type not in FLOAT_RESULTS:
            continue
        restored = graph.consumers(node.output[0])
        readers = [reader for other in restored for reader in graph.consumers(other.output[0])]
        is_output = any(other.output[0] in graph.outputs for other in restored)
        if any(reader.name not in floats for reader in readers) or (is_output and len(restored) > 1):
            continue
        if is_output:  # the result keeps the name of the output
            name = restored[0].output[0]
            graph.replace([node, *restored], [])
            graph.rename_result(source, node.input[0], name)
        else:
            for other in restored:
                graph.redirect(other.output[0], node.input[0])
            graph.replace([node, *restored], [])
        count += 1
    return count


def fold_factors(graph: Graph) -> int:
    """Remove products with a positive constant between two integer tensors; return how many.

    Before: dequantise -> times a constant -> quantise -> dequantise. After: one dequantisation.
    """
    count = 0
    for node in list(graph.nodes):
        if node.op_type != "Mul":
            continue
        source = graph.producer(node.input[0])
        factor = graph.scalar(node.input[1])
        rounded = graph.only_consumer(node.output[0])
        if source is None or source.op_type != "DequantizeLinear" or factor is None or factor <= 0:
            continue
        if rounded is None or rounded.op_type != "QuantizeLinear":
            continue
        scale = graph.scalar(source.input[1])
        restored = graph.consumers(rounded.output[0])
        if scale is None or any(reader.op_type != "DequantizeLinear" for reader in restored):
            continue
        name = graph.add_constant(f"{node.name}.scale", np.float32(scale * factor))
        for reader in restored:
            graph.set_inputs(reader, [source.input[0], name, source.input[2]])
        graph.replace([node, rounded], [])
        if not graph.consumers(source.output[0]):
            graph.replace([source], [])
        count += 1
    return count
