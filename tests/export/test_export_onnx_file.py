from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from pepr_edge.errors import ExportError
from pepr_edge.export import onnx_file
from pepr_edge.export.onnx_file import EXPORTERS, INPUT, OUTPUT, export, facts


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
    """Leave one of the exporters."""

    def leave(name: str) -> None:
        monkeypatch.setattr(onnx_file, "EXPORTERS", {name: EXPORTERS[name]})

    return leave


def accept(path: Path) -> None:
    """A check that finds nothing."""


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", EXPORTERS)
def test_one_file_with_a_dynamic_batch(tmp_path: Path, only: Callable[[str], None], name: str, channels: int) -> None:
    only(name)
    torch.manual_seed(0)
    model, path = Tiny(channels), tmp_path / "model.onnx"
    model.norm.running_mean = torch.full((4,), 0.3)
    assert export(model, channels, 12, path, accept) == name
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
def test_opset_and_producer_are_those_of_the_file(tmp_path: Path, only: Callable[[str], None], name: str, opset: int) -> None:
    only(name)
    path = tmp_path / "model.onnx"
    export(Tiny(), 1, 12, path, accept)
    model = onnx.load(str(path))
    assert facts(path) == (opset, f"{model.producer_name} {model.producer_version}".strip())
    assert facts(path)[1].startswith("pytorch ")
    assert all(tensor.data_location == onnx.TensorProto.DEFAULT for tensor in model.graph.initializer)


def test_the_module_is_exported_as_it_decides_not_as_it_trains(tmp_path: Path, only: Callable[[str], None]) -> None:
    only("torchscript")
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.9), nn.Linear(144, 2)).train()
    export(model, 1, 12, tmp_path / "model.onnx", accept)
    assert not {"Dropout", "RandomUniformLike"} & {node.op_type for node in onnx.load(str(tmp_path / "model.onnx")).graph.node}
    assert not model.training


def test_a_file_that_is_not_faithful_is_made_again_by_the_next_exporter(tmp_path: Path) -> None:
    seen: list[bytes] = []

    def refuse_the_first(path: Path) -> None:
        seen.append(path.read_bytes())
        if len(seen) == 1:
            raise ExportError("not faithful")

    assert export(Tiny(), 1, 12, tmp_path / "model.onnx", refuse_the_first) == "dynamo"
    assert len(seen) == 2
    assert (tmp_path / "model.onnx").read_bytes() == seen[1] != seen[0]


def test_no_exporter_that_works_names_the_reason_of_each(tmp_path: Path) -> None:
    with pytest.raises(
        ExportError, match=r"^no exporter gave a faithful ONNX file: torchscript: \w+: .*eigvals.*; dynamo: \w+: .*eig"
    ) as caught:
        export(Odd(), 1, 12, tmp_path / "model.onnx", accept)
    assert str(caught.value).isprintable()


def test_the_reason_of_a_check_is_told_in_its_own_words(tmp_path: Path, only: Callable[[str], None]) -> None:
    only("torchscript")

    def refuse(path: Path) -> None:
        raise ExportError("its logits differ by 3")

    with pytest.raises(ExportError, match=r"^no exporter gave a faithful ONNX file: torchscript: its logits differ by 3$"):
        export(Tiny(), 1, 12, tmp_path / "model.onnx", refuse)


def test_a_fault_without_words_is_a_reason_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError

    for name in EXPORTERS:
        monkeypatch.setitem(EXPORTERS, name, fail)
    with pytest.raises(ExportError, match=r"torchscript: AssertionError; dynamo: AssertionError$"):
        export(Tiny(), 1, 12, tmp_path / "model.onnx", accept)
