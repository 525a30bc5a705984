"""Bundles that somebody has spoiled: one row for each command and each fault."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import command_line
import hostile_models
import pytest
import tiny_bundle
from hostile_check import check

from pepr_edge.measure import bundle_model
from pepr_edge.run_dir.store import sha256_file

Change = Callable[[dict[str, Any]], object]
COMMANDS = ("verify", "predict", "bench")

pytestmark = [
    pytest.mark.usefixtures("one_process"),
    pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here"),
]


@pytest.fixture
def spoiled(home: Path, tmp_path: Path) -> Path:
    """A copy of the bundle, to be spoiled."""
    return Path(shutil.copytree(home / "01-tiny@16-fp32", tmp_path / "01-tiny@16-fp32"))


def words(command: str, bundle: Path, home: Path) -> list[object]:
    """Return a command with a bundle and what it needs besides."""
    return {
        "verify": ["verify", bundle],
        "predict": ["predict", bundle, home / "good.png"],
        "bench": ["bench", "--quick", "--no-extras", bundle],
    }[command]


def of_verify(command: str, status: int) -> int:
    """Return the status of a refused bundle: to `verify`, a bundle that does not pass is a failed check."""
    return 3 if command == "verify" else status


# Whole texts in place of manifest.json.
TEXTS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "manifest.json"),
    "blank": (b" " * 1000, "manifest.json"),
    "text": (b"hello", "manifest.json"),
    "a list": (b"[]", "manifest.json"),
    "a number": (b"1", "manifest.json"),
    "null": (b"null", "manifest.json"),
    "an empty object": (b"{}", "manifest.json"),
    "lists 100,000 deep": (b"[" * 100_000, "nested too deeply"),
    "closed lists 50,000 deep": (b"[" * 50_000 + b"]" * 50_000, "nested too deeply"),
    "objects 100,000 deep": (b'{"a":' * 100_000, "nested too deeply"),
    "lists 65 deep": (b"[" * 65 + b"]" * 65, "nested too deeply"),
    "20,000 keys": (json.dumps({f"k{n}": 1 for n in range(20_000)}).encode(), "not a manifest"),
    "100,000 keys, one twice": (
        b"{" + b",".join(b'"k%d":1' % n for n in range(100_000)) + b',"k9":1}',
        "the key k9 twice",
    ),
    "one key of a megabyte": (json.dumps({"k" * 1_000_000: 1}).encode(), "not a manifest"),
    "a control character in a key": (b'{"\\u001b[2J": 1}', "control characters"),
    "UTF-16": ('{"a": 1}'.encode("utf-16"), "not UTF-8"),
    "a byte order mark": (b"\xef\xbb\xbf{}", "manifest"),
    "bytes that are not UTF-8": (b'{"a": "\xff"}', "not UTF-8"),
    "half of a surrogate pair": (b'{"a": "\\ud800"}', "control characters"),
    "NaN": (b'{"a": NaN}', "NaN"),
    "Infinity": (b'{"a": -Infinity}', "Infinity"),
    "a number beyond double": (b'{"a": 1e999}', "too large"),
    "a number of 400 digits": (b'{"a": ' + b"9" * 400 + b"}", "64 bits"),
    "a number of 100,000 digits": (b'{"a": ' + b"9" * 100_000 + b"}", "64 bits"),
    "larger than 32 MiB": (b" " * ((32 << 20) + 1), "larger than 32 MiB"),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", TEXTS)
def test_a_manifest_that_is_none(
    command: str,
    name: str,
    spoiled: Path,
    home: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text, word = TEXTS[name]
    (spoiled / "manifest.json").write_bytes(text)
    check(command_line.run(capsys, monkeypatch, *words(command, spoiled, home)), of_verify(command, 1), word)


def put(*keys: str, value: Any) -> Change:
    """Return a change that sets a value at a place of a document."""

    def change(document: dict[str, Any]) -> None:
        *parents, last = keys
        for key in parents:
            document = document[key]
        document[last] = value

    return change


def files(names: dict[str, str]) -> Change:
    return lambda document: document["files"].update(names)


HASH = "0" * 64
# Changes of a valid manifest.
CHANGES: dict[str, tuple[Change, str]] = {
    **{
        f"{key} is {value!r}": (put(*key.split("."), value=value), "manifest.json")
        for key in ("profile", "profile.settings", "preprocess", "labels", "files", "selftest", "input")
        for value in ("x", 1, [], None)
        if not (key == "labels" and value == [])
    },
    "no profile": (lambda document: document.pop("profile"), "profile"),
    "no labels": (put("labels", value=[]), "labels"),
    "one label": (put("labels", value=["a"]), "labels"),
    "equal labels": (put("labels", value=["a", "a"]), "labels"),
    "three labels": (put("labels", value=["a", "b", "c"]), "labels"),
    "a label of a megabyte": (put("labels", value=["a", "b" * 1_000_000]), "label"),
    "a label with an escape sequence": (put("labels", value=["a", "\x1b[2Jb"]), "control characters"),
    "a label of two lines": (put("labels", value=["a", "b\nc"]), "one line"),
    "a label with a mark of direction": (put("labels", value=["a", "\u200fb"]), "control characters"),
    "a label that overrides direction": (put("labels", value=["a", "\u202eb"]), "control characters"),
    "a label with an invisible character": (put("labels", value=["a", "a\u200b"]), "control characters"),
    "a name of a megabyte": (put("architecture", value="x" * 1_000_000), ""),
    "an unknown key": (put("surprise", value=1), "surprise"),
    "an unknown key of a megabyte": (put("s" * 1_000_000, value=1), "not a manifest"),
    "another version": (put("schema_version", value=2), "schema_version"),
    "a runtime of a megabyte": (put("profile", "settings", "runtime", value="r" * 1_000_000), ""),
    "no threads": (put("profile", "settings", "threads", value=0), "threads"),
    "a million threads": (put("profile", "settings", "threads", value=1_000_000), "threads"),
    "a negative time": (put("profile", "load_s", value=-1.0), "load_s"),
    "a latency beyond all limits": (put("profile", "latencies_s", value=[1e308]), "latencies_s"),
    "negative memory": (put("profile", "peak_memory_bytes", value=-5), "peak_memory_bytes"),
    "memory that no machine has": (put("profile", "peak_memory_bytes", value=2**62), "MiB"),
    "a negative size": (put("preprocess", "image_size_px", value=-16), "image_size_px"),
    "a huge size": (put("preprocess", "image_size_px", value=10**9), "image_size_px"),
    "no deviation": (put("preprocess", "std", value=[0.0]), "std"),
    "a deviation near 0": (put("preprocess", "std", value=[5e-324]), "std"),
    "a huge mean": (put("preprocess", "mean", value=[1e308]), "mean"),
    "two means": (put("preprocess", "mean", value=[0.5, 0.5]), "means"),
    "no scale": (put("preprocess", "scale", value=0), "scale"),
    "two channels": (put("preprocess", "channels", value=2), "channels"),
    "a filter of nobody": (put("preprocess", "interpolation", value="magic"), "interpolation"),
    "a shape of rank 2": (put("input", "shape", value=[-1, 256]), "input.shape"),
    "a shape of a hundred thousand sizes": (put("input", "shape", value=[1] * 100_000), "input.shape"),
    "another output": (put("output", "shape", value=[-1, 9]), "output.shape"),
    "four billion test images": (put("selftest", "n", value=4_000_000_000), "selftest.n"),
    "no test images": (put("selftest", "n", value=0), "selftest.n"),
    "a path up": (files({"../x": HASH}), "plain names"),
    "an absolute path": (files({"/etc/passwd": HASH}), "plain names"),
    "a path of Windows": (files({"C:\\x": HASH}), "plain names"),
    "a device of Windows": (files({"nul": HASH}), "plain names"),
    "a name with an escape sequence": (files({"\x1b[2J": HASH}), "control characters"),
    "names that differ in capitals": (files({"a": HASH, "A": HASH}), "capitals"),
    "a hundred files": (files({f"f{n}": HASH for n in range(100)}), "at most 32"),
    "the manifest itself": (files({"manifest.json": HASH}), "plain names"),
    "no hash": (files({"a": "zzz"}), "files.a"),
    "a fallback that is a pickle": (put("fallback", "file", value="model.pkl"), "fallback.file"),
    "a fallback outside": (put("fallback", "file", value="../../model.onnx"), "fallback.file"),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", CHANGES)
def test_a_manifest_with_one_value_changed(
    command: str,
    name: str,
    spoiled: Path,
    home: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    change, word = CHANGES[name]
    document = json.loads((spoiled / "manifest.json").read_bytes())
    change(document)
    (spoiled / "manifest.json").write_text(json.dumps(document))
    done = command_line.run(capsys, monkeypatch, *words(command, spoiled, home))
    # A long name, or the name of a runtime that is not known, is no fault: a replacement is used.
    check(done, (0, 1, 3) if word == "" else (1, 3), word)


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def unix_socket(path: Path) -> None:
    path.unlink()
    here = Path.cwd()
    os.chdir(path.parent)  # the path of a socket has at most 107 characters
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(here)


def link(target: str) -> Callable[[Path], None]:
    def replace(path: Path) -> None:
        path.unlink()
        path.symlink_to(target)

    return replace


def sparse(path: Path) -> None:
    with open(path, "wb") as file:
        file.truncate(3 << 30)


PLACES: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "random": lambda path: path.write_bytes(bytes(range(256)) * 8),
    "a pipe": pipe,
    "a folder": folder,
    "a socket": unix_socket,
    "a link to zeros": link("/dev/zero"),
    "a link to nothing": link("nowhere"),
    "a link to itself": link("."),
    "3 GiB of holes": sparse,
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", ["manifest.json", "model.onnx", "selftest.npz"])
@pytest.mark.parametrize("place", PLACES)
def test_something_else_in_place_of_a_file(
    command: str,
    name: str,
    place: str,
    spoiled: Path,
    home: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    PLACES[place](spoiled / name)
    check(command_line.run(capsys, monkeypatch, *words(command, spoiled, home)), (1, 3), name)


EXTRAS = (
    "json.py",
    "\x1b[2Jevil",
    "a\u202eb",
    "r\udcf6ntgen",
    "line\nend",
    "x" * 200,
    ".hidden",
    "manifest.json.bak",
)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", EXTRAS)
def test_a_file_that_is_not_part_of_the_bundle(
    command: str,
    name: str,
    spoiled: Path,
    home: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (spoiled / name).write_text("")
    done = command_line.run(capsys, monkeypatch, *words(command, spoiled, home))
    check(done, of_verify(command, 1), "not part of the bundle")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_thousand_extra_files_are_a_few_lines(
    command: str,
    spoiled: Path,
    home: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for number in range(1000):
        (spoiled / f"f{number}").write_text("")
    done = command_line.run(capsys, monkeypatch, *words(command, spoiled, home))
    check(done, of_verify(command, 1), "more")
    assert len(done.err.splitlines()) <= 12


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", {**hostile_models.REFUSED, **hostile_models.NO_ANSWER})
def test_a_model_that_is_not_as_its_manifest_says(
    command: str,
    name: str,
    spoiled: Path,
    home: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    build, word = {**hostile_models.REFUSED, **hostile_models.NO_ANSWER}[name]
    hostile_models.spoil(spoiled, build())
    good = tiny_bundle.write(spoiled.parent / "02-good")
    others = [] if command == "predict" else [good]
    done = command_line.run(capsys, monkeypatch, *words(command, spoiled, home), *others)
    refused = name in hostile_models.REFUSED
    expected = {"verify": 3, "bench": 1, "predict": 1 if refused else 3}[command]
    check(done, expected, word)
    if others:
        assert "02-good" in done.out
    elif not refused:
        assert "no answer" in done.out


@pytest.mark.parametrize("command", COMMANDS)
def test_an_endless_model_is_one_line(
    command: str,
    spoiled: Path,
    home: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bundle_model, "BASE_S", 0.3)
    monkeypatch.setattr(bundle_model, "SLOWER", 0.0)
    build, word = hostile_models.SLOW["an endless loop"]
    hostile_models.spoil(spoiled, build())
    done = command_line.run(capsys, monkeypatch, *words(command, spoiled, home))
    check(done, {"verify": 3, "predict": 3, "bench": 1}[command], word)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", ["r\udcf6ntgen", "a\u202eb", "x" * 250, "-q", "a b", "ライン", "*?["])
def test_a_bundle_with_an_odd_name(
    command: str,
    name: str,
    spoiled: Path,
    home: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    odd = spoiled.rename(spoiled.with_name(name))
    check(command_line.run(capsys, monkeypatch, *words(command, odd, home)), (0, 1, 3))


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", ["\x1b[2J", "line\nend", "tab\tulator", "\x9b31m"])
def test_a_path_that_would_change_a_terminal_is_refused(
    command: str,
    name: str,
    spoiled: Path,
    home: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    odd = spoiled.rename(spoiled.with_name(name))
    check(command_line.run(capsys, monkeypatch, *words(command, odd, home)), 1, "Rename it")


def test_checksums_are_those_of_the_copy(spoiled: Path, home: Path) -> None:
    """The rows above spoil one thing each: without it the bundle is as it was."""
    assert sha256_file(spoiled / "model.onnx") == sha256_file(home / "01-tiny@16-fp32" / "model.onnx")
