"""Recipes, tables, bounds, field reports, images and options that somebody has spoiled."""

from __future__ import annotations

import io
import json
import os
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import command_line
import made_records
import numpy as np
import pytest
import tiny_bundle
from hostile_check import check
from made_records import RECIPE
from PIL import Image

from pepr_edge.field.report_checksum import with_checksum
from pepr_edge.recipe.variants import load as load_variant
from pepr_edge.records import FieldReport
from pepr_edge.run_dir.keys import STAGE_REVISIONS, export_key, profile_key, train_key
from pepr_edge.run_dir.layout import candidate_folder
from pepr_edge.run_dir.store import write_record, write_text

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")


def write(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def sparse(path: Path) -> None:
    with open(path, "wb") as file:
        file.truncate(3 << 30)


# What may lie where a file is expected.
PLACES: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: None,
    "empty": write(b""),
    "random": write(bytes(range(256)) * 8),
    "a pipe": os.mkfifo,
    "a folder": Path.mkdir,
    "a link to zeros": lambda path: path.symlink_to("/dev/zero"),
    "a link to nothing": lambda path: path.symlink_to("nowhere"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "3 GiB of holes": sparse,
    "not UTF-8": write(b'name = "\xff"\n'),
    "UTF-16": write("name,value\n".encode("utf-16")),
    "NUL bytes": write(b"\0" * 100),
}

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


@pytest.mark.parametrize("command", RECIPE_COMMANDS)
@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_that_is_none(
    command: str,
    name: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    content, word = RECIPES[name]
    Path("made.toml").write_bytes(content)
    check(command_line.run(capsys, monkeypatch, *RECIPE_COMMANDS[command], "made.toml"), 1, word)
    assert not Path("copied.toml").exists()


@pytest.mark.parametrize("command", RECIPE_COMMANDS)
@pytest.mark.parametrize("place", PLACES)
def test_something_else_in_place_of_a_recipe(
    command: str,
    place: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    PLACES[place](tmp_path / "here" / "made.toml")
    check(command_line.run(capsys, monkeypatch, *RECIPE_COMMANDS[command], "here/made.toml"), 1, "made.toml")


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


@pytest.mark.parametrize("command", TABLE_COMMANDS)
@pytest.mark.parametrize("name", TABLES)
def test_a_table_that_is_none(
    command: str,
    name: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    content, word = TABLES[name]
    Path("table.csv").write_bytes(content)
    done = command_line.run(capsys, monkeypatch, *TABLE_COMMANDS[command])
    check(done, (0, 1) if command == "score" and not word else 1, word if command == "score" else "")


@pytest.mark.parametrize("command", TABLE_COMMANDS)
@pytest.mark.parametrize("place", PLACES)
def test_something_else_in_place_of_a_table(
    command: str,
    place: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if place == "3 GiB of holes" and command != "compare":
        pytest.skip("a table of any size is read as a stream")
    monkeypatch.chdir(tmp_path)
    PLACES[place](Path("table.csv"))
    check(command_line.run(capsys, monkeypatch, *TABLE_COMMANDS[command]), 1, "table.csv")


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


@pytest.mark.parametrize("name", BOUNDS)
def test_bounds_that_are_none(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("table.csv").write_bytes(GOOD_TABLE)
    content, word = BOUNDS[name]
    Path("bounds.json").write_bytes(content)
    words = (*TABLE_COMMANDS["score"], "--normalise", "reference", "--reference", "bounds.json")
    check(command_line.run(capsys, monkeypatch, *words), 1, word)


def png(width: int = 8, height: int = 8, *, rest: bytes = b"") -> bytes:
    """Return a grey PNG that claims a size, whatever pixels it has."""
    out = io.BytesIO()
    Image.new("L", (8, 8), 7).save(out, "PNG")
    content = bytearray(out.getvalue())
    content[16:24] = struct.pack(">II", width, height)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    return bytes(content) + rest


IMAGES: dict[str, Callable[[Path], object]] = {
    **{name: place for name, place in PLACES.items() if name != "missing"},
    "missing": lambda path: None,
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


@pytest.mark.usefixtures("one_process")
@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("name", IMAGES)
def test_an_image_that_is_none_leaves_the_others_their_turn(
    name: str,
    as_json: bool,
    home: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    IMAGES[name](tmp_path / "bad.png")
    words = ["predict", home / "01-tiny@16-fp32", tmp_path / "bad.png", home / "good.png"]
    done = command_line.run(capsys, monkeypatch, *words, *(["--json"] if as_json else []))
    check(done, 1, "bad.png")
    assert done.err.count("\n") == 1
    if as_json:
        assert [row["label"] in tiny_bundle.LABELS for row in json.loads(done.out)["predictions"]] == [True]
    else:
        assert "good.png" in done.out


@pytest.mark.usefixtures("one_process")
@pytest.mark.parametrize(
    "name", ["r\udcf6ntgen.png", "a\u202eb.png", "x" * 200 + ".png", "-q.png", "a b.png", "*?[.png"]
)
def test_an_image_with_an_odd_name_is_classified(
    name: str, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_bundle.image(tmp_path / name)
    done = command_line.run(capsys, monkeypatch, "predict", home / "01-tiny@16-fp32", tmp_path / name)
    check(done, 0, "label")


OPTIONS: dict[str, tuple[tuple[str, ...], int, str]] = {
    "a pace that is NaN": (("bench", "--paced", "nan", "b"), 2, "finite"),
    "an infinite pace": (("bench", "--paced", "inf", "b"), 2, "range"),
    "no pace": (("bench", "--paced", "0", "b"), 2, "range"),
    "watts that are NaN": (("bench", "--watts-per-core", "nan", "b"), 2, "finite"),
    "infinite watts": (("bench", "--watts-per-core", "inf", "b"), 2, "range"),
    "100,000 threads": (("bench", "--threads", "100000", "b"), 2, "range"),
    "no threads": (("bench", "--threads", "0", "b"), 2, "range"),
    "a number of 5,000 digits": (("bench", "--threads", "9" * 5000, "b"), 2, ""),
    "a runtime of nobody": (("bench", "--runtime", "x" * 5000, "b"), 2, ""),
    "an empty bundle": (("verify", ""), 1, "empty"),
    "an empty image": (("predict", "b", ""), 1, "empty"),
    "an empty --out": (("kit", "r", "--platform", "linux-x86_64", "--out", ""), 1, "empty"),
    "an empty run": (("rank", ""), 1, "empty"),
    "a lifetime that is NaN": (("rank", "r", "--lifetime", "nan"), 2, "finite"),
    "an alpha that is NaN": (("score", "t", "--performance", "a", "--alpha", "nan"), 2, "finite"),
    "a floor that is infinite": (("score", "t", "--performance", "a", "--floor", "inf"), 2, "finite"),
    "a bundle of a megabyte": (("verify", "x" * 100_000), 1, ""),
    "a recipe of 100,000 letters": (("recipes", "show", "x" * 100_000), 1, ""),
    "a recipe far away": (("recipes", "show", "../../../etc/passwd"), 1, ""),
    "zeros for a recipe": (("recipes", "show", "/dev/zero"), 1, ""),
    "weights that are none": (("rank", "r", "--weights", "latency"), 1, ""),
    "a command of nobody": (("x" * 5000,), 2, ""),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_that_cannot_be(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words, status, word = OPTIONS[name]
    done = command_line.run(capsys, monkeypatch, *words)
    assert "Traceback" not in done.out + done.err
    assert done.status == status, done.err[:500]
    assert word in done.err
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def made_run(whole_run: Path, tmp_path: Path) -> Path:
    """A copy of the run directory, to be spoiled."""
    return Path(shutil.copytree(whole_run, tmp_path / "run"))


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory of one candidate that went through all stages."""
    run = tmp_path_factory.mktemp("whole") / "run"
    info, recipe = made_records.info("small"), made_records.recipe()
    recipe_text = RECIPE.replace('["small", "middle", "large"]', '["small"]')
    write_record(run / "run.json", info.replace(revisions=dict(STAGE_REVISIONS)))
    write_text(run / "recipe.toml", recipe_text)
    folder = candidate_folder(run, info.candidates[0])
    trained = made_records.trained("small", key=train_key(info.candidates[0], recipe, info.data))
    model = "onnx small"
    artifact = made_records.artifact("small", key=export_key(trained, load_variant("fp32"), recipe))
    artifact = artifact.replace(size_bytes=len(model))
    write_record(folder / "train.json", trained)
    write_record(folder / "fp32" / "export.json", artifact)
    profile = made_records.profile("small", key=profile_key(artifact, recipe, rules="full"))
    write_record(folder / "fp32" / "profile.json", profile)
    write_text(folder / trained.checkpoint, "checkpoint small")
    write_text(folder / "fp32" / "model.onnx", model)
    labels = np.arange(made_records.N_VAL) % 2
    logits = np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float32)[labels]
    arrays: dict[str, Any] = {"val": logits, "val_labels": labels, "test": logits, "test_labels": labels}
    np.savez(folder / "fp32" / "predictions.npz", **arrays)
    np.savez(folder / "logits.npz", **arrays)
    return run


def report(change: Callable[[dict[str, Any]], object]) -> bytes:
    """Return a field report with a change, and the checksum of the changed report."""
    made = made_records.field_report(made_records.bench("small"))
    document = json.loads(made.model_dump_json())
    change(document)
    try:
        return with_checksum(FieldReport.model_validate(document)).model_dump_json().encode()
    except ValueError:
        return json.dumps(document).encode()


def result(**values: Any) -> Callable[[dict[str, Any]], object]:
    return lambda document: document["results"][0].update(values)


def device(**values: Any) -> Callable[[dict[str, Any]], object]:
    return lambda document: document["device"].update(values)


REPORTS: dict[str, tuple[bytes, str]] = {
    "a list": (b"[]", "not a report"),
    "deep": (b"[" * 100_000, "nested"),
    "100,000 keys, one twice": (
        b"{" + b",".join(b'"k%d":1' % n for n in range(100_000)) + b',"k7":1}',
        "twice",
    ),
    "another version": (b'{"schema_version": 9}', "schema_version"),
    "400 digits": (b'{"a": ' + b"9" * 400 + b"}", "64 bits"),
    "negative memory": (report(result(peak_memory_bytes=-1)), "peak_memory_bytes"),
    "negative energy": (report(result(energy_j_per_inference=-1.0)), "energy_j_per_inference"),
    "latencies beyond all limits": (report(result(latencies_s=[1e308] * 128)), "latencies_s"),
    "latencies near 0": (report(result(latencies_s=[5e-324] * 128)), "below"),
    "latencies of nobody": (report(result(latencies_s=[])), ""),
    "percentiles of others": (
        report(result(percentiles_s={"p50": 1, "p90": 1, "p95": 1, "p99": 1})),
        "percentiles_s",
    ),
    "no cores": (report(device(cores=0)), "cores"),
    "a processor with an escape sequence": (report(device(cpu="\x1b[2J")), "control characters"),
    "a processor with a mark of direction": (report(device(cpu="a\u202eb")), "control characters"),
    "of another run": (report(result(artifact_sha256="0" * 64)), "another run"),
    "partial": (report(lambda document: document.update(partial=True)), "partial"),
}


@pytest.mark.parametrize("name", REPORTS)
def test_a_field_report_that_is_none(
    name: str,
    made_run: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content, word = REPORTS[name]
    path = made_run.parent / "r.json"
    path.write_bytes(content)
    check(command_line.run(capsys, monkeypatch, "rank", made_run, "--field", path), 1, word)


@pytest.mark.parametrize("place", PLACES)
def test_something_else_in_place_of_a_field_report(
    place: str, made_run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = made_run.parent / "r.json"
    PLACES[place](path)
    check(command_line.run(capsys, monkeypatch, "rank", made_run, "--field", path), 1, "r.json")


@pytest.mark.parametrize(
    "name",
    [
        "run.json",
        "recipe.toml",
        "candidates/small@64/train.json",
        "candidates/small@64/logits.npz",
        "candidates/small@64/fp32/export.json",
        "candidates/small@64/fp32/profile.json",
        "candidates/small@64/fp32/predictions.npz",
        "candidates/small@64/fp32/model.onnx",
    ],
)
@pytest.mark.parametrize("place", PLACES)
def test_a_run_directory_with_one_damaged_file(
    name: str, place: str, made_run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (made_run / name).unlink()
    PLACES[place](made_run / name)
    check(command_line.run(capsys, monkeypatch, "rank", made_run), (0, 1))
