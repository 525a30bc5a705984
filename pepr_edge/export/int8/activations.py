"""Exact rewrites of activations, so that they are computed on integers or cost nothing there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper

from pepr_edge.export.int8.graph import GELU, MICROSOFT, SILU, Graph, attribute

# Returns the nodes of an activation, in their order, and its input; None if a node belongs to none.
Find = Callable[[Graph, onnx.NodeProto], tuple[list[onnx.NodeProto], str] | None]
HARD_SLOPE, HARD_SHIFT = 1 / 6, 0.5  # of HardSwish: x * clip(x / 6 + 1/2, 0, 1)


def fold_gates(graph: Graph) -> int:
    """Fold the slope of a HardSigmoid into the convolution before it: what remains is a Clip.

    Clipping is free on integers: a convolution's result is cut off at the ends of its range.
    """
    count = 0
    for node in list(graph.nodes):
        source = graph.producer(node.input[0]) if node.op_type == "HardSigmoid" else None
        if source is None or source.op_type != "Conv" or graph.only_consumer(node.input[0]) is not node:
            continue
        weight = graph.constant(source.input[1])
        bias = None if weight is None else np.zeros(len(weight), np.float32)
        if len(source.input) > 2 and source.input[2]:
            bias = graph.constant(source.input[2])
        if weight is None or bias is None:
            continue
        slope, shift = _slope_and_shift(node)
        names = [
            source.input[0],
            graph.add_constant(f"{source.name}.gate_weight", (weight * slope).astype(np.float32)),
            graph.add_constant(f"{source.name}.gate_bias", (bias * slope + shift).astype(np.float32)),
        ]
        graph.set_inputs(source, names)
        graph.replace([node], [_clip(graph, node.input[0], node.output[0], 1.0, node.name)])
        count += 1
    return count


def add_hard_swishes(graph: Graph) -> int:
    """Write x * HardSigmoid(x) as x * (clip(x + 3, 0, 6) / 6): an addition and a product, both on integers.

    The division only changes what an integer stands for, see `clean.fold_factors`.
    """
    count = 0
    for node in list(graph.nodes):
        found = _hard_swish(graph, node)
        if found is None:
            continue
        old, source, result = found
        slope, shift = (
            _slope_and_shift(old[0]) if old[0].op_type == "HardSigmoid" else (HARD_SLOPE, HARD_SHIFT)
        )
        stem = graph.new_name(f"{old[-1].name or result}.hard")
        offset = graph.add_constant(f"{stem}.offset", np.float32(shift / slope))
        factor = graph.add_constant(f"{stem}.factor", np.float32(slope))
        shape = graph.shape(source)
        for name in ("shifted", "clipped", "gate"):
            graph.set_shape(f"{stem}.{name}", shape)
        new = [
            helper.make_node("Add", [source, offset], [f"{stem}.shifted"], f"{stem}.add"),
            _clip(graph, f"{stem}.shifted", f"{stem}.clipped", 1 / slope, f"{stem}.clip"),
            helper.make_node("Mul", [f"{stem}.clipped", factor], [f"{stem}.gate"], f"{stem}.scale"),
            helper.make_node("Mul", [source, f"{stem}.gate"], [result], f"{stem}.mul"),
        ]
        graph.replace(old, new)
        count += 1
    return count


def _hard_swish(graph: Graph, node: onnx.NodeProto) -> tuple[list[onnx.NodeProto], str, str] | None:
    """Return the nodes of a HardSwish, its input and its output; None if it is none."""
    if node.op_type == "HardSwish":
        return [node], node.input[0], node.output[0]
    if node.op_type != "HardSigmoid":
        return None
    product = graph.only_consumer(node.output[0])
    if product is None or product.op_type != "Mul" or set(product.input) != {node.input[0], node.output[0]}:
        return None
    return [node, product], node.input[0], product.output[0]


def _slope_and_shift(node: onnx.NodeProto) -> tuple[float, float]:
    return float(attribute(node, "alpha", 0.2)), float(attribute(node, "beta", 0.5))


def _clip(graph: Graph, source: str, result: str, highest: float, name: str) -> onnx.NodeProto:
    low = graph.add_constant(f"{name}.low", np.float32(0))
    high = graph.add_constant(f"{name}.high", np.float32(highest))
    return helper.make_node("Clip", [source, low, high], [result], name)


def fuse_gelu(graph: Graph) -> int:
    """Replace x / sqrt(2) -> Erf -> + 1 -> * x -> * 1/2 by onnxruntime's Gelu.

    onnxruntime fuses them itself, but not where x comes from integers.
    """
    return _fuse(graph, _gelu, GELU)


def fuse_silu(graph: Graph) -> int:
    """Replace x * sigmoid(x) by onnxruntime's QuickGelu, one float32 operator.

    The two integer operators take longer, and round twice more.
    """
    return _fuse(graph, _silu, SILU, alpha=1.0)


def _fuse(graph: Graph, find: Find, operator: str, **attributes: Any) -> int:
    """Replace each group of nodes that `find` gives by one of onnxruntime's own operators."""
    count = 0
    for node in list(graph.nodes):
        found = find(graph, node)
        if found is None:
            continue
        old, source = found
        new = helper.make_node(
            operator, [source], old[-1].output, old[-1].name, domain=MICROSOFT, **attributes
        )
        graph.replace(old, [new])
        count += 1
    if count and not any(entry.domain == MICROSOFT for entry in graph.model.opset_import):
        graph.model.opset_import.append(helper.make_opsetid(MICROSOFT, 1))
    return count


