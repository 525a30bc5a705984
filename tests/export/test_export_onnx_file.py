from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper
from torch import nn

from pepr_edge.errors import ExportError
from pepr_edge.export import onnx_file
from pepr_edge.export.artifact import opset_and_producer
from pepr_edge.export.onnx_file import (
    EXPORTERS,
    INPUT,
    MAX_BYTES,
    OUTPUT,
    Exported,
    export,
    node_count,
    remove_metadata,
)


class Tiny(nn.Module):
    """Convolution, batch normalisation, linear."""

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        self.conv, self.norm, self.fc = nn.Conv2d(channels, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.fc(self.norm(self.conv(images)).relu().mean((2, 3)))
        return logits


class Odd(nn.Module):
    """An operation that ONNX does not have."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.linalg.eigvals(images[:, 0]).real


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Use only one exporter."""

    def leave(name: str) -> None:
        monkeypatch.setattr(onnx_file, "EXPORTERS", {name: EXPORTERS[name]})

    return leave


def accept(path: Path) -> None:
    """A check that always passes."""


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["torchscript", "dynamo", pytest.param("optimum", marks=pytest.mark.slow)])
def test_one_file_with_a_dynamic_batch(
    tmp_path: Path, only: Callable[[str], None], name: str, channels: int
) -> None:
    only(name)
    torch.manual_seed(0)
    model, path = Tiny(channels), tmp_path / "model.onnx"
    model.norm.running_mean = torch.full((4,), 0.3)
    assert export(model, channels, 12, path, accept).exporter == name
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]
    session = onnxruntime.InferenceSession(str(path))
    assert [value.name for value in session.get_inputs()] == [INPUT] == ["pixel_values"]
    assert [value.name for value in session.get_outputs()] == [OUTPUT] == ["logits"]
    assert session.get_inputs()[0].shape[1:] == [channels, 12, 12]
    assert isinstance(session.get_inputs()[0].shape[0], str)
    for n in (1, 3, 5):
        images = torch.randn(n, channels, 12, 12)
        with torch.no_grad():
            expected = model.eval()(images).numpy()
        np.testing.assert_allclose(session.run(None, {INPUT: images.numpy()})[0], expected, atol=1e-5)


@pytest.mark.parametrize(("name", "opset"), [("torchscript", 17), ("dynamo", 18)])
def test_opset_and_producer_are_those_of_the_file(
    tmp_path: Path, only: Callable[[str], None], name: str, opset: int
) -> None:
    only(name)
    path = tmp_path / "model.onnx"
    export(Tiny(), 1, 12, path, accept)
    model = onnx.load(str(path))
    assert opset_and_producer(path) == (opset, f"{model.producer_name} {model.producer_version}".strip())
    assert opset_and_producer(path)[1].startswith("pytorch ")
    assert all(tensor.data_location == onnx.TensorProto.DEFAULT for tensor in model.graph.initializer)


def test_the_module_is_exported_in_evaluation_mode(tmp_path: Path, only: Callable[[str], None]) -> None:
    only("torchscript")
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.9), nn.Linear(144, 2)).train()
    export(model, 1, 12, tmp_path / "model.onnx", accept)
    assert not {"Dropout", "RandomUniformLike"} & {
        node.op_type for node in onnx.load(str(tmp_path / "model.onnx")).graph.node
    }
    assert not model.training


def test_after_an_unfaithful_file_the_next_exporter_is_tried(tmp_path: Path) -> None:
    seen: list[bytes] = []

    def refuse_the_first(path: Path) -> None:
        seen.append(path.read_bytes())
        if len(seen) == 1:
            raise ExportError("not faithful")

    assert export(Tiny(), 1, 12, tmp_path / "model.onnx", refuse_the_first).exporter == "dynamo"
    assert len(seen) == 2
    assert (tmp_path / "model.onnx").read_bytes() == seen[1] != seen[0]


@pytest.mark.slow
def test_if_no_exporter_works_each_reason_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        ExportError,
        match=r"torchscript: \w+: .*eigvals.*; dynamo: \w+: .*eig.*; optimum: \w+: .*eig",
    ) as caught:
        export(Odd(), 1, 12, tmp_path / "model.onnx", accept)
    assert str(caught.value).isprintable()


def test_the_error_of_the_check_is_the_reason(tmp_path: Path, only: Callable[[str], None]) -> None:
    only("torchscript")

    def refuse(path: Path) -> None:
        raise ExportError("its logits differ by 3")

    with pytest.raises(ExportError, match=r"torchscript: its logits differ by 3$"):
        export(Tiny(), 1, 12, tmp_path / "model.onnx", refuse)


