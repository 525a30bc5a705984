"""Weights files that are written: converted ones, and timm's for a stick."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from pepr_edge.errors import ModelError, OutputError
from pepr_edge.records import Candidate
from pepr_edge.train.models import create_with_weights
from pepr_edge.train.weights import converting, hub
from pepr_edge.train.weights.converting import fetch, import_weights
from pepr_edge.train.weights.finding import file_notes
from pepr_edge.zoo.pretrained import Pretrained

Write = Callable[[Any, str], Path]
NAME = "test_efficientnet"


def trained(name: str = NAME, **options: Any) -> dict[str, torch.Tensor]:
    torch.manual_seed(7)
    model = timm.create_model(name, **options)
    return {
        key: torch.rand_like(value) if value.is_floating_point() else value + 5
        for key, value in model.state_dict().items()
    }


@pytest.mark.parametrize(
    ("changed", "matched", "note"),
    [
        (lambda state: state, "names", None),
        (lambda state: {"state_dict": {f"module.{k}": v for k, v in state.items()}}, "names", None),
        (lambda state: {k: v.half() for k, v in state.items()}, "names", "float32"),
        (lambda state: {k: v for k, v in state.items() if "num_batches" not in k}, "names", None),
        (lambda state: {f"enc.a_{k}": v for k, v in state.items()}, "order", None),
        (lambda state: {"model": state, "model_ema": state}, "names", "--ema"),
        (lambda state: {k: v for k, v in state.items() if "classifier" not in k}, "names", "no classifier"),
    ],
)
def test_a_converted_file_is_read_at_once(
    weights_file: Write, tmp_path: Path, changed: Any, matched: str, note: str | None
) -> None:
    state = trained(num_classes=7)
    out = tmp_path / "out.safetensors"
    made = import_weights(weights_file(changed(state), ".pth"), NAME, out)
    assert made.matched == matched
    assert note is None or any(note in one for one in made.notes)
    found = load_file(out)
    assert {value.dtype for value in found.values()} == {torch.float32, torch.int64}
    assert torch.allclose(found["conv_stem.weight"], state["conv_stem.weight"], atol=1e-3)
    assert made.channels == 3
    assert made.classes == (None if note == "no classifier" else 7)
    assert made.tensors == len(found)
    wanted = Candidate(
        architecture=NAME,
        image_size_px=32,
        weights="file",
        weights_sha256=made.sha256,
        in_channels=1,
        num_classes=2,
    )
    assert create_with_weights(wanted, out)[1].match == "names"


def test_averaged_weights_are_converted_if_wanted(weights_file: Write, tmp_path: Path) -> None:
    state = trained()
    path = weights_file({"model": state, "model_ema": {k: v + 1 for k, v in state.items()}}, ".pth")
    import_weights(path, NAME, tmp_path / "out.safetensors", averaged=True)
    assert torch.equal(load_file(tmp_path / "out.safetensors")["bn1.bias"], state["bn1.bias"] + 1)


def test_files_of_others_are_not_replaced(weights_file: Write, tmp_path: Path) -> None:
    path = weights_file(trained(), ".safetensors")
    out = tmp_path / "out.safetensors"
    save_file({"a": torch.ones(1)}, out)
    with pytest.raises(OutputError, match="--force"):
        import_weights(path, NAME, out)
    import_weights(path, NAME, out, force=True)
    import_weights(path, NAME, out)  # one of ours


@pytest.mark.parametrize(
    ("architecture", "out", "message"),
    [
        (NAME, "out.pth", r"\.safetensors"),
        (NAME, "none/out.safetensors", "no folder"),
        ("mobilenetv2_05", "out.safetensors", "Did you mean 'mobilenetv2_050'"),
        ("test_resnet", "out.safetensors", "another architecture than test_resnet"),
    ],
)
def test_what_cannot_be_converted_is_an_error_on_one_line(
    weights_file: Write, tmp_path: Path, architecture: str, out: str, message: str
) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        import_weights(weights_file(trained(), ".pth"), architecture, tmp_path / out)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / out).exists()


class Shelf:
    """Weights that timm offers for two architectures, in its cache or on the hub."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fault: str | None = None
        self.looks = 0
        self.downloads: list[str] = []

    def offered(self, architecture: str) -> Pretrained | None:
        if architecture.endswith("_none"):
            return None
        return Pretrained(f"{architecture}.in1k", "bicubic", "mit", f"timm/{architecture}.in1k")

    def cached(self, pretrained: Pretrained) -> Path | None:
        path = self.folder / f"{pretrained.name}.safetensors"
        return path if path.is_file() else None

    def look(self, look_s: float) -> str | None:
        self.looks += 1
        return self.fault

    def download(self, pretrained: Pretrained) -> Path:
        self.downloads.append(pretrained.name)
        return self.put(pretrained.name)

    def put(self, name: str) -> Path:
        path = self.folder / f"{name}.safetensors"
        save_file(trained(name.partition(".")[0]), path)
        return path


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    (tmp_path / "cache").mkdir()
    made = Shelf(tmp_path / "cache")
    monkeypatch.setattr(converting, "pretrained_of", made.offered)
    monkeypatch.setattr(converting, "in_cache", made.cached)
    monkeypatch.setattr(hub, "hub_fault", made.look)
    monkeypatch.setattr(hub, "download", made.download)
    return made


