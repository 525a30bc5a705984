"""Spoiled bundles, and places that are no place to write to, that `dossier` meets."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import dossier_manifests
import pytest
from hostile_check import PLACES, Row, Run, Spoil, in_place, meet, try_row, write
from test_hostile_bundles import BUNDLE, CHANGES, EXTRAS, MANIFEST, TEXTS, changed

from pepr_edge.bundle.read import read_manifest
from pepr_edge.run_dir.store import write_record

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
WORDS = ("dossier", f"{{here}}/{BUNDLE}", "--out", "{here}/out")
AGAINST = ("dossier", "{here}/good", "--against", f"{{here}}/{BUNDLE}", "--out", "{here}/out")
# Faults that only running the model meets.
NOT_MET = (
    "memory that no machine has",
    "a million threads",
    "a name of a megabyte",
    "a runtime of a megabyte",
)


def rows() -> dict[str, Row]:
    made: dict[str, Row] = {}
    for name, (text, word) in TEXTS.items():
        made[f"manifest, {name}"] = Row(WORDS, 1, word, MANIFEST, write(text))
        made[f"older manifest, {name}"] = Row(AGAINST, 1, word, MANIFEST, write(text))
    for name, (change, word) in CHANGES.items():
        status = (0, 1) if name in NOT_MET else 1
        made[f"value, {name}"] = Row(
            WORDS, status, "" if name in NOT_MET else word, MANIFEST, changed(change)
        )
    for file in ("manifest.json", "model.onnx", "selftest.npz"):
        for name, place in PLACES.items():
            made[f"{file}, {name}"] = Row(WORDS, 1, file, f"{BUNDLE}/{file}", place)
    for name in EXTRAS:
        made[f"extra, {name!a}"] = Row(WORDS, 1, "not part of the bundle", f"{BUNDLE}/{name}", write(b""))
    return made


ROWS = rows()


@pytest.fixture
def here(home: Path, tmp_path: Path) -> Path:
    folder = Path(shutil.copytree(home, tmp_path / "here"))
    shutil.copytree(folder / BUNDLE, folder / "good")
    return folder


@pytest.mark.parametrize("name", ROWS)
def test_a_spoiled_bundle(name: str, here: Path, run: Run) -> None:
    row = ROWS[name]
    try_row(row, here, run)
    if row.status == 1:
        assert not (here / "out").exists()


def test_texts_of_a_manifest_harm_nobody(here: Path, run: Run) -> None:
    manifest = dossier_manifests.nasty(read_manifest(here / BUNDLE))
    write_record(here / MANIFEST, manifest)
    try_row(Row(WORDS, 0), here, run)
    for path in filter(Path.is_file, (here / "out").iterdir()):
        text = path.read_text(encoding="utf-8")
        assert len(text) < 200_000
        assert path.suffix != ".html" or "<script" not in text


OUTPUTS: dict[str, tuple[str, Spoil]] = {
    "a file": ("label.html", write(b"mine")),
    "a folder": ("label.html", in_place(Path.mkdir)),
    "a link": ("ml-bom.cdx.json", in_place(lambda path: path.symlink_to("../good.png"))),
    "a pipe": ("tripod_ai.csv", in_place(lambda path: os.mkfifo(path))),
    "a record that is none": (".pepr_edge", write(b"mine")),
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_what_is_not_ours_stays(name: str, here: Path, run: Run) -> None:
    file, spoil = OUTPUTS[name]
    image = (here / "good.png").read_bytes()
    row = Row(WORDS, 1, "Move it away", f"out/{file}", spoil)
    try_row(row, here, run)
    assert [path.name for path in (here / "out").iterdir()] == [file]
    if name != "a file":
        forced = row._replace(words=(*WORDS, "--force"), spoil=lambda path: None)
        assert meet(forced, here, run).status in (0, 1)
        assert (here / "good.png").read_bytes() == image
