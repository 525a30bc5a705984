from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import tiny_bundle
from onnx import TensorProto, helper

from pepr_edge.untrusted import onnx_check


def fault(model: onnx.ModelProto | bytes, tmp_path: Path) -> str | None:
    path = tmp_path / "model.onnx"
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    result = onnx_check.fault(path)
    assert result is None or "\n" not in result
    return result


def test_our_models_pass(tmp_path: Path) -> None:
    assert fault(tiny_bundle.model(), tmp_path) is None


def external(tensor: onnx.TensorProto) -> None:
    tensor.external_data.add(key="location", value="../../secret")
    tensor.data_location = TensorProto.EXTERNAL


def in_a_constant(made: onnx.ModelProto) -> None:
    value = helper.make_tensor("x", TensorProto.FLOAT, [1], [1.0])
    external(value)
    made.graph.node.append(helper.make_node("Constant", [], ["x"], value=value))


def in_a_branch(made: onnx.ModelProto) -> None:
    inner = helper.make_graph([helper.make_node("Relu", ["a"], ["b"])], "inner", [], [])
    inner.initializer.add(name="w")
    external(inner.initializer[0])
    made.graph.node.append(helper.make_node("If", ["c"], ["d"], then_branch=inner, else_branch=inner))


def in_a_sparse_tensor(made: onnx.ModelProto) -> None:
    external(made.graph.sparse_initializer.add().values)


def in_a_function(made: onnx.ModelProto) -> None:
    made.functions.add(name="f", domain="").node.add(op_type="Evil", domain="evil.ops")


def in_training(made: onnx.ModelProto) -> None:
    made.training_info.add().algorithm.node.add(op_type="Evil", domain="evil.ops")


def operator(name: str, domain: str) -> Callable[[onnx.ModelProto], object]:
    return lambda made: made.graph.node.append(helper.make_node(name, ["logits"], ["x"], domain=domain))


@pytest.mark.parametrize(
    ("spoil", "keyword"),
    [
        (lambda made: external(made.graph.initializer[0]), "weights in another file"),
        (in_a_constant, "weights in another file"),
        (in_a_branch, "weights in another file"),
        (in_a_sparse_tensor, "weights in another file"),
        (in_a_function, "'Evil' of 'evil.ops'"),
        (in_training, "'Evil' of 'evil.ops'"),
        (operator("Evil", "evil.ops"), "'Evil' of 'evil.ops'"),
        (operator("ATen", "org.pytorch.aten"), "'ATen'"),
        (operator("EPContext", "com.microsoft"), "'EPContext' of 'com.microsoft'"),
        (operator("\x1b[2J", "evil"), "x1b[2J"),
    ],
)
def test_references_out_of_the_file_are_refused(
    spoil: Callable[[onnx.ModelProto], object], keyword: str, tmp_path: Path
) -> None:
    made = tiny_bundle.model()
    spoil(made)
    result = fault(made, tmp_path)
    assert result is not None
    assert keyword in result
    assert result.isprintable()


def test_fused_operators_of_onnxruntime_pass(tmp_path: Path) -> None:
    made = tiny_bundle.model()
    operator("FusedConv", "com.microsoft")(made)
    assert fault(made, tmp_path) is None


def nested(depth: int) -> bytes:
    """Return a graph in an attribute of a node of a graph, and so on."""

    def field(number: int, content: bytes) -> bytes:
        size = len(content)
        length = b""
        while size >= 0x80:
            length += bytes([size & 0x7F | 0x80])
            size >>= 7
        return bytes([number << 3 | 2]) + length + bytes([size]) + content

    content = b""
    for _ in range(depth):
        content = field(1, field(5, field(6, content)))
    return field(7, content)


@pytest.mark.parametrize(
    ("content", "keyword"),
    [
        (b"", "empty"),
        (b"no model", "no ONNX file"),
        (b"\x08\x01", "holds no graph"),
        (b"\x3a\x7f", "longer than its message"),
        (b"\xff" * 20, "more than 10 bytes"),
        (b"\x3b", "wire type 3"),
        (b"\x00\x00", "field number 0"),
        (b"\x38\x01", "is no message"),
        (nested(2000), "nested messages"),
    ],
)
def test_other_content_is_no_onnx_file(content: bytes, keyword: str, tmp_path: Path) -> None:
    assert keyword in str(fault(content, tmp_path))


def test_a_branch_in_a_branch_passes(tmp_path: Path) -> None:
    assert fault(nested(10), tmp_path) is None


def test_more_fields_than_any_model_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_check, "MAX_FIELDS", 1000)
    assert "more than 1000 fields" in str(fault(b"\x08\x01" * 1001, tmp_path))


def test_an_incomplete_model_is_refused(tmp_path: Path) -> None:
    whole = tiny_bundle.model().SerializeToString()
    # A cut may leave a valid model.
    faults = [fault(whole[:at], tmp_path) for at in range(1, len(whole), 23)]
    assert sum(reason is not None for reason in faults) > 0.9 * len(faults)