def test_an_error_without_a_message_is_named_by_its_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise AssertionError

    for name in EXPORTERS:
        monkeypatch.setitem(EXPORTERS, name, fail)
    with pytest.raises(
        ExportError, match=r"torchscript: AssertionError; dynamo: AssertionError; optimum: AssertionError$"
    ):
        export(Tiny(), 1, 12, tmp_path / "model.onnx", accept)


class Folds(nn.Module):
    """Computes constants, and operations without effect."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        scale = torch.arange(1, 4, device=images.device).float().sqrt() * 2
        return (images.mean((2, 3)) * 1.0 + 0.0)[:, :1] * scale


def test_the_file_is_simplified_and_keeps_to_standard_operators(
    tmp_path: Path, only: Callable[[str], None]
) -> None:
    only("torchscript")
    sizes = []
    assert export(
        Folds(), 1, 12, tmp_path / "model.onnx", lambda path: sizes.append(node_count(path))
    ).simplified
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == 2
    model = onnx.load(str(tmp_path / "model.onnx"))
    assert node_count(tmp_path / "model.onnx") == sizes[1]
    assert {node.domain for node in model.graph.node} == {""}
    assert [entry.domain for entry in model.opset_import] == [""]
    assert opset_and_producer(tmp_path / "model.onnx")[1].startswith("pytorch ")
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]


@pytest.mark.parametrize("fault", [ExportError("not faithful"), RuntimeError("crashed")])
def test_an_unfaithful_simplified_file_is_not_used(
    tmp_path: Path, only: Callable[[str], None], fault: Exception
) -> None:
    only("torchscript")
    seen: list[bytes] = []

    def refuse_the_second(path: Path) -> None:
        seen.append(path.read_bytes())
        if len(seen) == 2:
            raise fault

    assert export(Folds(), 1, 12, tmp_path / "model.onnx", refuse_the_second) == Exported(
        "torchscript", False
    )
    assert (tmp_path / "model.onnx").read_bytes() == seen[0]
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]


def test_a_file_that_cannot_be_simplified_stays_as_exported(
    tmp_path: Path, only: Callable[[str], None]
) -> None:
    only("torchscript")
    model = nn.Sequential(nn.Flatten(), nn.Linear(144, 2))
    assert export(model, 1, 12, tmp_path / "model.onnx", accept) == Exported("torchscript", False)


def test_a_simplified_file_loads_in_openvino(tmp_path: Path, only: Callable[[str], None]) -> None:
    openvino = pytest.importorskip("openvino")
    only("torchscript")
    assert export(Folds(), 1, 12, tmp_path / "model.onnx", accept).simplified
    images = torch.randn(1, 1, 12, 12).numpy()
    actual = openvino.Core().compile_model(
        str(tmp_path / "model.onnx"), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )([images])[0]
    expected = onnxruntime.InferenceSession(str(tmp_path / "model.onnx")).run(None, {INPUT: images})[0]
    np.testing.assert_allclose(actual, expected, atol=1e-5)


@pytest.mark.parametrize(("features", "buffer"), [(MAX_BYTES // 4 // 2**10 + 1, 0), (2**10, MAX_BYTES // 4)])
def test_a_model_above_two_gibibytes_is_refused_before_it_is_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, features: int, buffer: int
) -> None:
    """By its parameters or its buffers. On the meta device they take no memory."""
    monkeypatch.setattr(onnx_file, "EXPORTERS", {})
    model = nn.Linear(2**10, features, bias=False, device="meta")
    model.register_buffer("more", torch.empty(buffer, device="meta"))
    with pytest.raises(ExportError, match=r"weights need 2\.0 GiB, expected at most 2 GiB"):
        export(model, 1, 12, tmp_path / "model.onnx", accept)
    assert not list(tmp_path.iterdir())


def test_no_file_holds_paths_of_this_machine(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    inner = helper.make_graph(
        [helper.make_node("Relu", ["a"], ["b"], doc_string="/home/anna/b.py")], "inner", [], []
    )
    node = helper.make_node("If", ["c"], ["d"], then_branch=inner, else_branch=inner)
    node.metadata_props.add(key="pkg.torch.onnx.stack_trace", value='File "/home/anna/net.py"')
    graph = helper.make_graph(
        [node],
        "outer",
        [helper.make_tensor_value_info("c", onnx.TensorProto.BOOL, [], "/home/anna/c.py")],
        [],
    )
    made = helper.make_model(graph)
    made.metadata_props.add(key="where", value="/home/anna")
    onnx.save(made, path)
    remove_metadata(path)
    assert b"anna" not in path.read_bytes()
    assert [node.op_type for node in onnx.load(path).graph.node] == ["If"]
