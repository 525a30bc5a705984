"""Recipes, tables, bounds, images and options that somebody has spoiled."""

from __future__ import annotations

import io
import json
import os
import shutil
import struct
import zlib
from pathlib import Path

import pytest
import tiny_bundle
from command_line import Outcome
from hostile_check import HOLES, PLACES, Row, Run, Spoil, meet, try_row, write
from made_records import RECIPE
from PIL import Image

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


RECIPE_COMMANDS: dict[str, tuple[str, ...]] = {
    "check": ("recipes", "check"),
    "show": ("recipes", "show"),
    "copy": ("recipes", "copy", "--out", "copied.toml"),
}
RECIPES: dict[str, tuple[bytes, str]] = {
    "brackets 20,000 deep": (b"a = " + b"[" * 20_000, "nested too deeply"),
    "tables 20,000 deep": (b"a = " + b"{a=" * 20_000, ""),
    "a key of 30,000 parts": (b"a" + b".a" * 30_000 + b" = 1", "dots"),
    "a number of 4,000 digits": (RECIPE.encode() + b"[train]\nepochs = " + b"9" * 4000, "64 bits"),
    "a number of 60,000 digits": (b"a = " + b"9" * 60_000, ""),
    "2,000 unknown keys": (b"".join(b"k%d = 1\n" % n for n in range(2000)), "more"),
    "one key of 60,000 letters": (b"k" * 60_000 + b" = 1", "unknown key"),
    "a text of 60,000 letters": (b'name = "' + b"n" * 60_000 + b'"', ""),
    "control characters": (b'name = "\\u001b[2J"', "control characters"),
    "marks of direction": ('name = "a\u202eb"'.encode(), "control characters"),
    "a name that leads out": (RECIPE.replace('name = "made"', 'name = "../x"').encode(), "name"),
    "an architecture that leads out": (RECIPE.replace('"small"', '"../../x"').encode(), "architectures"),
    "no epochs": (RECIPE.encode() + b"[train]\nepochs = 0\n", "epochs"),
    "a rate that is NaN": (RECIPE.encode() + b"[train]\nlearning_rate = nan\n", "learning_rate"),
    "an infinite budget": (RECIPE.encode() + b"[budgets]\nlatency_p90_ms = inf\n", "latency_p90_ms"),
    "negative threads": (RECIPE.replace("[candidates]", "threads = -1\n[candidates]").encode(), "threads"),
    "larger than a recipe": (b"# " + b"x" * 70_000, "larger than"),
    "a table in place of a text": (b"name = {}", "name"),
    "/etc/passwd": (b"root:x:0:0:root:/root:/bin/bash\n", "TOML"),
}


def recipe_rows() -> dict[str, Row]:
    made: dict[str, Row] = {}
    for command, words in RECIPE_COMMANDS.items():
        for name, (content, word) in RECIPES.items():
            made[f"{command}: {name}"] = Row((*words, "made.toml"), 1, word, "made.toml", write(content))
        for name, place in PLACES.items():
            row = Row((*words, "here/made.toml"), 1, "made.toml", "here/made.toml", place)
            made[f"{command}: in its place, {name}"] = row
    return made


GOOD_TABLE = b"model,accuracy,energy\na,0.9,1\nb,0.8,2\n"
TABLES: dict[str, tuple[bytes, str]] = {
    "a header alone": (b"model,accuracy,energy\n", "no rows"),
    "a column twice": (b"model,accuracy,accuracy,energy\na,1,1,1\n", "several columns"),
    "no such column": (b"model,acc,energy\na,1,1\n", "accuracy"),
    "a row too short": (b"model,accuracy,energy\na,0.9\n", "cells"),
    "a quotation mark left open": (b'model,accuracy,energy\n"a,0.9,1\n', ""),
    "a word for a number": (GOOD_TABLE.replace(b"0.9", b"good"), "a number in [0, 1]"),
    "percent": (GOOD_TABLE.replace(b"0.9", b"90"), "percent"),
    "a negative resource": (GOOD_TABLE.replace(b",2\n", b",-2\n"), "a number >= 0"),
    "a number of 10,000 digits": (GOOD_TABLE.replace(b"0.9", b"9" * 10_000), ""),
    "a cell of 200,000 characters": (GOOD_TABLE + b"c" * 200_000 + b",0.9,1\n", ""),
    "a column of 100,000 characters": (b"m" * 100_000 + GOOD_TABLE, ""),
    "an escape sequence in a name": (GOOD_TABLE.replace(b"a,0.9", b"\x1b[2J,0.9"), ""),
    "a mark of direction in a name": (GOOD_TABLE.replace(b"a,0.9", "\u202e,0.9".encode()), ""),
    "a line without end": (b"model,accuracy,energy\n" + b"x" * 14_000_000, ""),
    "20,000 columns": (b",".join(b"c%d" % n for n in range(20_000)) + b"\n", ""),
}
TABLE_COMMANDS: dict[str, tuple[str, ...]] = {
    "score": ("score", "table.csv", "--performance", "accuracy", "--resource", "E=energy"),
    "replay": ("search", "replay", "table.csv"),
    "compare": ("compare", "table.csv:a", "table.csv:b"),
}


