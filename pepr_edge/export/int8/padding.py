"""Pad the channels of a float32 graph with zeros to the multiples that the integer kernels need to be fast.

Measured with onnxruntime on x86: a depthwise convolution of 24 channels takes longer than one of 32, because
only multiples of 16 have a kernel of their own (onnxruntime, core/mlas/lib/convsym.cpp).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
from numpy.typing import NDArray

from pepr_edge.export.int8.graph import GELU, SILU, Graph, attribute, is_depthwise, set_attribute
from pepr_edge.export.int8.groups import Groups

DEPTHWISE = 16  # channels of a depthwise convolution: a multiple of this
INPUTS = 4  # of an ordinary one: both input and output channels
FEWEST_OUTPUTS = 16  # of an ordinary one
MAX_GROWTH = 2.0  # a tensor that would grow by more than this stays as it is
# Each keeps the order of the channels of its first input.
SAME_CHANNELS = (
    "AveragePool",
    "Clip",
    "Erf",
    GELU,
    "GlobalAveragePool",
    "HardSigmoid",
    "HardSwish",
    "LeakyRelu",
    "MaxPool",
    SILU,
    "Relu",
    "Sigmoid",
)
# Not Div, except by a number: zero divided by zero is none.
PAIRED = ("Add", "Mul", "Sub")
PAD = -1  # in a layout: a channel of zeros

# The old channel at each new place, or PAD.
Layout = NDArray[np.int64]


@dataclass
class _Channels:
    """Tensors whose channels must stay alike: their number, and what the kernels and the graph demand."""

    count: int
    multiple: int = 1
    frozen: bool = False
    concats: list[onnx.NodeProto] = field(default_factory=list)


def pad_channels(graph: Graph) -> int:
    """Pad channels where the kernels of the convolutions need it; return how many tensors grew."""
    groups = _Groups(graph)
    layouts = groups.layouts()
    grown = {name for name, layout in layouts.items() if len(layout) != groups.of(name).count}
    for node in list(graph.nodes):
        if grown & {*node.input, *node.output}:
            _pad_node(graph, node, layouts)
    for name in grown:
        shape = graph.shape(name)
        graph.set_shape(name, (shape[0], len(layouts[name]), *shape[2:]))
    return len(grown)


class _Groups:
    """The channel groups of a graph, by tensor."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._groups = Groups(self._channels_of, _merge)
        for node in graph.nodes:
            self._connect(node)
        self._freeze([*graph.inputs, *graph.outputs])

    def of(self, name: str) -> _Channels:
        """Return the group of a tensor."""
        return self._groups.of(name)

    def _channels_of(self, name: str) -> _Channels:
        shape = self.graph.shape(name)
        known = len(shape) == 4 and shape[1] > 0
        return _Channels(shape[1] if known else 0, frozen=not known)

    def _join(self, first: str, second: str) -> None:
        """Join the groups of two tensors; if one has other channels, as a mask has, both stay as they are."""
        if self.of(first).count == self.of(second).count:
            self._groups.join(first, second)
        else:
            self._freeze([first, second])

    def _freeze(self, names: Iterable[str]) -> None:
        for name in names:
            if name:
                self.of(name).frozen = True

    def _demand(self, name: str, multiple: int) -> None:
        group = self.of(name)
        group.multiple = max(group.multiple, multiple)

    def _connect(self, node: onnx.NodeProto) -> None:
        graph = self.graph
        if node.op_type == "Conv" and all(
            graph.constant(name) is not None for name in node.input[1:] if name
        ):
            self._connect_convolution(node)
        elif node.op_type in SAME_CHANNELS:
            self._join(node.input[0], node.output[0])
        elif node.op_type in PAIRED or (node.op_type == "Div" and graph.scalar(node.input[1]) is not None):
            self._connect_pair(node)
        elif node.op_type == "Concat" and self._joins_channels(node):
            self.of(node.output[0]).concats.append(node)
        else:
            self._freeze([*node.input, *node.output])

    def _joins_channels(self, concat: onnx.NodeProto) -> bool:
        """True for a concatenation of channels whose numbers are known."""
        counts = [self.of(name).count for name in (*concat.input, *concat.output)]
        return attribute(concat, "axis") == 1 and all(counts)

    def _connect_convolution(self, node: onnx.NodeProto) -> None:
        weight = self.graph.constant(node.input[1])
        assert weight is not None
        source, result = node.input[0], node.output[0]
        if is_depthwise(self.graph, node):
            self._join(source, result)
            self._demand(source, DEPTHWISE)
        elif attribute(node, "group", 1) != 1 or weight.ndim != 4:
            self._freeze([source, result])
        elif _pixels(self.graph, result) > 1:
            self._demand(source, INPUTS)
            self._demand(result, FEWEST_OUTPUTS if weight.shape[0] < FEWEST_OUTPUTS else INPUTS)

    def _connect_pair(self, node: onnx.NodeProto) -> None:
        tensors = [*node.output]
        for name in node.input:
            value = self.graph.constant(name)
            if value is None:
                tensors.append(name)
            elif value.size != 1 and not _is_per_channel(value.shape, self.of(node.output[0]).count):
                self._freeze(node.output)
        for name in tensors[1:]:
            self._join(tensors[0], name)

    def layouts(self) -> dict[str, Layout]:
        """Return the layout of every tensor. A group with concatenations that do not fit stays as it is."""
        while True:
            found: dict[str, Layout] = {}
            misfit = self._lay_out(found)
            if misfit is None:
                return {name: found[self._groups.root(name)] for name in self._groups.names()}
            self._freeze(misfit.input)
            self._freeze(misfit.output)

    def _lay_out(self, found: dict[str, Layout]) -> onnx.NodeProto | None:
        """Fill in the layouts by group; return a concatenation that does not fit, if there is one."""
        groups = self._groups.by_root()
        pending = list(groups)
        while pending:
            waiting = []
            for root in pending:
                group = groups[root]
                concats = [concat for concat in group.concats if not self._is_frozen(concat)]
                if not all(self._has_all_parts(concat, found) for concat in concats):
                    waiting.append(root)
                    continue
                choices = [self._joined_layout(concat, found) for concat in concats]
                layout = choices[0] if choices and not group.frozen else _padded(group)
                for concat, choice in zip(concats, choices, strict=True):
                    if not np.array_equal(choice, layout):
                        return concat
                found[root] = layout
            if len(waiting) == len(pending):  # a sum of a tensor and the concatenation of it alone
                return next(concat for concat in groups[waiting[0]].concats if not self._is_frozen(concat))
            pending = waiting
        return None

    def _has_all_parts(self, concat: onnx.NodeProto, found: Mapping[str, Layout]) -> bool:
        return all(self._groups.root(name) in found for name in concat.input)

    def _joined_layout(self, concat: onnx.NodeProto, found: Mapping[str, Layout]) -> Layout:
        return _joined([found[self._groups.root(name)] for name in concat.input])

    def _is_frozen(self, concat: onnx.NodeProto) -> bool:
        return all(self.of(name).frozen for name in (*concat.input, *concat.output))


