"""ONNX models that a bundle must not hold: each loads or runs otherwise than its manifest says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import tiny_bundle
from onnx import TensorProto, helper, numpy_helper

INPUT = "pixel_values"
OUTPUT = "logits"
SHAPE = ("batch", 1, tiny_bundle.PX, tiny_bundle.PX)
# Of a black image, after the normalisation of the tiny bundle.
BLACK = -2.0

Ports = Sequence[onnx.ValueInfoProto]
# What makes a model, and a word of the reason why it is refused.
Named = tuple[Callable[[], onnx.ModelProto], str]


def spoil(bundle: Path, model: onnx.ModelProto, name: str = "model.onnx") -> Path:
    """Replace a model of a bundle, with correct checksums."""
    (bundle / name).write_bytes(model.SerializeToString())
    tiny_bundle.rewrite_manifest(bundle, lambda made: made)
    return bundle


def port(name: str, dtype: int = TensorProto.FLOAT, shape: Sequence[object] = SHAPE) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, list(shape))


def made(
    nodes: Sequence[onnx.NodeProto],
    constants: dict[str, np.ndarray] | None = None,
    inputs: Ports | None = None,
    outputs: Ports | None = None,
) -> onnx.ModelProto:
    """Return a model of these nodes; by default with the input and output that a bundle needs."""
    graph = helper.make_graph(
        list(nodes),
        "hostile",
        [port(INPUT)] if inputs is None else list(inputs),
        [port(OUTPUT, shape=("batch", 2))] if outputs is None else list(outputs),
        [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def head(last: str, classes: int = 2) -> tuple[list[onnx.NodeProto], dict[str, np.ndarray]]:
    """Return nodes that turn an image tensor into logits, and their constants."""
    nodes = [
        helper.make_node("GlobalAveragePool", [last], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weight"], ["plain"], transB=1),
    ]
    return nodes, {"weight": np.linspace(-1, 1, classes, dtype=np.float32).reshape(classes, 1)}


def nan_on_black(value: float = np.nan) -> onnx.ModelProto:
    """Return a model whose logits are NaN (or infinite) for a black image, and right for others."""
    nodes, constants = head(INPUT)
    constants |= {"black": np.float32(-BLACK), "one": np.float32(1 if np.isinf(value) else 0)}
    nodes += [
        helper.make_node("ReduceMax", [INPUT], ["highest"], keepdims=0),
        helper.make_node("Add", ["highest", "black"], ["lightness"]),
        helper.make_node("Div", ["one", "lightness"], ["ratio"]),
        helper.make_node("Add", ["plain", "ratio"], [OUTPUT]),
    ]
    return made(nodes, constants)


def always(value: float) -> onnx.ModelProto:
    """Return a model whose logits are all this value."""
    nodes, constants = head(INPUT)
    constants["value"] = np.float32(value)
    return made([*nodes, helper.make_node("Add", ["plain", "value"], [OUTPUT])], constants)


def rows(count: int) -> onnx.ModelProto:
    """Return a model with several rows of logits for one image."""
    nodes, constants = head(INPUT)
    return made([*nodes, helper.make_node("Concat", ["plain"] * count, [OUTPUT], axis=0)], constants)


def logits(classes: int) -> onnx.ModelProto:
    """Return a model with this number of logits for an image."""
    nodes, constants = head(INPUT, classes)
    nodes[-1].output[0] = OUTPUT
    return made(nodes, constants, outputs=[port(OUTPUT, shape=("batch", classes))])


def hidden_logits(classes: int) -> onnx.ModelProto:
    """Return a model whose number of logits is not known before it runs."""
    nodes, constants = head(INPUT, 1)
    constants |= {"zero": np.float32(0), "shape": np.array([1, classes], np.int64)}
    nodes += [
        helper.make_node("ReduceMax", [INPUT], ["highest"], keepdims=0),
        helper.make_node("Mul", ["highest", "zero"], ["nothing"]),
        helper.make_node("Cast", ["nothing"], ["nothing_more"], to=TensorProto.INT64),
        helper.make_node("Add", ["shape", "nothing_more"], ["wanted"]),
        helper.make_node("Expand", ["plain", "wanted"], [OUTPUT]),
    ]
    return made(nodes, constants, outputs=[port(OUTPUT, shape=("batch", "classes"))])


def with_input(dtype: int = TensorProto.FLOAT, shape: Sequence[object] = SHAPE) -> onnx.ModelProto:
    """Return a model whose input has another type or shape."""
    nodes = [
        helper.make_node("Cast", [INPUT], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["floats"], ["flat"]),
        helper.make_node("ReduceMean", ["flat"], ["mean"], axes=[1]),
        helper.make_node("Concat", ["mean", "mean"], [OUTPUT], axis=1),
    ]
    return made(nodes, inputs=[port(INPUT, dtype, shape)])


def without_input() -> onnx.ModelProto:
    return made(
        [helper.make_node("Identity", ["fixed"], [OUTPUT])], {"fixed": np.zeros((1, 2), np.float32)}, []
    )


def inputs(count: int) -> onnx.ModelProto:
    """Return a model that adds several images."""
    nodes, constants = head("sum")
    nodes[-1].output[0] = OUTPUT
    names = [INPUT, *(f"more{number}" for number in range(1, count))]
    nodes = [helper.make_node("Sum", names, ["sum"]), *nodes]
    return made(nodes, constants, [port(name) for name in names])


def outputs(count: int) -> onnx.ModelProto:
    """Return a model with several outputs of the same shape."""
    nodes, constants = head(INPUT)
    names = [OUTPUT, *(f"more{number}" for number in range(1, count))]
    nodes += [helper.make_node("Relu", ["plain"], [name]) for name in names]
    return made(nodes, constants, outputs=[port(name, shape=("batch", 2)) for name in names])


def without_output() -> onnx.ModelProto:
    nodes, constants = head(INPUT)
    return made(nodes, constants, outputs=[])


def scalar_output() -> onnx.ModelProto:
    return made(
        [helper.make_node("ReduceMax", [INPUT], [OUTPUT], keepdims=0)], outputs=[port(OUTPUT, shape=())]
    )


def output_of(dtype: int) -> onnx.ModelProto:
    """Return a model whose logits have another type."""
    nodes, constants = head(INPUT)
    nodes.append(helper.make_node("Cast", ["plain"], [OUTPUT], to=dtype))
    return made(nodes, constants, outputs=[port(OUTPUT, dtype, ("batch", 2))])


def no_rows(axis: int = 0) -> onnx.ModelProto:
    """Return a model whose output is empty along an axis."""
    nodes, constants = head(INPUT)
    constants |= {"from": np.array([0], np.int64), "axis": np.array([axis], np.int64)}
    nodes.append(helper.make_node("Slice", ["plain", "from", "from", "axis"], [OUTPUT]))
    return made(nodes, constants, outputs=[port(OUTPUT, shape=("rows", "classes"))])


def sequence_output() -> onnx.ModelProto:
    nodes, constants = head(INPUT)
    nodes.append(helper.make_node("SequenceConstruct", ["plain"], [OUTPUT]))
    output = helper.make_tensor_sequence_value_info(OUTPUT, TensorProto.FLOAT, None)
    return made(nodes, constants, outputs=[output])


def optional_output() -> onnx.ModelProto:
    nodes, constants = head(INPUT)
    nodes.append(helper.make_node("Optional", ["plain"], [OUTPUT]))
    tensor = helper.make_tensor_type_proto(TensorProto.FLOAT, ["batch", 2])
    output = helper.make_value_info(OUTPUT, helper.make_optional_type_proto(tensor))
    return made(nodes, constants, outputs=[output])


def gather_outside(index: float = 1e6) -> onnx.ModelProto:
    nodes, constants = head(INPUT)
    # The index depends on the image, so that nothing can be folded while the model is loaded.
    constants |= {"far": np.float32(index), "two": np.array([2], np.int64)}
    nodes += [
        helper.make_node("ReduceMax", [INPUT], ["highest"], keepdims=0),
        helper.make_node("Add", ["highest", "far"], ["index_float"]),
        helper.make_node("Cast", ["index_float"], ["index"], to=TensorProto.INT64),
        helper.make_node("Gather", ["plain", "index"], ["picked"], axis=1),
        helper.make_node("Expand", ["picked", "two"], [OUTPUT]),
    ]
    return made(nodes, constants)


def huge_tensor(count: int = 10**12, folded: bool = False) -> onnx.ModelProto:
    """Return a model that asks for a tensor of so many numbers when it is run, or when it is loaded."""
    nodes, constants = head(INPUT)
    constants |= {"count": np.array([count], np.int64), "zero": np.float32(0)}
    size = "count"
    if not folded:
        nodes += [
            helper.make_node("ReduceMax", [INPUT], ["highest"], keepdims=0),
            helper.make_node("Mul", ["highest", "zero"], ["nothing"]),
            helper.make_node("Cast", ["nothing"], ["nothing_more"], to=TensorProto.INT64),
            helper.make_node("Add", ["count", "nothing_more"], ["size"]),
        ]
        size = "size"
    nodes += [
        helper.make_node(
            "ConstantOfShape", [size], ["huge"], value=helper.make_tensor("v", TensorProto.FLOAT, [1], [1.0])
        ),
        helper.make_node("ReduceMean", ["huge"], ["mean"], keepdims=0),
        helper.make_node("Add", ["plain", "mean"], [OUTPUT]),
    ]
    return made(nodes, constants)


def endless(rounds: int | None = None) -> onnx.ModelProto:
    """Return a model with a loop that never ends, or ends after so many rounds."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["goes_on"], ["goes_on_out"]),
            helper.make_node("Identity", ["carried"], ["carried_out"]),
        ],
        "body",
        [
            port("round", TensorProto.INT64, ()),
            port("goes_on", TensorProto.BOOL, ()),
            port("carried", shape=("batch", 2)),
        ],
        [port("goes_on_out", TensorProto.BOOL, ()), port("carried_out", shape=("batch", 2))],
    )
    nodes, constants = head(INPUT)
    constants |= {"true": np.array(True)}
    if rounds is not None:
        constants["rounds"] = np.array(rounds, np.int64)
    limit = "" if rounds is None else "rounds"
    return made([*nodes, helper.make_node("Loop", [limit, "true", "plain"], [OUTPUT], body=body)], constants)


