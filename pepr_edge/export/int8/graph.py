"""An ONNX graph that can be edited: who makes and who reads each tensor, constants, and shapes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from pepr_edge.export.optimise import has_subgraphs

Array = NDArray[Any]
# onnxruntime's own activations; the second one is x * sigmoid(alpha * x).
MICROSOFT = "com.microsoft"
GELU = "Gelu"
SILU = "QuickGelu"


class Graph:
    """Holds a model for edits; the nodes stay in an order in which they can run.

    `producer` and `consumers` are true at any time; `shape` holds the shapes of the model as it was given.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        """Take a model of one main graph, which is changed.

        Raises:
            ValueError: a node has a branch or a loop, whose tensors would not be seen here.
        """
        if has_subgraphs(model.graph):
            raise ValueError("the graph has branches or loops, which cannot be rewritten")
        self.model = model
        self.nodes: list[onnx.NodeProto] = list(model.graph.node)
        self._constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        for node in [node for node in self.nodes if node.op_type == "Constant"]:
            self._take_constant(node)
        self.inputs = {value.name for value in model.graph.input} - set(self._constants)
        self.outputs = {value.name for value in model.graph.output}
        self._values = _values(model)
        self._shapes = _shapes(model)
        self._producers: dict[str, onnx.NodeProto] = {}
        self._consumers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in self.nodes:
            self._link(node)

    def _take_constant(self, node: onnx.NodeProto) -> None:
        for attribute in node.attribute:
            if attribute.name == "value":
                self._constants[node.output[0]] = numpy_helper.to_array(attribute.t)
                self.nodes.remove(node)

    def _link(self, node: onnx.NodeProto) -> None:
        for name in node.output:
            self._producers[name] = node
        for name in dict.fromkeys(node.input):
            self._consumers[name].append(node)

    def _unlink(self, node: onnx.NodeProto) -> None:
        for name in node.output:
            self._producers.pop(name, None)
        for name in dict.fromkeys(node.input):
            self._consumers[name] = [other for other in self._consumers[name] if other is not node]

    def producer(self, name: str) -> onnx.NodeProto | None:
        """Return the node that makes a tensor; None for inputs and constants."""
        return self._producers.get(name)

    def consumers(self, name: str) -> list[onnx.NodeProto]:
        """Return the nodes that read a tensor."""
        return list(self._consumers.get(name, ()))

    def only_consumer(self, name: str) -> onnx.NodeProto | None:
        """Return the node that alone reads a tensor; None if there are more, or if it is an output."""
        readers = self._consumers.get(name, ())
        return readers[0] if len(readers) == 1 and name not in self.outputs else None

    def constant(self, name: str) -> Array | None:
        """Return the value of a constant; None if the tensor is not one."""
        return self._constants.get(name)

    def scalar(self, name: str) -> float | None:
        """Return the value of a constant with a single element; None for anything else."""
        value = self._constants.get(name)
        return float(value.reshape(-1)[0]) if value is not None and value.size == 1 else None

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor, 0 for an unknown size; () if nothing is known."""
        if name in self._constants:
            return self._constants[name].shape
        return self._shapes.get(name, ())

    def set_shape(self, name: str, shape: Sequence[int]) -> None:
        """Note the shape of a new tensor."""
        self._shapes[name] = tuple(shape)
        self._values.pop(name, None)

    def add_constant(self, name: str, value: Array) -> str:
        """Add a constant; return its name, which differs from the given one if that is taken."""
        name = self.new_name(name)
        self._constants[name] = value
        return name

    def new_name(self, stem: str) -> str:
        """Return a name of a tensor or node that is not taken yet."""
        number = 0
        name = stem
        taken = {node.name for node in self.nodes}
        while name in taken or name in self._constants or name in self._producers or name in self.inputs:
            number += 1
            name = f"{stem}_{number}"
        return name

    def reshape(self, source: str, result: str, shape: Sequence[int]) -> onnx.NodeProto:
        """Return a node, not yet in the graph, that reshapes a tensor; -1 stands for the batch."""
        target = self.add_constant(f"{result}.shape", np.array(shape, np.int64))
        return helper.make_node("Reshape", [source, target], [result], self.new_name(f"{result}.reshape"))

    def replace(self, old: Sequence[onnx.NodeProto], new: Sequence[onnx.NodeProto]) -> None:
        """Replace nodes by others, which take the place of the last of them."""
        place = max(self._place(node) for node in old) + 1
        self.nodes[place:place] = list(new)
        for node in old:
            self._unlink(node)
            del self.nodes[self._place(node)]
        for node in new:
            self._link(node)

    def _place(self, node: onnx.NodeProto) -> int:
        return next(place for place, other in enumerate(self.nodes) if other is node)

    def set_inputs(self, node: onnx.NodeProto, names: Iterable[str]) -> None:
        """Let a node read other tensors."""
        self._unlink(node)
        node.input[:] = list(names)
        self._link(node)

    def redirect(self, old: str, new: str) -> None:
        """Let all readers of a tensor read another one."""
        for node in self.consumers(old):
            self.set_inputs(node, [new if name == old else name for name in node.input])

    def rename_result(self, node: onnx.NodeProto, old: str, new: str) -> None:
        """Give a result of a node another name, for all its readers too."""
        self._unlink(node)
        node.output[:] = [new if name == old else name for name in node.output]
        self._link(node)
        self.redirect(old, new)

    def remove_unread(self) -> None:
        """Remove the nodes whose results nothing reads."""
        for node in reversed(list(self.nodes)):
            if not any(self.consumers(name) or name in self.outputs for name in node.output):
                self.replace([node], [])

    def save(self) -> onnx.ModelProto:
        """Return the model with the edits; constants that nothing reads are dropped."""
        graph = self.model.graph
        del graph.node[:]
        graph.node.extend(self.nodes)
        used = {name for node in self.nodes for name in node.input} | self.outputs
        del graph.initializer[:]
        graph.initializer.extend(
            numpy_helper.from_array(np.array(value, order="C"), name)
            for name, value in self._constants.items()
            if name in used
        )
        # Not all types can be inferred again: operators of onnxruntime's own are unknown to ONNX.
        del graph.value_info[:]
        graph.value_info.extend(
            value
            for name, value in self._values.items()
            if name in self._producers and name not in self.outputs
        )
        return self.model


def attribute(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    """Return an attribute of a node, else the default."""
    for entry in node.attribute:
        if entry.name == name:
            return helper.get_attribute_value(entry)
    return default


def set_attribute(node: onnx.NodeProto, name: str, value: Any) -> None:
    """Set an attribute of a node."""
    for entry in list(node.attribute):
        if entry.name == name:
            node.attribute.remove(entry)
    node.attribute.append(helper.make_attribute(name, value))


def is_depthwise(graph: Graph, node: onnx.NodeProto) -> bool:
    """True for a convolution of each channel by itself, one output per input channel."""
    weight = graph.constant(node.input[1]) if node.op_type == "Conv" else None
    if weight is None or weight.ndim != 4:
        return False
    groups = attribute(node, "group", 1)
    return bool(groups > 1 and weight.shape[1] == 1 and weight.shape[0] == groups)


def _values(model: onnx.ModelProto) -> dict[str, onnx.ValueInfoProto]:
    """Return the types of the tensors for which they can be inferred."""
    inferred = onnx.shape_inference.infer_shapes(_with_known_operators(model)).graph
    return {value.name: value for value in (*inferred.value_info, *inferred.input, *inferred.output)}


def _with_known_operators(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy in which onnxruntime's activations are Identity: onnx infers no shape behind its own."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for node in copy.graph.node:
        if node.domain == MICROSOFT and node.op_type in (GELU, SILU):
            node.op_type = "Identity"
            node.domain = ""
            del node.attribute[:]
    return copy


def _shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor, with 0 for a size that depends on the batch.

    Sizes that the graph computes are known only for a given batch: two batches show which depend on it.
    """
    first, second = (_shapes_at(model, batch) for batch in (2, 3))
    shapes = {}
    for name, sizes in first.items():
        others = second.get(name, ())
        if len(others) == len(sizes):
            shapes[name] = tuple(
                size if size == other else 0 for size, other in zip(sizes, others, strict=True)
            )
    return shapes


def _shapes_at(model: onnx.ModelProto, batch: int) -> dict[str, tuple[int, ...]]:
    fixed = _with_known_operators(model)
    del fixed.graph.value_info[:]
    for value in (*fixed.graph.input, *fixed.graph.output):
        if value.type.tensor_type.shape.dim:
            size = value.type.tensor_type.shape.dim[0]
            if not size.dim_value:
                size.dim_value = batch
    inferred = onnx.shape_inference.infer_shapes(fixed, data_prop=True).graph
    values = (*inferred.value_info, *inferred.input, *inferred.output)
    return {
        value.name: tuple(size.dim_value for size in value.type.tensor_type.shape.dim)
        for value in values
        if value.type.tensor_type.HasField("shape")
    }