def table_rows() -> dict[str, Row]:
    made: dict[str, Row] = {}
    for command, words in TABLE_COMMANDS.items():
        is_score = command == "score"
        for name, (content, word) in TABLES.items():
            status = (0, 1) if is_score and not word else 1
            row = Row(words, status, word if is_score else "", "table.csv", write(content))
            made[f"{command}: {name}"] = row
        for name, place in PLACES.items():
            if name != HOLES or command == "compare":  # the others read a table of any size as a stream
                row = Row(words, 1, "table.csv", "table.csv", place)
                made[f"{command}: in its place, {name}"] = row
    return made


BOUNDS: dict[str, tuple[bytes, str]] = {
    "deep": (b"[" * 100_000, "nested"),
    "a list": (b"[]", "bounds"),
    "NaN": (b'{"E": [NaN, 1]}', "NaN"),
    "too large": (b'{"E": [0, 1e999]}', "too large"),
    "400 digits": (b'{"E": [0, ' + b"9" * 400 + b"]}", "64 bits"),
    "upside down": (b'{"E": [2, 1]}', "lo"),
    "negative": (b'{"E": [-1, 1]}', "lo"),
    "a text": (b'{"E": "x"}', "E"),
    "a key twice": (b'{"E": [0, 1], "E": [0, 2]}', "twice"),
    "a megabyte": (json.dumps({"E" * 1_000_000: 1}).encode(), ""),
}
BOUNDS_WORDS = (*TABLE_COMMANDS["score"], "--normalise", "reference", "--reference", "bounds.json")
ROWS = {
    **{f"recipe, {name}": row for name, row in recipe_rows().items()},
    **{f"table, {name}": row for name, row in table_rows().items()},
    **{
        f"bounds, {name}": Row(BOUNDS_WORDS, 1, word, "bounds.json", write(content, "table.csv", GOOD_TABLE))
        for name, (content, word) in BOUNDS.items()
    },
}


@pytest.mark.parametrize("name", ROWS)
def test_a_spoiled_file(name: str, here: Path, run: Run) -> None:
    try_row(ROWS[name], here, run)
    assert not (here / "copied.toml").exists()


def png(width: int = 8, height: int = 8, *, rest: bytes = b"") -> bytes:
    """Return a grey PNG that claims a size, whatever pixels it has."""
    out = io.BytesIO()
    Image.new("L", (8, 8), 7).save(out, "PNG")
    content = bytearray(out.getvalue())
    content[16:24] = struct.pack(">II", width, height)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    return bytes(content) + rest


