"""Networks of a few layers, each with a property that makes one step difficult."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

PX, CHANNELS = 12, 8
IMAGES = np.random.default_rng(3).normal(size=(24, 1, PX, PX)).astype(np.float32)
Floats = NDArray[np.float32]


def convolutions(times: float = 1.0, layers: int = 6) -> onnx.ModelProto:
    """Convolutions with ReLU, and a decision. `times` scales the first channel of the second layer.

    The third layer divides by the same factor, so in floating point nothing changes, and all channels count
    equally for the decision. Over IMAGES both classes are about equally frequent.
    """
    rng = np.random.default_rng(0)
    factor = np.ones(CHANNELS, np.float32)
    factor[0] = times
    constants, nodes, last = {}, [], "pixel_values"
    for number in range(layers):
        weight = rng.normal(size=(CHANNELS, 1 if number == 0 else CHANNELS, 3, 3)).astype(np.float32) / 3
        if number == 1:
            weight = weight * factor[:, None, None, None]
        elif number == 2:
            weight = weight / factor[None, :, None, None]
        constants[f"weight_{number}"] = weight
        nodes.append(
            helper.make_node(
                "Conv", [last, f"weight_{number}"], [f"conv_{number}"], f"conv{number}", pads=[1, 1, 1, 1]
            )
        )
        nodes.append(helper.make_node("Relu", [f"conv_{number}"], [f"relu_{number}"], f"relu{number}"))
        last = f"relu_{number}"
    constants["head"] = rng.normal(size=(2, CHANNELS)).astype(np.float32)
    nodes.append(helper.make_node("GlobalAveragePool", [last], ["pooled"], "pool"))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["flat"], "flatten"))
    constants["bias"] = np.zeros(2, np.float32)
    nodes.append(helper.make_node("Gemm", ["flat", "head", "bias"], ["logits"], "gemm", transB=1))
    constants["bias"] = -np.median(_run(model(nodes, constants).SerializeToString(), IMAGES), axis=0)
    return model(nodes, constants)


def separable() -> onnx.ModelProto:
    """A convolution, a depthwise convolution with a sigmoid gate and an addition, and a decision."""
    rng = np.random.default_rng(1)
    constants = {
        "first": rng.normal(size=(CHANNELS, 1, 3, 3)).astype(np.float32),
        "depthwise": rng.normal(size=(CHANNELS, 1, 3, 3)).astype(np.float32),
        "pointwise": rng.normal(size=(CHANNELS, CHANNELS, 1, 1)).astype(np.float32),
        "head": rng.normal(size=(2, CHANNELS)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["pixel_values", "first"], ["a"], "first_conv", pads=[1, 1, 1, 1]),
        helper.make_node("Sigmoid", ["a"], ["gate"], "sigmoid"),
        helper.make_node("Mul", ["a", "gate"], ["b"], "mul"),
        helper.make_node(
            "Conv", ["b", "depthwise"], ["c"], "depthwise_conv", pads=[1, 1, 1, 1], group=CHANNELS
        ),
        helper.make_node("Conv", ["c", "pointwise"], ["d"], "pointwise_conv"),
        helper.make_node("Add", ["d", "b"], ["e"], "add"),
        helper.make_node("GlobalAveragePool", ["e"], ["pooled"], "pool"),
        helper.make_node("Flatten", ["pooled"], ["flat"], "flatten"),
        helper.make_node("Gemm", ["flat", "head"], ["logits"], "gemm", transB=1),
    ]
    return model(nodes, constants)


def model(nodes: list[onnx.NodeProto], constants: dict[str, Floats]) -> onnx.ModelProto:
    """Return a model with a dynamic batch."""
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["batch", 1, PX, PX])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
        producer_name="tiny",
        producer_version="1",
    )


def logits(path: Path, images: Floats = IMAGES) -> Floats:
    """Return the logits of a file, one image at a time."""
    return _run(path.read_bytes(), images)


def _run(content: bytes, images: Floats) -> Floats:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: image[None]})[0] for image in images])


def rounded(path: Path) -> set[str]:
    """Return the names of the nodes with an 8-bit input or output."""
    graph = onnx.load(str(path)).graph
    quantised = {name for node in graph.node if node.op_type == "QuantizeLinear" for name in node.input[:1]}
    restored = {name for node in graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    pairs = ("QuantizeLinear", "DequantizeLinear")
    nodes = [node for node in graph.node if node.op_type not in pairs]
    return {node.name for node in nodes if restored & set(node.input) or quantised & set(node.output)}
