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
    found = onnx_check.fault(path)
    assert found is None or "\n" not in found
    return found


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
    ("spoil", "words"),
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
def test_what_leads_out_of_the_file_is_found(
    spoil: Callable[[onnx.ModelProto], object], words: str, tmp_path: Path
) -> None:
    made = tiny_bundle.model()
    spoil(made)
    found = fault(made, tmp_path)
    assert found is not None
    assert words in found
    assert found.isprintable()


def test_what_onnxruntime_makes_of_operators_passes(tmp_path: Path) -> None:
    made = tiny_bundle.model()
    operator("FusedConv", "com.microsoft")(made)
    assert fault(made, tmp_path) is None


def nested(depth: int) -> bytes:
    """A graph in an attribute of a node of a graph ..."""

    def field(number: int, content: bytes) -> bytes:
        size, length = len(content), b""
        while size >= 0x80:
            length, size = length + bytes([size & 0x7F | 0x80]), size >> 7
        return bytes([number << 3 | 2]) + length + bytes([size]) + content

    content = b""
    for _ in range(depth):
        content = field(1, field(5, field(6, content)))
    return field(7, content)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"no model", "no ONNX file"),
        (b"\x08\x01", "holds no graph"),
        (b"\x3a\x7f", "longer than what holds it"),
        (b"\xff" * 20, "more than 10 bytes"),
        (b"\x3b", "wire type 3"),
        (b"\x00\x00", "field number 0"),
        (b"\x38\x01", "is no message"),
        (nested(2000), "messages within each other"),
    ],
)
def test_what_is_no_onnx_file(content: bytes, words: str, tmp_path: Path) -> None:
    assert words in str(fault(content, tmp_path))


def test_a_branch_in_a_branch_is_no_fault(tmp_path: Path) -> None:
    assert fault(nested(10), tmp_path) is None


def test_more_fields_than_any_model_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_check, "MAX_FIELDS", 1000)
    assert "more than 1000 fields" in str(fault(b"\x08\x01" * 1001, tmp_path))


def test_every_cut_is_found_or_leaves_a_whole_model(tmp_path: Path) -> None:
    whole = tiny_bundle.model().SerializeToString()
    found = [fault(whole[:at], tmp_path) for at in range(1, len(whole), 23)]
    assert sum(reason is not None for reason in found) > 0.9 * len(found)
