from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import command_line
import data_checks
import made_images
import numpy as np
import pytest

from pepr_edge.records import DataCheck

SPLITS = {f"{split}/{label}": 6 for split in ("train", "val", "test") for label in ("no", "yes")}


@pytest.fixture
def scans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clean folder with splits, in the current folder."""
    monkeypatch.chdir(tmp_path)
    return made_images.folder(tmp_path / "scans", SPLITS)


def test_what_was_understood_is_said(
    scans: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    done = command_line.run(capsys, monkeypatch, "data", "check", "scans")
    assert (done.status, done.err) == (0, "")
    assert "no 18, yes 18" in done.out
    assert "train 12, val 12, test 12" in done.out
    assert "36 (folder), grey, 48 x 48 px" in done.out
    assert "no problems found" in done.out


def test_json_is_a_record_with_the_agreed_keys(
    scans: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(scans / "train/no/00.png", scans / "test/no/copy.png")
    done = data_checks.check(capsys, monkeypatch, "scans")
    assert done.status == 0
    assert {"labels", "class_counts", "splits", "columns", "problems"} <= set(done.document)
    assert set(done.document["problems"][0]) == {"kind", "severity", "count", "examples", "remedy"}
    assert DataCheck.model_validate(done.document, strict=False).labels == ("no", "yes")


def test_all_copies_are_listed_in_a_table(
    scans: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("=copy.png", "other.png"):
        shutil.copy(scans / "train/no/00.png", scans / "test/no" / name)
    done = command_line.run(capsys, monkeypatch, "data", "check", "scans")
    assert "--copies" in done.err
    words = ("data", "check", "scans", "--copies", "copies.csv", "--json")
    for _ in range(2):  # an earlier table of the same command is replaced
        done = command_line.run(capsys, monkeypatch, *words)
        assert (done.status, done.err) == (0, "")
    rows = Path("copies.csv").read_text().splitlines()
    assert rows[0] == "problem,set,image,split,label"
    assert rows[1:] == [
        "copies_across_splits,1,test/no/=copy.png,test,no",
        "copies_across_splits,1,test/no/other.png,test,no",
        "copies_across_splits,1,train/no/00.png,train,no",
    ]
    Path("copies.csv").write_text("mine")
    done = command_line.run(capsys, monkeypatch, *words)
    assert (done.status, done.err.count("\n")) == (1, 1)
    assert "no earlier list" in done.err
    assert Path("copies.csv").read_text() == "mine"


def test_an_error_ends_with_status_1_and_is_in_the_document(
    scans: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (scans / "train/no/00.png").write_bytes(b"no image")
    done = data_checks.check(capsys, monkeypatch, "scans")
    assert done.status == 1
    assert done.problem("unreadable_images")["severity"] == "error"
    assert done.err.count("\n") == 1
    assert "on_bad_image" in done.err


def test_data_that_a_run_would_refuse_are_a_problem(
    scans: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(scans / "train")
    done = data_checks.check(capsys, monkeypatch, "scans")
    assert (done.status, done.document["labels"]) == (1, [])
    [problem] = done.document["problems"]
    assert problem["severity"] == "error"
    assert "without train" in problem["remedy"]
    assert not problem["remedy"].startswith("scans:")  # each line of the command says it already


def test_a_recipe_gives_the_images_and_the_settings(
    scans: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command_line.run(capsys, monkeypatch, "init", "scans", "--no-time").status == 0
    (scans / "train/no/00.png").write_bytes(b"no image")
    recipe = Path("recipe.toml")
    recipe.write_text(recipe.read_text().replace("[data]\n", '[data]\non_bad_image = "skip"\n'))
    done = data_checks.check(capsys, monkeypatch, recipe)
    assert (done.status, done.kinds) == (0, {"unreadable_images": "warning"})


@pytest.mark.parametrize(("path", "word"), [("nowhere", "no such file"), ("none.toml", "no such file")])
def test_a_path_that_is_not_there_is_an_error(
    path: str,
    word: str,
    scans: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done = command_line.run(capsys, monkeypatch, "data", "check", path)
    assert (done.status, done.out, done.err.count("\n")) == (1, "", 1)
    assert word in done.err


def test_init_shows_the_same_problems(
    scans: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(scans / "train/no/00.png", scans / "test/yes/copy.png")
    checked = data_checks.check(capsys, monkeypatch, "scans")
    drafted = command_line.run(capsys, monkeypatch, "init", "scans", "--no-time", "--json")
    assert json.loads(drafted.out)["problems"] == checked.document["problems"]
    assert "warning: copies with two labels" in drafted.err


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_console_that_lacks_characters_shows_the_others(
    tmp_path: Path, encoding: str, form: list[str]
) -> None:
    folder = made_images.folder(tmp_path / "d", {"né": 6, "正常": 6})
    done = subprocess.run(
        [sys.executable, "-m", "pepr_edge", "data", "check", folder, *form],
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": f"{encoding}:strict", "PYTHONUTF8": "0"},
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"6" in done.stdout
    if form:
        assert json.loads(done.stdout)["labels"] == ["né", "正常"]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are UTF-8 or UTF-16")
@pytest.mark.parametrize("name", ["né", "正常"])
def test_a_system_that_reads_names_as_ascii_is_told_how_to_read_them(tmp_path: Path, name: str) -> None:
    made_images.folder(tmp_path / "d", {name: 6, "b": 6})
    done = subprocess.run(
        [sys.executable, "-m", "pepr_edge", "data", "check", "d"],
        capture_output=True,
        cwd=tmp_path,
        env=os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    )
    assert (done.returncode, done.stderr.count(b"\n")) == (1, 1)
    assert b"PYTHONUTF8=1" in done.stderr


@pytest.fixture
def zenodo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """A server on this machine in place of Zenodo; the function puts a small set on it under a name."""
    pytest.importorskip("pooch")
    from pepr_edge.data import medmnist
    from pepr_edge.data.medmnist_sets import INFO

    served = tmp_path / "served"
    served.mkdir()
    handler = partial(QuietHandler, directory=str(served))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr(medmnist, "url", lambda name: f"{address}/{name}.npz")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

        def put(name: str, px: int, colour: bool, is_expected: bool = True) -> Path:
            path = served / f"{name}.npz"
            write_set(path, px, colour, len(INFO[name].labels))
            if is_expected:
                md5 = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
                monkeypatch.setitem(INFO, name, replace(INFO[name], md5=md5))
            return path

        yield put
        server.shutdown()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def write_set(path: Path, px: int, colour: bool, classes: int) -> None:
    """Write a set of MedMNIST+ with two images of each class in each split."""
    count = 2 * classes
    arrays: dict[str, Any] = {}
    for start, split in enumerate(("train", "val", "test")):
        seeds = range(start * count, (start + 1) * count)
        arrays[f"{split}_images"] = np.stack([made_images.pixels(seed, px, colour=colour) for seed in seeds])
        arrays[f"{split}_labels"] = np.arange(count, dtype=np.uint8)[:, None] % classes
    np.savez(path, **arrays)


@pytest.mark.parametrize(
    ("name", "px", "colour", "first_label"),
    [
        ("pneumoniamnist_128", 128, False, "normal"),
        ("OCTMNIST_224", 224, False, "choroidal neovascularization"),
        ("BloodMNIST_64", 64, True, "basophil"),
        ("dermamnist_corrected_28", 28, True, "actinic keratoses and intraepithelial carcinoma"),
        ("dermamnist_extended_224", 224, True, "actinic keratoses and intraepithelial carcinoma"),
    ],
)
def test_larger_and_corrected_sets_of_medmnist_are_fetched_by_name(
    name: str,
    px: int,
    colour: bool,
    first_label: str,
    zenodo: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    zenodo(name.lower(), px, colour)
    done = data_checks.check(capsys, monkeypatch, name)
    assert (done.status, next(iter(done.counts))) == (0, first_label)
    assert set(done.counts.values()) == {6}
    assert list(done.document["splits"]) == ["train", "val", "test"]
    assert (done.document["channels"], done.document["sizes_px"][0]) == (3 if colour else 1, [px, px])


@pytest.mark.parametrize("name", ["organamnist_64", "dermamnist_corrected_224"])
def test_another_content_than_the_published_one_is_refused(
    name: str,
    zenodo: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    zenodo(name, 28, False, is_expected=False)
    done = data_checks.check(capsys, monkeypatch, name)
    assert (done.status, done.err.count("\n")) == (1, 1)
    assert "checksum is wrong" in done.err
