"""Where weights are on this machine, and what is known of them without PyTorch."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from pepr_edge.errors import ModelError
from pepr_edge.train.weights.finding import (
    FileNotes,
    file_notes,
    in_cache,
    in_folder,
    pretrained_of,
    timm_name,
    url_path,
)
from pepr_edge.zoo.pretrained import Pretrained

TENSORS = {"a": torch.ones(2)}
OF_HUB = Pretrained("x.in1k", "bicubic", "mit", "timm/x.in1k")
OF_URL = Pretrained("y.in1k", "bilinear", "mit", "", url="https://example.org/weights/y-0a1b2c3d.pth")


def cached(cache: Path, repository: str, name: str, content: bytes = b"weights") -> Path:
    """A file in a cache of the hub, as its client leaves it."""
    folder = cache / f"models--{repository.replace('/', '--')}"
    commit = "0" * 40
    path = folder / "snapshots" / commit / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    (folder / "refs").mkdir(exist_ok=True)
    (folder / "refs" / "main").write_text(commit)
    return path


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ((), None),
        (("a.pth",), "a.pth"),
        (("a.pt", "a.pth"), "a.pth"),
        (("a.pth", "a.safetensors", "a.pt"), "a.safetensors"),
        (("A.pth", "ab.pth", "a.bin"), None),
    ],
)
def test_a_folder_has_a_file_for_each_architecture(
    tmp_path: Path, files: tuple[str, ...], expected: str | None
) -> None:
    for name in files:
        (tmp_path / name).touch()
    found = in_folder(tmp_path, "a")
    assert (None if found is None else found.name) == expected


def test_a_folder_that_is_not_there_has_none(tmp_path: Path) -> None:
    assert in_folder(tmp_path / "none", "a") is None


def test_files_of_the_hub_s_cache_are_found_in_timm_s_order(cache: Path) -> None:
    assert in_cache(OF_HUB) is None
    old = cached(cache, "timm/x.in1k", "pytorch_model.bin")
    assert in_cache(OF_HUB) == old
    new = cached(cache, "timm/x.in1k", "model.safetensors")
    assert in_cache(OF_HUB) == new


def test_a_file_with_a_name_of_its_own_is_found(cache: Path) -> None:
    own = cached(cache, "some/repo", "own.bin")
    assert in_cache(Pretrained("x", "bicubic", "", "some/repo", file_name="own.bin")) == own


def test_weights_with_a_url_are_in_pytorch_s_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert in_cache(OF_URL) is None
    path = url_path(OF_URL)
    assert path == Path(torch.hub.get_dir()) / "checkpoints" / "y-0a1b2c3d.pth"
    path.parent.mkdir(parents=True)
    path.touch()
    assert in_cache(OF_URL) == path
    monkeypatch.delenv("TORCH_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert url_path(OF_URL) == Path(torch.hub.get_dir()) / "checkpoints" / "y-0a1b2c3d.pth"


def test_timm_s_weights_of_an_architecture_outside_the_zoo() -> None:
    offered = pretrained_of("tf_efficientnet_lite0")
    assert offered is not None
    assert (offered.name, offered.repository) == (
        "tf_efficientnet_lite0.in1k",
        "timm/tf_efficientnet_lite0.in1k",
    )
    assert (offered.interpolation, offered.licence) == ("bicubic", "apache-2.0")
    tagged = pretrained_of("resnet18.tv_in1k")
    assert tagged is not None
    assert (tagged.name, tagged.interpolation) == ("resnet18.tv_in1k", "bilinear")
    assert timm_name("resnet18.tv_in1k") == "resnet18.tv_in1k"


@pytest.mark.parametrize("name", ["no_such_architecture", "resnet18.no_such_weights", "resnet33ts.none"])
def test_what_timm_does_not_offer_has_none(name: str) -> None:
    assert pretrained_of(name) is None


def test_weights_in_a_foreign_format_are_not_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    config = SimpleNamespace(custom_load=True, hf_hub_id="a/b", url="", architecture="x", tag="")
    monkeypatch.setattr("timm.models.get_pretrained_cfg", lambda name: config)
    assert pretrained_of("x") is None


def test_the_notes_of_a_file_of_ours_are_read(tmp_path: Path) -> None:
    metadata = {"made_by": "pepr_edge", "pretrained_name": "x.in1k", "licence": "mit"}
    save_file(TENSORS, tmp_path / "ours.safetensors", metadata)
    assert file_notes(tmp_path / "ours.safetensors") == FileNotes(True, "x.in1k", "mit")
    save_file(TENSORS, tmp_path / "imported.safetensors", {"made_by": "pepr_edge"})
    assert file_notes(tmp_path / "imported.safetensors") == FileNotes(True)
    save_file(TENSORS, tmp_path / "other.safetensors", {"format": "pt"})
    assert file_notes(tmp_path / "other.safetensors") == FileNotes()
    assert file_notes(tmp_path / "none.safetensors") == FileNotes()


@pytest.mark.parametrize("text", ["x" * 10_000, "a\nb", "\x7f", "a\u202eb"])
def test_a_note_that_fits_into_no_table_is_left_out(text: str, tmp_path: Path) -> None:
    metadata = {"made_by": "pepr_edge", "pretrained_name": text, "licence": text}
    save_file(TENSORS, tmp_path / "other.safetensors", metadata)
    notes = file_notes(tmp_path / "other.safetensors")
    assert (notes.name, notes.licence) == ("", "")


def test_weights_are_not_cached_for_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home(path: str) -> str:
        return path

    for name in ("TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.path.expanduser", no_home)
    assert in_cache(OF_URL) is None
    with pytest.raises(ModelError, match="TORCH_HOME"):
        url_path(OF_URL)


@given(st.binary(max_size=60) | st.dictionaries(st.text(max_size=4), st.integers() | st.text(max_size=4)))
def test_a_file_of_others_has_no_notes(tmp_path_factory: pytest.TempPathFactory, content: object) -> None:
    header = content if isinstance(content, bytes) else json.dumps({"__metadata__": content}).encode()
    path = tmp_path_factory.getbasetemp() / "hostile.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    assert file_notes(path) == FileNotes()
    os.truncate(path, len(header) // 2)
    assert file_notes(path) == FileNotes()
