"""Scale channels between layers so that all of a tensor use its 256 steps; the network computes the same.

A tensor has one range. A channel that is a hundred times smaller than another gets two of the 256 steps.
Multiplied by a factor where it is made, and divided by it where it is read, the channel uses all steps.

Source: Nagel et al. 2019, Data-free quantization through weight equalization and bias correction, and Xiao et
al. 2023, SmoothQuant; here the factors follow from the noise that both roundings, of values and of weights,
add to the next layer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx

from pepr_edge.export.int8.bias import WEIGHT_STEPS
from pepr_edge.export.int8.graph import Graph, attribute, is_depthwise
from pepr_edge.export.int8.groups import Groups
from pepr_edge.export.int8.ranges import LEVELS
from pepr_edge.export.int8.statistics import Floats, TensorStatistics

# f(s * x) = s * f(x) for every s > 0. Clip is not among them: it would need another bound for each channel.
HOMOGENEOUS = ("AveragePool", "GlobalAveragePool", "LeakyRelu", "MaxPool", "Relu")
# A channel may be larger on other images than on these.
HEADROOM = 1.25
MAX_FACTOR = 1e4


@dataclass
class Link:
    """Tensors whose channels share a factor: the layers that make them and those that read them."""

    count: int
    tensors: set[str] = field(default_factory=set)
    makers: list[onnx.NodeProto] = field(default_factory=list)
    readers: list[onnx.NodeProto] = field(default_factory=list)
    fixed: bool = False


def equalise(graph: Graph, statistics: Mapping[str, TensorStatistics]) -> int:
    """Scale the channels between layers; return how many links changed.

    Args:
        graph: in float32, which is changed.
        statistics: of all tensors that layers make or read.
    """
    count = 0
    for link in links(graph):
        known = [statistics[name] for name in link.tensors if name in statistics]
        if link.fixed or not known or not link.makers or not link.readers:
            continue
        factors = _factors(graph, link, known)
        if factors.max() > 1.0:
            _apply(graph, link, factors)
            count += 1
    return count


def links(graph: Graph) -> list[Link]:
    """Return the groups of tensors between layers whose channels can be scaled."""
    return _Links(graph).found()


class _Links:
    """Finds the links."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._links = Groups(self._new_link, _merge)
        for node in graph.nodes:
            self._connect(node)
        self._fix([*graph.inputs, *graph.outputs])

    def found(self) -> list[Link]:
        return list(self._links.by_root().values())

    def _new_link(self, name: str) -> Link:
        shape = self.graph.shape(name)
        known = len(shape) in (2, 4) and shape[1] > 0
        return Link(shape[1] if known else 0, {name}, fixed=not known)

    def _fix(self, names: Iterable[str]) -> None:
        for name in names:
            if name and self.graph.constant(name) is None:
                self._links.of(name).fixed = True

    def _connect(self, node: onnx.NodeProto) -> None:
        if node.op_type in ("Conv", "Gemm") and self._is_layer(node):
            self._links.of(node.input[0]).readers.append(node)
            self._links.of(node.output[0]).makers.append(node)
        elif node.op_type in HOMOGENEOUS or (node.op_type == "Flatten" and self._is_pooled(node)):
            self._links.join(node.input[0], node.output[0])
        elif node.op_type == "Add":
            self._connect_addition(node)
        else:
            self._fix([*node.input, *node.output])

    def _connect_addition(self, node: onnx.NodeProto) -> None:
        constants = [self.graph.constant(name) for name in node.input]
        if all(value is None for value in constants):
            same = self.graph.shape(node.input[0]) == self.graph.shape(node.input[1])
            for name in node.input:
                self._links.join(node.output[0], name)
            if not same:
                self._fix(node.output)
        else:
            self._fix([*node.input, *node.output])

    def _is_layer(self, node: onnx.NodeProto) -> bool:
        weight = self.graph.constant(node.input[1])
        if weight is None or weight.ndim not in (2, 4):
            return False
        biases = [self.graph.constant(name) for name in node.input[2:] if name]
        if any(bias is None for bias in biases):
            return False
        if node.op_type == "Gemm":
            return not attribute(node, "transA", 0)
        return attribute(node, "group", 1) == 1 or is_depthwise(self.graph, node)

    def _is_pooled(self, node: onnx.NodeProto) -> bool:
        shape = self.graph.shape(node.input[0])
        return len(shape) == 4 and shape[2:] == (1, 1)