IMAGES: dict[str, Spoil] = {
    **PLACES,
    "a PNG of 4 billion pixels": write(png(65_535, 65_535)),
    "a PNG of no width": write(png(0, 8)),
    "a PNG cut in two": write(png()[:40]),
    "a PNG without its head": write(png()[8:]),
    "text": write(b"no image"),
    "a web page": write(b"<html><body>x</body></html>"),
    "an SVG": write(b'<svg xmlns="http://www.w3.org/2000/svg"><script>1</script></svg>'),
    "a PDF": write(b"%PDF-1.7\n%\xff\n"),
    "PostScript": write(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n"),
    "an archive": write(b"PK\x03\x04" + bytes(100)),
    "a pickle": write(b"\x80\x04\x95\x00"),
    "a TIFF of nothing": write(b"II*\0\xff\xff\xff\xff"),
    "a DICOM head alone": write(bytes(128) + b"DICM"),
    "a GIF of no size": write(b"GIF89a\0\0\0\0\0\0\0;"),
    "a BMP that claims much": write(
        b"BM"
        + struct.pack("<IHHI", 54, 0, 0, 54)
        + struct.pack("<IiiHHI", 40, 1 << 30, 1 << 30, 1, 24, 0)
        + bytes(20)
    ),
    "a JPEG head alone": write(b"\xff\xd8\xff\xe0" + bytes(10)),
}
ODD_NAMES = ("r\udcf6ntgen", "a\u202eb", "x" * 200, "-q", "a b", "*?[")
BUNDLE = "{here}/01-tiny@16-fp32"


@pytest.fixture
def with_bundle(home: Path, tmp_path: Path, one_process: None) -> Path:
    """A folder with a bundle and an image."""
    return Path(shutil.copytree(home, tmp_path / "here"))


@pytest.mark.parametrize("options", [(), ("--json",)])
@pytest.mark.parametrize("name", IMAGES)
def test_an_image_that_is_none_leaves_the_others_their_turn(
    name: str, options: tuple[str, ...], with_bundle: Path, run: Run
) -> None:
    def is_one_line_and_one_label(done: Outcome) -> None:
        assert done.err.count("\n") == 1
        if options:
            labels = [row["label"] in tiny_bundle.LABELS for row in json.loads(done.out)["predictions"]]
            assert labels == [True]
        else:
            assert "good.png" in done.out

    words = ("predict", BUNDLE, "{here}/bad.png", "{here}/good.png", *options)
    row = Row(words, 1, "bad.png", "bad.png", IMAGES[name], is_one_line_and_one_label)
    try_row(row, with_bundle, run)


@pytest.mark.parametrize("name", ODD_NAMES)
def test_an_image_with_an_odd_name_is_classified(name: str, with_bundle: Path, run: Run) -> None:
    words = ("predict", BUNDLE, f"{{here}}/{name}.png")
    try_row(Row(words, 0, "label", f"{name}.png", tiny_bundle.image), with_bundle, run)


OPTIONS: dict[str, Row] = {
    "a pace that is NaN": Row(("bench", "--paced", "nan", "b"), 2, "finite"),
    "an infinite pace": Row(("bench", "--paced", "inf", "b"), 2, "range"),
    "no pace": Row(("bench", "--paced", "0", "b"), 2, "range"),
    "watts that are NaN": Row(("bench", "--watts-per-core", "nan", "b"), 2, "finite"),
    "infinite watts": Row(("bench", "--watts-per-core", "inf", "b"), 2, "range"),
    "100,000 threads": Row(("bench", "--threads", "100000", "b"), 2, "range"),
    "no threads": Row(("bench", "--threads", "0", "b"), 2, "range"),
    "a number of 5,000 digits": Row(("bench", "--threads", "9" * 5000, "b"), 2, ""),
    "a runtime of nobody": Row(("bench", "--runtime", "x" * 5000, "b"), 2, ""),
    "an empty bundle": Row(("verify", ""), 1, "empty"),
    "an empty image": Row(("predict", "b", ""), 1, "empty"),
    "an empty --out": Row(("kit", "r", "--platform", "linux-x86_64", "--out", ""), 1, "empty"),
    "an empty run": Row(("rank", ""), 1, "empty"),
    "a lifetime that is NaN": Row(("rank", "r", "--lifetime", "nan"), 2, "finite"),
    "an alpha that is NaN": Row(("score", "t", "--performance", "a", "--alpha", "nan"), 2, "finite"),
    "a floor that is infinite": Row(("score", "t", "--performance", "a", "--floor", "inf"), 2, "finite"),
    "a bundle of a megabyte": Row(("verify", "x" * 100_000), 1, ""),
    "a recipe of 100,000 letters": Row(("recipes", "show", "x" * 100_000), 1, ""),
    "a recipe far away": Row(("recipes", "show", "../../../etc/passwd"), 1, ""),
    "zeros for a recipe": Row(("recipes", "show", "/dev/zero"), 1, ""),
    "weights that are none": Row(("rank", "r", "--weights", "latency"), 1, ""),
    "a command of nobody": Row(("x" * 5000,), 2, ""),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_that_cannot_be(name: str, here: Path, run: Run) -> None:
    row = OPTIONS[name]
    done = meet(row, here, run)  # click repeats a value of any length
    assert "Traceback" not in done.out + done.err
    assert done.status == row.status, done.err[:500]
    assert row.word in done.err
    assert list(here.iterdir()) == []
