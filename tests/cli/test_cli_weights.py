"""`pepr-edge weights`: its output, its exit status, and its one line offline."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import command_line
import pytest
import timm
import torch
from safetensors.torch import save_file

from pepr_edge.train.weights import converting
from pepr_edge.train.weights.converting import FetchedWeights

RECIPE = """
schema_version = 1
name = "r"
device.name = "d"
candidates.architectures = ["dla46_c", "mobilenetv2_050"]
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "r.toml"
    path.write_text(RECIPE)
    return path


def test_import_writes_the_file_and_says_how_it_was_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    state = timm.create_model("test_efficientnet").state_dict()
    torch.save({f"body.x_{name}": value for name, value in state.items()}, tmp_path / "w.pth")
    words = ("weights", "import", tmp_path / "w.pth", "--architecture", "test_efficientnet")
    done = command_line.run(capsys, monkeypatch, *words, "--out", tmp_path / "o.safetensors", "--json")
    assert done.status == 0
    document = json.loads(done.out)
    assert document["matched"] == "order"
    assert (document["classes"], document["channels"], document["tensors"]) == (1000, 3, len(state))
    assert "order" in done.err
    done = command_line.run(capsys, monkeypatch, *words, "--out", tmp_path / "o.safetensors")
    assert done.out.strip() == str(tmp_path / "o.safetensors")


def test_import_of_a_foreign_pickle_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "w.pth")
    words = ("weights", "import", tmp_path / "w.pth", "--architecture", "test_efficientnet")
    done = command_line.run(capsys, monkeypatch, *words, "--out", tmp_path / "o.safetensors", "--json")
    assert done.status == 1
    assert done.out == ""
    assert len(done.err.strip().splitlines()) == 1
    assert "\x1b" not in done.err
    assert "x1b" not in done.err


def test_offline_fetch_is_one_line(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    done = command_line.run(capsys, monkeypatch, "weights", "fetch", recipe, "--out", tmp_path / "stick")
    assert done.status == 1
    assert done.out == ""
    assert len(done.err.strip().splitlines()) == 1
    assert "2 of 2 architectures" in done.err
    assert "HF_HUB_OFFLINE" in done.err
    done = command_line.run(
        capsys, monkeypatch, "weights", "fetch", recipe, "--out", tmp_path / "s", "--json"
    )
    assert done.status == 1
    assert [row["status"] for row in json.loads(done.out)["weights"]] == ["failed", "failed"]


def test_fetch_lists_names_and_licences(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        FetchedWeights("dla46_c", "fetched", "dla46_c.in1k", "bsd-3-clause", "s/a", "0" * 64, 5 << 20),
        FetchedWeights("mobilenetv2_050", "present", "m.in1k", "apache-2.0", "s/b", "1" * 64, 7 << 20),
    ]
    monkeypatch.setattr(converting, "fetch", lambda *args: rows)
    done = command_line.run(capsys, monkeypatch, "weights", "fetch", recipe, "--out", tmp_path / "stick")
    assert done.status == 0
    assert "bsd-3-clause" in done.out
    assert "5.00 MiB" in done.out
    assert "weights_dir" in done.err
    rows[1] = FetchedWeights("mobilenetv2_050", "failed", "m.in1k", "apache-2.0", reason="gone")
    done = command_line.run(capsys, monkeypatch, "weights", "fetch", recipe, "--out", tmp_path / "stick")
    assert done.status == 1
    assert "1 of 2 architectures" in done.err
    assert "dla46_c" in done.out


def test_fetch_of_an_unknown_architecture_suggests_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "r.toml"
    path.write_text(RECIPE.replace("dla46_c", "dla46_"))
    done = command_line.run(capsys, monkeypatch, "weights", "fetch", path, "--out", tmp_path / "stick")
    assert done.status == 1
    assert "Did you mean 'dla46_c'" in done.err


def prefixed(state: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {f"{prefix}{name}": value for name, value in state.items()}


@pytest.mark.parametrize(
    ("change", "options"),
    [
        (lambda state: prefixed(state, "module.model."), ()),
        (lambda state: prefixed(state, "_orig_mod.module."), ()),
        (lambda state: {"model": prefixed(state, "backbone."), "epoch": 3}, ()),
        (lambda state: {"state_dict": {"loss.weight": torch.ones(2), **prefixed(state, "model.")}}, ()),
        (lambda state: {"model": {}, "model_ema": prefixed(state, "module.")}, ("--ema",)),
        (lambda state: {name: value for name, value in state.items() if "tracked" not in name}, ()),
        (lambda state: {name: value.bfloat16() for name, value in state.items() if "num" not in name}, ()),
    ],
)
def test_import_reads_what_training_scripts_save(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[dict[str, torch.Tensor]], object],
    options: tuple[str, ...],
) -> None:
    state = timm.create_model("test_efficientnet", num_classes=4).state_dict()
    torch.save(change(state), tmp_path / "w.pth")
    words = ("weights", "import", tmp_path / "w.pth", "--architecture", "test_efficientnet", *options)
    done = command_line.run(capsys, monkeypatch, *words, "--out", tmp_path / "o.safetensors", "--json")
    assert done.status == 0, done.err
    document = json.loads(done.out)
    assert (document["matched"], document["classes"], document["tensors"]) == ("names", 4, len(state))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"model": {}, "args": argparse.Namespace(lr=1)}, "argparse.Namespace"),
        ({"model": {}, "when": datetime(2026, 1, 1, tzinfo=timezone.utc)}, "datetime"),
        ({"state_dict": {"a": torch.ones(2), "b": torch.ones(3)}}, "another architecture"),
        (timm.create_model("test_resnet").state_dict(), "another architecture"),
        ({"epoch": 3}, "no state dict"),
    ],
)
def test_import_says_in_one_line_what_it_does_not_read(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    content: object,
    expected: str,
) -> None:
    torch.save(content, tmp_path / "w.pth")
    words = ("weights", "import", tmp_path / "w.pth", "--architecture", "test_efficientnet")
    done = command_line.run(capsys, monkeypatch, *words, "--out", tmp_path / "o.safetensors")
    assert done.status == 1
    assert expected in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert not any(mark in done.err for mark in ("\x1b", "x1b", "[1m"))
    assert not (tmp_path / "o.safetensors").exists()


@pytest.mark.parametrize("kept", [1, 12, -2])
def test_an_incomplete_file_is_not_said_to_be_of_another_architecture(
    kept: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    state = timm.create_model("test_efficientnet").state_dict()
    body = [name for name in state if not name.startswith("classifier")]
    torch.save({name: state[name] for name in body[:kept]}, tmp_path / "w.pth")
    words = ("weights", "import", tmp_path / "w.pth", "--architecture", "test_efficientnet")
    done = command_line.run(capsys, monkeypatch, *words, "--out", tmp_path / "o.safetensors")
    assert done.status == 1
    assert "incomplete" in done.err
    assert "missing (such as" in done.err
    assert "another architecture" not in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
@pytest.mark.parametrize("share", [0.1, 0.97])
def test_a_file_whose_end_is_missing_is_said_to_be_cut(
    name: str,
    share: float,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    state = timm.create_model("test_efficientnet").state_dict()
    save = save_file if name.endswith("safetensors") else torch.save
    save(state, tmp_path / name)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: int(len(content) * share)])
    words = ("weights", "import", tmp_path / name, "--architecture", "test_efficientnet")
    done = command_line.run(capsys, monkeypatch, *words, "--out", tmp_path / "o.safetensors")
    assert (done.status, done.err.count("\n")) == (1, 1)
    assert "cut short" in done.err
