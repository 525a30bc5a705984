"""What somebody has spoiled on the way of `evaluate`: a site's images and table, the bundle, the report."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import hostile_models
import numpy as np
import onnx
import pytest
import tiny_bundle
from hostile_check import HOLES, PLACES, Row, Run, Spoil, try_row, write

from pepr_edge.field import evaluate
from pepr_edge.measure.inference_process import InferenceProcess

BUNDLE = "01-tiny@16-fp32"
TABLE = "site/site.csv"
IMAGES = 12
HEADER = b"path,label\n"

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")


@pytest.fixture
def here(
    home: Path, tmp_path: Path, shared_process: InferenceProcess, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A folder with a bundle and a site's images, to be spoiled."""
    monkeypatch.setattr(evaluate, "InferenceProcess", lambda: shared_process)
    folder = Path(shutil.copytree(home, tmp_path / "here"))
    for number in range(IMAGES):
        path = folder / "site" / tiny_bundle.LABELS[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        tiny_bundle.image(path, number)
    (folder / TABLE).write_bytes(HEADER + lines())
    return folder


def lines() -> bytes:
    rows = [f"{label}/{number}.png,{label}\n" for number in range(IMAGES) for label in [label_of(number)]]
    return "".join(rows).encode()


def label_of(number: int) -> str:
    return tiny_bundle.LABELS[number % 2]


def on_table(spoil: Spoil, status: int | tuple[int, ...], word: str = "") -> Row:
    return Row(("evaluate", f"{{here}}/{BUNDLE}", f"{{here}}/{TABLE}"), status, word, TABLE, spoil)


def on_folder(spoil: Spoil, status: int | tuple[int, ...], word: str = "", target: str = "site") -> Row:
    return Row(("evaluate", f"{{here}}/{BUNDLE}", "{here}/site"), status, word, target, spoil)


def on_model(spoil: Spoil, status: int | tuple[int, ...], word: str = "") -> Row:
    return Row(
        ("evaluate", f"{{here}}/{BUNDLE}", f"{{here}}/{TABLE}"), status, word, f"{BUNDLE}/model.onnx", spoil
    )


def model(made: onnx.ModelProto) -> Spoil:
    """Return what replaces the model by another, with correct checksums."""
    return lambda path: hostile_models.spoil(path.parent, made)


def linked(path: Path) -> None:
    (path / "pneumonia" / "link").symlink_to(path)


ROWS: dict[str, Row] = {
    **{f"the table is {name}": on_table(spoil, 1) for name, spoil in PLACES.items() if name != HOLES},
    "an empty table": on_table(write(b""), 1, "no column"),
    "a table of a line": on_table(write(HEADER), 1, "no images"),
    "NUL bytes": on_table(write(b"\0" * 100), 1, "NUL"),
    "not UTF-8": on_table(write(HEADER + b"\xff,normal\n"), 1, "UTF-8"),
    "a path out of the folder": on_table(write(HEADER + b"../good.png,normal\n"), 1, "inside the folder"),
    "an absolute path": on_table(write(HEADER + b"/etc/passwd,normal\n"), 1, "inside the folder"),
    "a path with a line end": on_table(write(HEADER + b'"a\nb.png",normal\n'), 1, "no such file"),
    "a class that changes a terminal": on_table(
        write(HEADER + b"normal/0.png,\x1b[2Jnormal\n"), 1, "expected one of"
    ),
    "a formula as a class": on_table(write(HEADER + b"normal/0.png,=1+1\n"), 1, "expected one of"),
    "100,000 columns": on_table(write(b"path,label" + b",a" * 100_000 + b"\n"), 1, "duplicate column"),
    "too few values": on_table(write(HEADER + b"normal/0.png\n"), 1, "values"),
    "an unclosed quote": on_table(write(HEADER + b'"normal/0.png,normal\n'), 1, "CSV"),
    "an image twice": on_table(write(HEADER + lines() + b"normal/0.png,normal\n"), 1, "each image once"),
    "few images": on_table(write(HEADER + b"normal/0.png,normal\n"), 1, "at least 5"),
    "an image that is none": on_folder(write(b"text"), 1, "0.png", "site/normal/0.png"),
    "an image that is a pipe": on_folder(PLACES["a pipe"], (0, 1), target="site/normal/0.png"),
    "a link that leads back": on_folder(linked, 1, "link"),
    "a class that the model does not know": on_folder(
        lambda path: path.rename(path.with_name("\u202eother")), 1, "expected one of", "site/normal"
    ),
    "NaN for every image": on_model(model(hostile_models.always(np.nan)), 1, "at least 5"),
}


@pytest.mark.parametrize("name", ROWS)
def test_each_ends_in_a_line(name: str, here: Path, run: Run) -> None:
    try_row(ROWS[name], here, run)