def test_weights_are_fetched_once(shelf: Shelf, tmp_path: Path) -> None:
    stick = tmp_path / "stick"
    shelf.put("test_resnet.in1k")
    rows = fetch([NAME, "test_resnet"], stick)
    assert [row.status for row in rows] == ["fetched", "fetched"]
    assert shelf.downloads == [f"{NAME}.in1k"]
    assert shelf.looks == 1
    notes = file_notes(stick / f"{NAME}.safetensors")
    assert (notes.name, notes.licence) == (f"{NAME}.in1k", "mit")
    assert (rows[0].name, rows[0].licence, rows[0].file) == (
        notes.name,
        "mit",
        str(stick / f"{NAME}.safetensors"),
    )
    assert torch.equal(load_file(stick / f"{NAME}.safetensors")["bn1.bias"], trained()["bn1.bias"])
    again = fetch([NAME, "test_resnet"], stick)
    assert [row.status for row in again] == ["present", "present"]
    assert [row.sha256 for row in again] == [row.sha256 for row in rows]
    assert shelf.looks == 1


def test_a_file_that_was_cut_short_is_fetched_again(shelf: Shelf, tmp_path: Path) -> None:
    fetch([NAME], tmp_path / "stick")
    path = tmp_path / "stick" / f"{NAME}.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 3])
    (again,) = fetch([NAME], tmp_path / "stick")
    assert (again.status, again.size_bytes) == ("fetched", len(whole))


def test_offline_the_cache_is_fetched_and_the_rest_named(shelf: Shelf, tmp_path: Path) -> None:
    shelf.put("test_resnet.in1k")
    shelf.fault = "huggingface.co cannot be reached: its name is not found"
    rows = fetch([NAME, "test_resnet", "test_vit", "x_none"], tmp_path / "stick")
    assert [row.status for row in rows] == ["failed", "fetched", "failed", "failed"]
    assert rows[0].reason == shelf.fault
    assert "no pretrained weights" in rows[3].reason
    assert (shelf.looks, shelf.downloads) == (1, [])


def test_nothing_is_left_where_nothing_can_be_fetched(shelf: Shelf, tmp_path: Path) -> None:
    shelf.fault = "gone"
    fetch([NAME], tmp_path / "stick")
    assert not (tmp_path / "stick").exists()


def test_a_file_of_the_user_s_in_the_folder_stops_before_anything_is_fetched(
    shelf: Shelf, tmp_path: Path
) -> None:
    save_file({"a": torch.ones(1)}, tmp_path / "test_resnet.safetensors")
    with pytest.raises(OutputError, match="--force"):
        fetch([NAME, "test_resnet"], tmp_path)
    assert not (tmp_path / f"{NAME}.safetensors").exists()
    assert [row.status for row in fetch([NAME, "test_resnet"], tmp_path, force=True)] == [
        "fetched",
        "fetched",
    ]
