"""How much the rounding of each tensor, and of each layer's weights, changes what the network says."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
import onnx
from onnx import helper, numpy_helper

from pepr_edge.export.int8.bias import round_weights
from pepr_edge.export.int8.form import Int8Form
from pepr_edge.export.int8.graph import Graph
from pepr_edge.export.int8.ranges import LEVELS, Range, rounded
from pepr_edge.export.int8.session import logits_of
from pepr_edge.export.int8.statistics import TensorStatistics
from pepr_edge.export.prepare import Images
from pepr_edge.recipe.variants import WEIGHTED

TEST_IMAGES = 16
MAX_MEASURE_S = 30.0  # after that, the local noise stands for the effect


@dataclass(frozen=True)
class Rounding:
    """One rounding: of a tensor, or of the weights of a layer, and its effect on the logits.

    `nodes` must all stay float32 for the rounding not to be done. `noise`: its share of the tensor's power.
    `effect`: the mean square change of the logits by this rounding alone, as a share of their variance.
    """

    name: str
    nodes: frozenset[str]
    is_weight: bool
    noise: float
    effect: float = 0.0


def effects(form: Int8Form, images: Images, max_s: float = MAX_MEASURE_S) -> list[Rounding]:
    """Return all roundings of an int8 form with their effects, largest first.

    Each is measured alone, on images without labels. Those with the largest noise come first, while time
    lasts; the others get the effect that their noise has on average.

    Args:
        form: the int8 form.
        images: model inputs.
        max_s: seconds that this may take.
    """
    started_s = time.perf_counter()
    images = images[:TEST_IMAGES]
    found = sorted(_roundings(form), key=lambda rounding: -rounding.noise)
    model = form.graph.save()
    expected = logits_of(model, images)
    spread = max(float(expected.var(axis=0).mean()), 1e-12)
    measured: list[Rounding] = []
    for rounding in found:
        if time.perf_counter() - started_s > max_s:
            break
        change = logits_of(_with_rounding(model, form, rounding), images) - expected
        measured.append(replace(rounding, effect=float(np.square(change).mean()) / spread))
    noise = sum(rounding.noise for rounding in measured)
    gain = sum(rounding.effect for rounding in measured) / noise if noise > 0 else 1.0
    estimated = [replace(rounding, effect=rounding.noise * gain) for rounding in found[len(measured) :]]
    return sorted([*measured, *estimated], key=lambda rounding: -rounding.effect)


def _roundings(form: Int8Form) -> list[Rounding]:
    graph = form.graph
    found = []
    for name, statistics in form.statistics.items():
        nodes = _nodes_at(graph, form.floats, name)
        if nodes:
            found.append(Rounding(name, nodes, False, _noise_share(statistics, form.ranges[name])))
    for node in graph.nodes:
        weight = graph.constant(node.input[1]) if node.op_type in WEIGHTED else None
        if weight is not None and node.name not in form.floats:
            exact = weight.astype(np.float64)
            error = round_weights(exact, form.settings) - exact
            share = float(np.square(error).sum() / max(float(np.square(exact).sum()), 1e-30))
            found.append(Rounding(node.name, frozenset([node.name]), True, share))
    return found


def _nodes_at(graph: Graph, floats: frozenset[str], name: str) -> frozenset[str]:
    """Return the integer nodes that make or read a tensor; none if the tensor is not rounded."""
    producer = graph.producer(name)
    nodes = [node for node in [producer, *graph.consumers(name)] if node is not None]
    names = {node.name for node in nodes if node.name not in floats}
    readers = [node for node in graph.consumers(name) if node.name not in floats]
    # What only an activation reads is cut off and rounded there.
    if readers and all(node.op_type in ("Relu", "Clip") for node in readers) and len(readers) == 1:
        return frozenset()
    return frozenset(names)


def _noise_share(statistics: TensorStatistics, limits: Range) -> float:
    """Return the mean share of a channel's power that the rounding error reaches, 0 to 1.

    By channel: a channel of large values makes the steps too coarse for the others, which ruins a network.
    Over the whole tensor this is invisible, since the large values are most of its power.
    """
    sample = statistics.sample.astype(np.float64)
    power = np.square(sample).mean(axis=1)
    noise = np.square(rounded(sample, limits) - sample).mean(axis=1)
    ratio = np.divide(noise, power, out=np.zeros_like(noise), where=power > 0)
    return float(np.minimum(ratio, 1.0).mean())


def _with_rounding(exact: onnx.ModelProto, form: Int8Form, rounding: Rounding) -> onnx.ModelProto:
    """Return the float32 model with this rounding only."""
    model = onnx.ModelProto()
    model.CopyFrom(exact)
    if rounding.is_weight:
        _round_weight(model, rounding.name, form)
    else:
        _round_tensor(model, rounding.name, form.ranges[rounding.name])
    return model


def _round_weight(model: onnx.ModelProto, name: str, form: Int8Form) -> None:
    node = next(node for node in model.graph.node if node.name == name)
    weight = form.graph.constant(node.input[1])
    assert weight is not None
    value = round_weights(weight.astype(np.float64), form.settings).astype(np.float32)
    node.input[1] = f"{name}.rounded"
    model.graph.initializer.append(numpy_helper.from_array(value, node.input[1]))


def _round_tensor(model: onnx.ModelProto, name: str, limits: Range) -> None:
    low, high = limits
    scale = np.float32((high - low) / LEVELS or 1.0)
    zero = np.uint8(np.clip(np.round(-low / scale), 0, LEVELS))
    graph = model.graph
    restored = f"{name}.restored"
    for node in graph.node:
        node.input[:] = [restored if other == name else other for other in node.input]
    graph.initializer.append(numpy_helper.from_array(np.array(scale), f"{name}.step"))
    graph.initializer.append(numpy_helper.from_array(np.array(zero), f"{name}.zero"))
    pair = [
        helper.make_node("QuantizeLinear", [name, f"{name}.step", f"{name}.zero"], [f"{name}.integers"]),
        helper.make_node(
            "DequantizeLinear", [f"{name}.integers", f"{name}.step", f"{name}.zero"], [restored]
        ),
    ]
    nodes = list(graph.node)
    place = next((number for number, node in enumerate(nodes) if name in node.output), -1) + 1
    nodes[place:place] = pair
    del graph.node[:]
    graph.node.extend(nodes)