def _merge(kept: Link, gone: Link) -> None:
    kept.fixed = kept.fixed or gone.fixed or kept.count != gone.count
    kept.tensors |= gone.tensors
    kept.makers += gone.makers
    kept.readers += gone.readers


def _factors(graph: Graph, link: Link, known: list[TensorStatistics]) -> Floats:
    """Return the factor of each channel, at least 1."""
    reach = np.zeros(link.count)  # of each channel as a share of the largest, over the tensors
    power = np.zeros(link.count)
    for found in known:
        extent = np.maximum(np.abs(found.low), np.abs(found.high))
        if len(extent) != link.count or extent.max() <= 0:
            continue
        reach = np.maximum(reach, extent / extent.max())
        power = np.maximum(power, found.mean_square / extent.max() ** 2)
    used = reach > 0
    room = np.ones(link.count)
    room[used] = np.maximum(1.0, 1 / (HEADROOM * reach[used]))
    dense = [reader for reader in link.readers if not is_depthwise(graph, reader)]
    wanted = room
    if dense:
        # Noise of values: (1 / steps)^2 * |w|^2 / s^2. Noise of weights: (row / steps)^2 * power * s^2.
        values = sum(_column_power(graph, reader) for reader in dense) / LEVELS**2
        weights = sum(_row_power(graph, reader) for reader in dense) * power / WEIGHT_STEPS**2
        balance = np.sqrt(np.sqrt(values / np.maximum(weights, 1e-30)))
        wanted = np.minimum(room, np.maximum(1.0, balance))
    wanted[~used] = 1.0
    return np.minimum(wanted, MAX_FACTOR)


def _columns(graph: Graph, reader: onnx.NodeProto) -> Floats:
    """Return the weights of a layer by input channel, shape (inputs, outputs * kernel)."""
    weight = graph.constant(reader.input[1])
    assert weight is not None
    axis = _input_axis(reader)
    return np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1).astype(np.float64)


def _input_axis(reader: onnx.NodeProto) -> int:
    if reader.op_type == "Gemm":
        return 1 if attribute(reader, "transB", 0) else 0
    return 1


def _column_power(graph: Graph, reader: onnx.NodeProto) -> Floats:
    return np.asarray(np.square(_columns(graph, reader)).sum(axis=1))


def _row_power(graph: Graph, reader: onnx.NodeProto) -> float:
    """Return the sum over outputs of the squared largest weight, and over the kernel's positions."""
    weight = graph.constant(reader.input[1])
    assert weight is not None
    rows = np.moveaxis(weight, _output_axis(reader), 0).reshape(weight.shape[_output_axis(reader)], -1)
    kernel = int(np.prod(weight.shape[2:])) if weight.ndim == 4 else 1
    return float(np.square(np.abs(rows).max(axis=1).astype(np.float64)).sum()) * kernel


def _output_axis(node: onnx.NodeProto) -> int:
    return 1 if node.op_type == "Gemm" and not attribute(node, "transB", 0) else 0


def _apply(graph: Graph, link: Link, factors: Floats) -> None:
    """Multiply the channels by the factors where they are made, and divide where they are read."""
    for maker in link.makers:
        _scale(graph, maker, 1, _output_axis(maker), factors)
        if len(maker.input) > 2 and maker.input[2]:
            _scale(graph, maker, 2, -1, factors)
    for reader in link.readers:
        axis = 0 if is_depthwise(graph, reader) else _input_axis(reader)
        _scale(graph, reader, 1, axis, 1 / factors)


def _scale(graph: Graph, node: onnx.NodeProto, place: int, axis: int, factors: Floats) -> None:
    value = graph.constant(node.input[place])
    assert value is not None
    shape = [1] * value.ndim
    shape[axis] = -1
    scaled = (value * factors.reshape(shape)).astype(np.float32)
    names = list(node.input)
    names[place] = graph.add_constant(f"{node.name}.{('', 'weight', 'bias')[place]}_scaled", scaled)
    graph.set_inputs(node, names)
