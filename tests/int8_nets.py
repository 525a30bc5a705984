"""Small float32 graphs, layer by layer, for the tests of int8."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from pepr_edge.export.int8.graph import Graph

Floats = NDArray[np.float32]
IMAGE = "pixel_values"


class Net:
    """A graph under construction, with an image as input; each layer returns the name of its tensor."""

    def __init__(self, channels: int = 3, px: int = 16, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.shape = (channels, px, px)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, NDArray[Any]] = {}

    def constant(self, value: Any, name: str = "constant") -> str:
        name = f"{name}_{len(self.constants)}"
        self.constants[name] = np.asarray(value)
        return name

    def node(self, kind: str, inputs: Sequence[str], **attributes: Any) -> str:
        number = len(self.nodes)
        self.nodes.append(
            helper.make_node(kind, list(inputs), [f"t{number}"], f"{kind.lower()}{number}", **attributes)
        )
        return f"t{number}"

    def conv(
        self, source: str, inputs: int, outputs: int, kernel: int = 1, groups: int = 1, **attributes: Any
    ) -> str:
        """A convolution with a bias, of about the same spread as its input."""
        per_group = inputs // groups
        weight = self.rng.normal(size=(outputs, per_group, kernel, kernel)).astype(np.float32)
        weight /= np.sqrt(per_group) * kernel
        bias = self.rng.normal(size=outputs).astype(np.float32) / 10
        names = [source, self.constant(weight, "weight"), self.constant(bias, "bias")]
        attributes.setdefault("pads", [kernel // 2] * 4)
        return self.node("Conv", names, group=groups, kernel_shape=[kernel, kernel], **attributes)

    def depthwise(self, source: str, channels: int, kernel: int = 3, **attributes: Any) -> str:
        return self.conv(source, channels, channels, kernel, channels, **attributes)

    def relu(self, source: str) -> str:
        return self.node("Relu", [source])

    def head(self, source: str, channels: int, classes: int = 2) -> str:
        """Global pooling and a linear layer."""
        pooled = self.node("GlobalAveragePool", [source])
        flat = self.node("Flatten", [pooled])
        weight = self.rng.normal(size=(classes, channels)).astype(np.float32)
        names = [flat, self.constant(weight, "head"), self.constant(np.zeros(classes, np.float32))]
        return self.node("Gemm", names, transB=1)

    def model(self, result: str) -> onnx.ModelProto:
        """Return the model with a dynamic batch."""
        rank = 4 if self.nodes[-1].op_type != "Gemm" else 2
        graph = helper.make_graph(
            self.nodes,
            "net",
            [helper.make_tensor_value_info(IMAGE, TensorProto.FLOAT, ["batch", *self.shape])],
            [helper.make_tensor_value_info(result, TensorProto.FLOAT, ["batch", *[None] * (rank - 1)])],
            [numpy_helper.from_array(value, name) for name, value in self.constants.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model)
        return model

    def images(self, count: int = 8) -> Floats:
        return np.random.default_rng(1).normal(size=(count, *self.shape)).astype(np.float32)


def run(model: onnx.ModelProto, images: Floats) -> Floats:
    """Return the outputs for each image by itself, and check that a batch gives the same."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    outputs = np.concatenate([session.run(None, {IMAGE: image[None]})[0] for image in images])
    together = session.run(None, {IMAGE: images})[0]
    np.testing.assert_allclose(together, outputs, atol=1e-3 * max(1.0, float(np.abs(outputs).max())))
    return outputs


def same(before: onnx.ModelProto, after: onnx.ModelProto, images: Floats) -> bool:
    """True if two models give the same outputs up to rounding."""
    expected = run(before, images)
    return bool(np.abs(run(after, images) - expected).max() <= 1e-5 * max(1.0, float(np.abs(expected).max())))


def kinds(model: onnx.ModelProto) -> list[str]:
    """Return the operators of a model, in alphabetical order."""
    return sorted(node.op_type for node in model.graph.node)


def graph_of(model: onnx.ModelProto) -> Graph:
    """Return an editable copy of a model."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return Graph(copy)


def weights(model: onnx.ModelProto, kind: str = "Conv") -> list[NDArray[Any]]:
    """Return the weights of the layers of a kind, in order."""
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    return [constants[node.input[1]] for node in model.graph.node if node.op_type == kind]
