"""Weights files as they come: wrappers, averages, foreign pickles, files that are none."""

from __future__ import annotations

import argparse
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from pepr_edge.errors import ModelError
from pepr_edge.train.weights.reading import is_averaged, read_weights

Write = Callable[[Any, str], Path]
STATE = {"conv.weight": torch.arange(6.0).reshape(2, 3), "fc.bias": torch.ones(2)}
AVERAGE = {name: value + 1 for name, value in STATE.items()}


def same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> bool:
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in found)


@pytest.mark.parametrize(
    "content",
    [
        STATE,
        {"state_dict": STATE, "epoch": 3},
        {"model": STATE, "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]}, "epoch": 3},
        {"model_state_dict": STATE, "loss": 0.5},
        {"net": STATE, "acc": 91.2},
        {"model_state": STATE, "optimizer_state": {"state": {}}},
        {"model": {"state_dict": STATE, "arch": "resnet18"}},
        {"state_dict": STATE, "state_dict_ema": AVERAGE},
        {"model": STATE, "model_ema": AVERAGE, "scaler": {"scale": 65536.0}},
        {**STATE, "epoch": 3},
        {"state_dict": {}, "model": STATE},
        {"model": {"depth": 18}, "net": STATE},
        {"ema": {"decay": 0.99}, "model": STATE, "state_dict": STATE},
        {"state_dict": STATE, "best_acc1": torch.tensor(71.0), "loss": torch.tensor(0.3)},
        {"model": STATE, "mean": torch.rand(3), "std": torch.rand(3)},
        {**STATE, "params": {"mean": torch.rand(3)}},
        {"model": STATE, "ema_stats": {}},
    ],
)
def test_the_tensors_are_found_in_what_a_training_saves(weights_file: Write, content: Any) -> None:
    file = read_weights(weights_file(content, ".pth"))
    assert same(file.tensors, STATE)
    assert list(file.tensors) == list(STATE)
    assert file.ordered
    assert file.averaged == any("ema" in name and len(content[name]) > 1 for name in content)


@pytest.mark.parametrize(
    "content",
    [
        {"state_dict": STATE, "state_dict_ema": AVERAGE},
        {"model": STATE, "model_ema": AVERAGE},
        {"model_ema": {"state_dict": AVERAGE, "decay": 0.999}, "model": STATE},
        {"ema": {"module": AVERAGE}},
        {"ema": {"shadow": AVERAGE}},
        {"model_ema": {"decay": 0.99}, "ema": AVERAGE, "net": STATE},
        {"model": {"state_dict": STATE, "state_dict_ema": AVERAGE}},
        {"model": STATE, "swa_model": AVERAGE},
        {"state_dict": STATE, "swa_state_dict": AVERAGE},
        {"state_dict": STATE, "ema_model_state_dict": AVERAGE},
        {"state_dict": STATE, "ema_weights": AVERAGE},
        {"model": STATE, "ema": {"decay": torch.tensor(0.9)}, "model_ema": AVERAGE},
    ],
)
def test_averaged_weights_are_taken_if_wanted(weights_file: Write, content: Any) -> None:
    assert same(read_weights(weights_file(content, ".pth"), averaged=True).tensors, AVERAGE)


def test_averaged_weights_that_are_not_there_are_not_replaced_by_others(weights_file: Write) -> None:
    with pytest.raises(ModelError, match=r"no averaged weights.+--ema"):
        read_weights(weights_file({"state_dict": STATE}, ".pth"), averaged=True)


def test_a_file_of_averaged_weights_alone_names_the_option(weights_file: Write) -> None:
    with pytest.raises(ModelError, match=r"only averaged weights.+--ema"):
        read_weights(weights_file({"model_ema": AVERAGE, "epoch": 3}, ".pth"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("model_ema.conv.weight", True),
        ("ema.module.conv", True),
        ("swa_model.module.conv.weight", True),
        ("schema.weight", False),
        ("stem.weight", False),
    ],
)
def test_averaged_copies_are_known_by_their_names(name: str, expected: bool) -> None:
    assert is_averaged(name) == expected


def test_safetensors_are_known_by_their_content_and_keep_no_order(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "weights.bin")
    file = read_weights(tmp_path / "weights.bin")
    assert same(file.tensors, STATE)
    assert not file.ordered


def test_the_format_of_torch_before_1_6_is_read(tmp_path: Path) -> None:
    path = tmp_path / "old.pth"
    torch.save({"state_dict": STATE}, path, _use_new_zipfile_serialization=False)
    assert same(read_weights(path).tensors, STATE)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_namespace_is_refused_with_a_safe_conversion(
    tmp_path: Path, zipped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "w.pth"
    content = {"model": STATE, "args": argparse.Namespace(lr=0.1)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ModelError, match=r"argparse\.Namespace") as caught:
        read_weights(path)
    message = str(caught.value)
    assert "\n" not in message
    assert "\x1b" not in message
    assert "weights_only=True" in message
    assert "weights_only=False" not in message
    # What the message says works.
    monkeypatch.chdir(tmp_path)
    program = message.partition('python -c "')[2].partition('"')[0]
    try:
        exec(program.replace("FILE", path.name), {})
    finally:
        torch.serialization.clear_safe_globals()
    assert same(read_weights(tmp_path / "weights.pth").tensors, STATE)


class Code:
    """Unpickling it creates a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Path.mkdir, (self.folder,)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_weights_file_is_not_run(tmp_path: Path, zipped: bool) -> None:
    made = tmp_path / "made"
    path = tmp_path / "w.pth"
    torch.save({**STATE, "extra": Code(made)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ModelError, match=r"would run code.+if you trust it: torch\.save") as caught:
        read_weights(path)
    assert "\x1b" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not made.exists()
    # The test file is dangerous indeed.
    torch.load(path, weights_only=False)
    assert made.is_dir()


def test_a_whole_model_is_refused_by_the_name_of_its_class(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save(torch.nn.Linear(2, 2), path)
    with pytest.raises(ModelError, match=r"Linear.+torch\.save\(model\.state_dict\(\)"):
        read_weights(path)


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_a_torchscript_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path)
    with pytest.raises(ModelError, match=r"TorchScript.+torch\.jit\.load"):
        read_weights(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"\x89HDF\r\n\x1a\n", "Keras"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        (b"not weights at all", "not a weights file"),
        (json.dumps({"a": 1}).encode(), "not a weights file"),
        (pickle.dumps([1])[:-3], "not a weights file"),
    ],
)
def test_a_file_that_is_none_is_an_error_on_one_line(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=reason) as caught:
        read_weights(path)
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("share", [0.001, 0.5, 0.999])
def test_a_torn_file_is_an_error_on_one_line(weights_file: Write, suffix: str, share: float) -> None:
    path = weights_file({f"l{number}.weight": torch.rand(40, 40) for number in range(9)}, suffix)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ModelError, match=r"cut short") as caught:
        read_weights(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [[1, 2], {"a": 1}, {"state_dict": 3}, torch.zeros(3), {"model": {"a": 1}}]
)
def test_the_error_for_a_file_without_tensors_says_how_to_make_one(
    weights_file: Write, content: object
) -> None:
    with pytest.raises(ModelError, match=r"torch\.save"):
        read_weights(weights_file(content, ".pt"))


def test_averages_that_differ_are_refused_if_one_is_wanted(weights_file: Write) -> None:
    content = {"model": STATE, "swa_model": AVERAGE, "model_ema": {n: v + 2 for n, v in STATE.items()}}
    path = weights_file(content, ".pth")
    assert same(read_weights(path).tensors, STATE)
    with pytest.raises(ModelError, match=r"several models, under 'swa_model' and 'model_ema'"):
        read_weights(path, averaged=True)


def test_figures_of_an_average_are_no_average(weights_file: Write) -> None:
    content = {"model": {**STATE, **{f"{n}2": v for n, v in STATE.items()}}, "ema": {"decay": torch.ones(1)}}
    assert not read_weights(weights_file(content, ".pth")).averaged


def test_tensors_under_other_keys_are_named(weights_file: Write) -> None:
    content = {"student": STATE, "teacher": AVERAGE, "epoch": 3}
    with pytest.raises(ModelError, match=r"has tensors under 'student' and 'teacher', .+checkpoint\[KEY\]"):
        read_weights(weights_file(content, ".pth"))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"none\.pth: no such weights file\. Give the path"):
        read_weights(tmp_path / "none.pth")
    with pytest.raises(ModelError, match="not a file"):
        read_weights(tmp_path)


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
def test_quantised_tensors_are_refused(weights_file: Write) -> None:
    quantised = torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)
    with pytest.raises(ModelError, match=r"fc\.weight is quantised"):
        read_weights(weights_file({"fc.weight": quantised, "fc.bias": torch.ones(2)}, ".pth"))


def test_other_objects_than_tensors_need_code(weights_file: Write) -> None:
    with pytest.raises(ModelError, match=r"SimpleNamespace"):
        read_weights(weights_file({"state_dict": STATE, "config": SimpleNamespace(lr=1)}, ".pth"))


def test_two_models_in_one_file_are_refused_by_their_keys(weights_file: Write) -> None:
    with pytest.raises(ModelError, match=r"several models, under 'state_dict' and 'model'"):
        read_weights(weights_file({"model": STATE, "state_dict": AVERAGE}, ".pth"))


def test_tensors_without_values_are_refused(weights_file: Write) -> None:
    meta = {name: value.to("meta") for name, value in STATE.items()}
    with pytest.raises(ModelError, match=r"conv\.weight is without values"):
        read_weights(weights_file(meta, ".pth"))


def test_a_file_whose_content_was_changed_is_refused(weights_file: Write) -> None:
    """PyTorch does not compare checksums, so damaged weights would be trained on."""
    path = weights_file({"weight": torch.rand(400)}, ".pth")
    content = bytearray(path.read_bytes())
    place = content.index(torch.load(path)["weight"].numpy().tobytes())
    content[place + 100] ^= 1
    path.write_bytes(content)
    assert torch.load(path)["weight"].isfinite().all()
    with pytest.raises(ModelError, match="damaged"):
        read_weights(path)


def test_pytorch_s_advice_to_run_the_code_of_a_file_is_not_passed_on(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(b"\x1f\x8b\x08 not a format of PyTorch")
    with pytest.raises(ModelError) as caught:
        read_weights(path)
    assert "weights_only" not in str(caught.value)
    assert "of no format that PyTorch reads" in str(caught.value)