def _silu(graph: Graph, node: onnx.NodeProto) -> tuple[list[onnx.NodeProto], str] | None:
    """Return the two nodes of a SiLU, and its input."""
    if node.op_type != "Sigmoid":
        return None
    product = graph.only_consumer(node.output[0])
    if product is None or product.op_type != "Mul" or set(product.input) != {node.input[0], node.output[0]}:
        return None
    return [node, product], node.input[0]


def _gelu(graph: Graph, erf: onnx.NodeProto) -> tuple[list[onnx.NodeProto], str] | None:
    """Return the nodes of a Gelu, in their order, and its input."""
    scaled = graph.producer(erf.input[0]) if erf.op_type == "Erf" else None
    if scaled is None or scaled.op_type not in ("Div", "Mul") or graph.only_consumer(erf.input[0]) is not erf:
        return None
    factor = graph.scalar(scaled.input[1])
    expected = np.sqrt(2) if scaled.op_type == "Div" else np.sqrt(0.5)
    after = _chain(graph, erf.output[0], ("Add", "Mul", "Mul"))
    if factor is None or abs(factor - expected) > 1e-3 or not after:
        return None
    source = scaled.input[0]
    plus, first, second = after
    # Either (x * (erf + 1)) * 1/2, or ((erf + 1) * 1/2) * x.
    gate_last = source in second.input and _other_scalar(graph, first) == 0.5
    half_last = source in first.input and _other_scalar(graph, second) == 0.5
    if _other_scalar(graph, plus) != 1.0 or not (gate_last or half_last):
        return None
    return [scaled, erf, *after], source


def _chain(graph: Graph, name: str, kinds: Sequence[str]) -> list[onnx.NodeProto]:
    """Return the nodes of these kinds that follow a tensor, each read by the next only; [] if they do not."""
    nodes: list[onnx.NodeProto] = []
    for kind in kinds:
        node = graph.only_consumer(name)
        if node is None or node.op_type != kind:
            return []
        nodes.append(node)
        name = node.output[0]
    return nodes


def _other_scalar(graph: Graph, node: onnx.NodeProto) -> float | None:
    values = [graph.scalar(name) for name in node.input]
    return next((value for value in values if value is not None), None)