# Refused by its inputs and outputs, as soon as it is loaded.
REFUSED: dict[str, Named] = {
    "no input": (without_input, "0 inputs"),
    "two inputs": (lambda: inputs(2), "2 inputs"),
    "three inputs": (lambda: inputs(3), "3 inputs"),
    "a hundred inputs": (lambda: inputs(100), "100 inputs"),
    "an int64 input": (lambda: with_input(TensorProto.INT64), "int64"),
    "a double input": (lambda: with_input(TensorProto.DOUBLE), "double"),
    "a uint8 input": (lambda: with_input(TensorProto.UINT8), "uint8"),
    "an input of rank 2": (lambda: with_input(shape=("batch", 256)), "(any, 256)"),
    "an input of rank 3": (lambda: with_input(shape=("batch", 16, 16)), "(any, 16, 16)"),
    "an input of rank 5": (lambda: with_input(shape=("batch", 1, 16, 16, 1)), "(any, 1, 16, 16, 1)"),
    "a fixed batch of 2": (lambda: with_input(shape=(2, 1, 16, 16)), "(2, 1, 16, 16)"),
    "a fixed batch of 3": (lambda: with_input(shape=(3, 1, 16, 16)), "(3, 1, 16, 16)"),
    "a fixed batch of 10^9": (lambda: with_input(shape=(10**9, 1, 16, 16)), "(1000000000, 1, 16, 16)"),
    "three channels": (lambda: with_input(shape=("batch", 3, 16, 16)), "(any, 3, 16, 16)"),
    "another size": (lambda: with_input(shape=("batch", 1, 32, 32)), "(any, 1, 32, 32)"),
    "no output": (without_output, "output"),
    "two outputs": (lambda: outputs(2), "2 outputs"),
    "three outputs": (lambda: outputs(3), "3 outputs"),
    "an integer output": (lambda: output_of(TensorProto.INT64), "int64"),
    "a double output": (lambda: output_of(TensorProto.DOUBLE), "double"),
    "an output of truth values": (lambda: output_of(TensorProto.BOOL), "bool"),
    "a string output": (lambda: output_of(TensorProto.STRING), "string"),
    "a sequence output": (sequence_output, "seq"),
    "an optional output": (optional_output, "optional"),
    "no logit": (lambda: no_rows(1), "(any, 0)"),
    "one logit": (lambda: logits(1), "(any, 1)"),
    "three logits": (lambda: logits(3), "(any, 3)"),
    "a thousand logits": (lambda: logits(1000), "(any, 1000)"),
}
# Loads, but gives no answer for any image.
NO_ANSWER: dict[str, Named] = {
    "NaN": (lambda: always(np.nan), "not finite"),
    "infinity": (lambda: always(np.inf), "not finite"),
    "minus infinity": (lambda: always(-np.inf), "not finite"),
    "two rows": (lambda: rows(2), "(2, 2)"),
    "a hundred rows": (lambda: rows(100), "(100, 2)"),
    "a scalar": (scalar_output, "()"),
    "a hidden third logit": (lambda: hidden_logits(3), "(1, 3)"),
    "a hidden single logit": (lambda: hidden_logits(1), "(1, 1)"),
    "no row": (no_rows, "(0, 2)"),
    "an index out of bounds": (gather_outside, "cannot run"),
    "a negative index out of bounds": (lambda: gather_outside(-1e6), "cannot run"),
    "an index beyond 64 bits": (lambda: gather_outside(1e30), "cannot run"),
    "a tensor of 4 TB": (huge_tensor, "cannot run"),
    "a tensor of 4,000 PB": (lambda: huge_tensor(10**18), "cannot run"),
    "a tensor of 40 GB": (lambda: huge_tensor(10**10), "cannot run"),
}
# Ends its process, or never ends: a few seconds each.
SLOW: dict[str, Named] = {
    "an endless loop": (endless, "no answer within"),
    "a loop of 10^15 rounds": (lambda: endless(10**15), "no answer within"),
}
