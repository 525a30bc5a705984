"""Bundles that somebody has spoiled: one row for each command and each fault."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import hostile_models
import onnx
import pytest
import tiny_bundle
from command_line import Outcome
from hostile_check import PLACES, Row, Run, Spoil, try_row, write

from pepr_edge.measure import bundle_model
from pepr_edge.run_dir.store import sha256_file

Change = Callable[[dict[str, Any]], object]
BUNDLE = "01-tiny@16-fp32"
MANIFEST = f"{BUNDLE}/manifest.json"
# Each command, and what it needs after the bundle.
COMMANDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "verify": (("verify",), ()),
    "predict": (("predict",), ("{here}/good.png",)),
    "bench": (("bench", "--quick", "--no-extras"), ()),
}
Statuses = Mapping[str, int | tuple[int, ...]]
# To `verify`, a bundle that does not pass is a failed check.
REFUSED: Statuses = {"verify": 3, "predict": 1, "bench": 1}
NO_ANSWER: Statuses = {"verify": 3, "predict": 3, "bench": 1}
FAILED: Statuses = dict.fromkeys(COMMANDS, (1, 3))
ANY: Statuses = dict.fromkeys(COMMANDS, (0, 1, 3))

pytestmark = [
    pytest.mark.usefixtures("one_process"),
    pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here"),
]


@pytest.fixture
def here(home: Path, tmp_path: Path) -> Path:
    """A folder with a copy of the bundle, to be spoiled, and an image."""
    return Path(shutil.copytree(home, tmp_path / "here"))


def rows(
    name: str,
    spoil: Spoil,
    statuses: Statuses,
    word: str = "",
    target: str = BUNDLE,
    bundle: str = BUNDLE,
    also: Callable[[Outcome], object] | None = None,
) -> dict[str, Row]:
    """Return the rows of one fault: one for each command."""
    made: dict[str, Row] = {}
    for command, (before, after) in COMMANDS.items():
        words = (*before, f"{{here}}/{bundle}", *after)
        made[f"{command}: {name}"] = Row(words, statuses[command], word, target, spoil, also)
    return made


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


def changed(change: Change) -> Spoil:
    """Return what changes a manifest."""

    def spoil(path: Path) -> None:
        document = json.loads(path.read_bytes())
        change(document)
        path.write_text(json.dumps(document))

    return spoil


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
ODD_NAMES = ("r\udcf6ntgen", "a\u202eb", "x" * 250, "-q", "a b", "ライン", "*?[")
TERMINAL_NAMES = ("\x1b[2J", "line\nend", "tab\tulator", "\x9b31m")


def add_thousand(bundle: Path) -> None:
    for number in range(1000):
        (bundle / f"f{number}").write_text("")


def is_brief(done: Outcome) -> None:
    assert len(done.err.splitlines()) <= 12


def renamed(name: str) -> Spoil:
    return lambda bundle: bundle.rename(bundle.with_name(name))


def file_rows() -> dict[str, Row]:
    """Return rows of files of a bundle that are not as they were."""
    made: dict[str, Row] = {}
    for name, (text, word) in TEXTS.items():
        made |= rows(f"manifest, {name}", write(text), REFUSED, word, MANIFEST)
    for name, (change, word) in CHANGES.items():
        # A long name, or the name of a runtime that is not known, is no fault: a replacement is used.
        made |= rows(f"value, {name}", changed(change), FAILED if word else ANY, word, MANIFEST)
    for file in ("manifest.json", "model.onnx", "selftest.npz"):
        for name, place in PLACES.items():
            made |= rows(f"{file}, {name}", place, FAILED, file, f"{BUNDLE}/{file}")
    for name in EXTRAS:
        made |= rows(f"extra, {name!a}", write(b""), REFUSED, "not part of the bundle", f"{BUNDLE}/{name}")
    made |= rows("a thousand extra files", add_thousand, REFUSED, "more", also=is_brief)
    for name in ODD_NAMES:
        made |= rows(f"name, {name!a}", renamed(name), ANY, bundle=name)
    for name in TERMINAL_NAMES:
        made |= rows(f"name, {name!a}", renamed(name), dict.fromkeys(COMMANDS, 1), "Rename it", bundle=name)
    return made


FILES = file_rows()


@pytest.mark.parametrize("name", FILES)
def test_a_bundle_with_a_spoiled_file(name: str, here: Path, run: Run) -> None:
    try_row(FILES[name], here, run)


def with_model(build: Callable[[], onnx.ModelProto]) -> Spoil:
    return lambda bundle: hostile_models.spoil(bundle, build())


def model_rows(models: Mapping[str, hostile_models.Named], statuses: Statuses) -> dict[str, Row]:
    """Return rows of models that are not as their manifest says."""
    made: dict[str, Row] = {}
    for name, (build, word) in models.items():
        made |= rows(name, with_model(build), statuses, word)
    return made


REFUSED_MODELS = model_rows(hostile_models.REFUSED, REFUSED)
NO_ANSWER_MODELS = model_rows(hostile_models.NO_ANSWER, NO_ANSWER)
MODELS = REFUSED_MODELS | NO_ANSWER_MODELS
ENDLESS_MODELS = model_rows(hostile_models.SLOW, NO_ANSWER)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_that_is_not_as_its_manifest_says(name: str, here: Path, run: Run) -> None:
    row = MODELS[name]
    is_single = row.words[0] == "predict"
    if is_single:
        also = "no answer" if name in NO_ANSWER_MODELS else ""
    else:
        tiny_bundle.write(here / "02-good")
        row = row._replace(words=(*row.words, "{here}/02-good"))
        also = "02-good"

    def says_the_rest(done: Outcome) -> None:
        assert also in done.out

    try_row(row._replace(also=says_the_rest), here, run)


@pytest.mark.parametrize("name", ENDLESS_MODELS)
def test_an_endless_model_is_one_line(
    name: str, here: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle_model, "BASE_S", 0.3)
    monkeypatch.setattr(bundle_model, "SLOWER", 0.0)
    try_row(ENDLESS_MODELS[name], here, run)


def test_checksums_are_those_of_the_copy(here: Path, home: Path) -> None:
    """The rows above spoil one thing each: without it the bundle is as it was."""
    assert sha256_file(here / BUNDLE / "model.onnx") == sha256_file(home / BUNDLE / "model.onnx")