def _merge(kept: _Channels, gone: _Channels) -> None:
    kept.frozen = kept.frozen or gone.frozen
    kept.multiple = max(kept.multiple, gone.multiple)
    kept.concats += gone.concats


def _padded(group: _Channels) -> Layout:
    """Return the channels in their order, with channels of zeros behind them up to the multiple."""
    channels = np.arange(group.count)
    missing = -group.count % group.multiple
    if group.frozen or missing == 0 or group.count + missing > MAX_GROWTH * group.count:
        return channels
    return np.concatenate([channels, np.full(missing, PAD)])


def _joined(layouts: Sequence[Layout]) -> Layout:
    parts = []
    offset = 0
    for layout in layouts:
        parts.append(np.where(layout == PAD, PAD, layout + offset))
        offset += int((layout != PAD).sum())
    return np.concatenate(parts)


def _pixels(graph: Graph, name: str) -> int:
    shape = graph.shape(name)
    return int(np.prod(shape[2:])) if len(shape) == 4 else 0


def _is_per_channel(shape: Sequence[int], channels: int) -> bool:
    """True for a constant of shape (channels, 1, 1) or (1, channels, 1, 1)."""
    return (
        tuple(shape[-3:]) == (channels, 1, 1) and len(shape) in (3, 4) and (len(shape) == 3 or shape[0] == 1)
    )


def _pad_node(graph: Graph, node: onnx.NodeProto, layouts: dict[str, Layout]) -> None:
    """Give the constants of a node the layout of its tensors."""
    if node.op_type == "Conv":
        _pad_convolution(graph, node, layouts)
    elif node.op_type in PAIRED:
        layout = layouts[node.output[0]]
        names = []
        for name in node.input:
            value = graph.constant(name)
            if value is not None and value.size != 1:
                name = graph.add_constant(f"{name}_padded", _laid_out(value, layout, value.ndim - 3))
            names.append(name)
        graph.set_inputs(node, names)


def _pad_convolution(graph: Graph, node: onnx.NodeProto, layouts: dict[str, Layout]) -> None:
    weight = graph.constant(node.input[1])
    assert weight is not None
    depthwise = is_depthwise(graph, node)
    result = layouts[node.output[0]]
    padded = _laid_out(weight, result, 0)
    if depthwise:
        set_attribute(node, "group", len(result))
    else:
        padded = _laid_out(padded, layouts[node.input[0]], 1)
    names = [node.input[0], graph.add_constant(f"{node.input[1]}_padded", padded)]
    if len(node.input) > 2 and node.input[2]:
        bias = graph.constant(node.input[2])
        assert bias is not None
        names.append(graph.add_constant(f"{node.input[2]}_padded", _laid_out(bias, result, 0)))
    graph.set_inputs(node, names)


def _laid_out(value: NDArray[np.float32], layout: Layout, axis: int) -> NDArray[np.float32]:
    """Return a constant whose channels stand as in the layout, zeros where that pads."""
    moved = np.take(value, np.maximum(layout, 0), axis=axis)
    keep = (layout != PAD).reshape([-1 if number == axis else 1 for number in range(value.ndim)])
    return np.where(keep, moved, 0).astype(value.dtype)
