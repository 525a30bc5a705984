"""Give the tensors of a concatenation one range, so that onnxruntime copies them and converts nothing."""

from __future__ import annotations

from collections.abc import Mapping

from pepr_edge.export.int8.graph import Graph
from pepr_edge.export.int8.ranges import Range

# A tensor may lose one of its eight bits by this.
MAX_WIDENING = 2.0


def share(graph: Graph, floats: frozenset[str], ranges: Mapping[str, Range]) -> dict[str, Range]:
    """Return the ranges, with one for all tensors of a concatenation whose ranges are near enough.

    A tensor that only concatenations read loses nothing: they would round it to their own range anyway.
    """
    shared = dict(ranges)
    nodes = [node for node in graph.nodes if node.op_type == "Concat" and node.name not in floats]
    for node in reversed(nodes):
        result = node.output[0]
        tensors = [name for name in node.input if name in shared]
        if result not in shared or not tensors:
            continue
        whole = _union([shared[name] for name in (result, *tensors)])
        if _width(whole) > MAX_WIDENING * _width(shared[result]):
            continue
        shared[result] = whole
        for name in tensors:
            if _may_widen(graph, name, shared[name], whole):
                shared[name] = whole
    return shared


def _may_widen(graph: Graph, name: str, own: Range, whole: Range) -> bool:
    producer = graph.producer(name)
    if producer is not None and producer.op_type in ("Clip", "Relu"):
        # The quantiser removes the activation: the ends of the range do its work.
        keeps_top = producer.op_type == "Relu" or whole[1] == own[1]
        if whole[0] != own[0] or not keeps_top:
            return False
    readers = {reader.op_type for reader in graph.consumers(name)}
    return readers == {"Concat"} or _width(whole) <= MAX_WIDENING * _width(own)


def _union(ranges: list[Range]) -> Range:
    return min(low for low, _ in ranges), max(high for _, high in ranges)


def _width(limits: Range) -> float:
    return limits[1] - limits[0]
