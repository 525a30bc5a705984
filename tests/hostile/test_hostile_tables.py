"""Tables with absurd names, labels and numbers, for each command that reads one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny_bundle
from hostile_check import Row, Run, Spoil, try_row, write
from test_hostile_data import archive

from pepr_edge.field import evaluate
from pepr_edge.measure.inference_process import InferenceProcess

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
BUNDLE = "01-tiny@16-fp32"
IMAGES = 12
LONG = "l" * 10_000
LABELS = [tiny_bundle.LABELS[number % 2] for number in range(IMAGES)]


@pytest.fixture(scope="module")
def site(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle and twelve images, not to be changed."""
    folder = Path(shutil.copytree(home, tmp_path_factory.mktemp("tables") / "here"))
    for number in range(IMAGES):
        tiny_bundle.image(folder / f"{number}.png", number)
        of_class = folder / "images" / LABELS[number] / f"{number}.png"
        of_class.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / f"{number}.png", of_class)
    return folder


@pytest.fixture
def here(
    site: Path, tmp_path: Path, shared_process: InferenceProcess, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The working directory: a copy of it."""
    monkeypatch.setattr(evaluate, "InferenceProcess", lambda: shared_process)
    folder = Path(shutil.copytree(site, tmp_path / "here"))
    monkeypatch.chdir(folder)
    return folder


def table(header: str, *columns: object) -> bytes:
    """Return a table of the images; a column is a text for all of them, or one for each."""
    cells = [[str(column)] * IMAGES if isinstance(column, str) else list(column) for column in columns]
    lines = [",".join([f"{number}.png", *(cell[number] for cell in cells)]) for number in range(IMAGES)]
    return "\n".join([header, *lines, ""]).encode("utf-8", "surrogateescape")


# A table of images, and words that `data check` and `evaluate` must say of it; None: it may be fine.
TABLES: dict[str, tuple[bytes, str | None, str | None]] = {
    "labels of 10,000 letters": (
        table("path,label", [f"{LONG}{n % 2}" for n in range(12)]),
        "at most",
        "class",
    ),
    "one label of a megabyte": (table("path,label", ["x" * 1_000_000, *LABELS[1:]]), "field", "field"),
    "a label for each image": (table("path,label", [f"c{n}" for n in range(12)]), None, "class"),
    "labels of 400 digits": (table("path,label", [f"{n % 2}" * 400 for n in range(12)]), None, "class"),
    "labels of 5,000 digits": (
        table("path,label", [f"{n % 2}" * 5000 for n in range(12)]),
        "at most",
        "class",
    ),
    "labels that are NaN": (table("path,label", ["nan", *LABELS[1:]]), None, "class"),
    "labels with NUL": (table("path,label", [*LABELS[:-1], "a\0b"]), "NUL", "NUL"),
    "labels with an escape sequence": (table("path,label", ["\x1b[2Ja", *LABELS[1:]]), "control", "class"),
    "labels with a mark of direction": (table("path,label", ["a\u202eb", *LABELS[1:]]), "control", "class"),
    "labels that look alike": (table("path,label", ["norma\u217c", *LABELS[1:]]), None, None),
    "labels of invisible characters": (table("path,label", ["\u200b", *LABELS[1:]]), "control", "class"),
    "labels that are formulas": (table("path,label", ["=HYPERLINK(1)", *LABELS[1:]]), None, "class"),
    "labels that are markup": (
        table("path,label", ["<script>alert(1)</script>", *LABELS[1:]]),
        None,
        "class",
    ),
    "labels that are paths": (table("path,label", ["../../x", *LABELS[1:]]), None, "class"),
    "a column of 10,000 letters": (table(f"path,label,{LONG}", LABELS, "1"), None, None),
    "a column with an escape sequence": (table("path,label,\x1b[2J", LABELS, "1"), None, None),
    "a column with a mark of direction": (table("path,label,a\u202eb", LABELS, "1"), None, None),
    "20,000 columns": (
        table("path,label," + ",".join(f"c{n}" for n in range(20_000)), LABELS, ",".join("0" * 20_000)),
        None,
        None,
    ),
    "two columns of one name": (table("path,label,Label", LABELS, LABELS), "duplicate", "duplicate"),
    "groups of 10,000 letters": (table("path,label,group", LABELS, LONG), None, None),
    "groups with an escape sequence": (table("path,label,group", LABELS, "\x1b[2J"), None, None),
    "splits of nobody": (table("path,label,split", LABELS, "future"), "split", None),
    "splits of 10,000 letters": (table("path,label,split", LABELS, LONG), "split", None),
    "all in test": (table("path,label,split", LABELS, "test"), None, None),
    "100,000 empty lines": (table("path,label", LABELS) + b"\n" * 100_000, None, None),
    "100,000 quotation marks": (table("path,label", LABELS) + b'"' * 100_001, "CSV", "CSV"),
    "a path of 10,000 letters": (table("path,label", LABELS) + f"{LONG}.png,normal\n".encode(), "", ""),
    "a path through a file": (table("path,label", LABELS) + b"0.png/x.png,normal\n", "", ""),
    "a path that is a folder": (table("path,label", LABELS) + f"{BUNDLE},normal\n".encode(), "", ""),
    "a path that is the list": (table("path,label", LABELS) + b"site.csv,normal\n", "", ""),
    "a path by another way": (table("path,label", LABELS) + b"./0.png,normal\n", "", ""),
    "a path with a backslash": (table("path,label", LABELS) + b"..\\0.png,normal\n", "", ""),
    "a path with NUL": (table("path,label", LABELS) + b"a\0.png,normal\n", "", ""),
    "a path that is not UTF-8": (table("path,label", LABELS) + b"\xff.png,normal\n", "UTF-8", "UTF-8"),
    "ends of lines of old Macs": (table("path,label", LABELS).replace(b"\n", b"\r"), None, None),
    "a table in UTF-32": (table("path,label", LABELS).decode().encode("utf-32"), "NUL", "NUL"),
    "findings that are neither 0 nor 1": (table("path,edema,nodule", "0", "2"), "label", "label"),
    "findings that are NaN": (table("path,edema,nodule", "nan", "1"), "", "label"),
    "20,000 findings": (
        table("path," + ",".join(f"f{n}" for n in range(20_000)), ",".join("01" * 10_000)),
        None,
        "label",
    ),
    "1,000 findings in one label": (
        table("path,label", "|".join(f"f{n}" for n in range(1000))),
        None,
        "class",
    ),
}


def image_rows() -> dict[str, Row]:
    made: dict[str, Row] = {}
    for name, (content, checked, evaluated) in TABLES.items():
        for command, words, word in (
            ("data check", ("data", "check", "site.csv"), checked),
            ("evaluate", ("evaluate", BUNDLE, "site.csv"), evaluated),
        ):
            status = (0, 1) if word is None else 1
            made[f"{command}: {name}"] = Row(words, status, word or "", "site.csv", write(content))
    return made


GOOD = table("path,label,sex", LABELS, ["f", "m"] * 6)
CHECK = ("data", "check", "site.csv")
EVALUATE = ("evaluate", BUNDLE, "site.csv")
OPTIONS: dict[str, tuple[tuple[str, ...], int, str]] = {
    "a column without a name": ((*CHECK, "--column", "label"), 2, "="),
    "a column for nobody": ((*CHECK, "--column", "weight=sex"), 2, ""),
    "a column of 10,000 letters": ((*CHECK, "--column", f"label={LONG}"), 1, "no column"),
    "a column with a mark of direction": ((*CHECK, "--column", "label=a\u202eb"), 1, "no column"),
    "a column of no letters": ((*CHECK, "--column", "label="), 2, ""),
    "a task of nobody": ((*CHECK, "--task", "x" * 200), 2, ""),
    "a subgroup that is not there": ((*EVALUATE, "--subgroup", LONG), 1, "no column"),
    "a subgroup with a mark of direction": ((*EVALUATE, "--subgroup", "a\u202eb"), 1, "no column"),
    "a subgroup that is the path": ((*EVALUATE, "--subgroup", "path"), 1, ""),
    "a subgroup of no letters": ((*EVALUATE, "--subgroup", ""), 1, ""),
    "a report at a pipe": ((*EVALUATE, "--out", "pipe"), 1, "regular file"),
    "a report at a full device": ((*EVALUATE, "--out", "/dev/full"), 1, "regular file"),
    "a report at a folder": ((*EVALUATE, "--out", "."), 2, "directory"),
    "a report over an image": ((*EVALUATE, "--out", "0.png"), 1, "0.png"),
    "a report over the table": ((*EVALUATE, "--out", "site.csv"), 1, "site.csv"),
    "a report over an image by force": ((*EVALUATE, "--out", "0.png", "--force"), 1, "made from"),
    "a report over the table by force": ((*EVALUATE, "--out", "./site.csv", "--force"), 1, "made from"),
    "a report over an image of a folder": (
        ("evaluate", BUNDLE, "images", "--out", f"images/{LABELS[0]}/0.png", "--force"),
        1,
        "made from",
    ),
    "a private key in a bundle": (("keys", "make", f"{BUNDLE}/key"), 1, "others get"),
    "a private key in a folder of a bundle": (("keys", "make", f"{BUNDLE}/new/key"), 1, "others get"),
    "a report into the bundle": ((*EVALUATE, "--out", f"{BUNDLE}/r.json"), 1, ""),
    "a report over the model": ((*EVALUATE, "--out", f"{BUNDLE}/model.onnx", "--force"), 1, ""),
    "columns of a folder": (("data", "check", "images", "--column", "label=sex"), 1, "only a table"),
    "columns of a site's folder": (("evaluate", BUNDLE, "images", "--column", "label=sex"), 1, "--column"),
    "no data": (("evaluate", BUNDLE, "none"), 1, "no such"),
    "the root as data": (("evaluate", BUNDLE, "/proc/self/fd"), 1, ""),
    "data of no name": (("evaluate", BUNDLE, ""), 1, "empty"),
    "a bundle as data": (("evaluate", BUNDLE, BUNDLE), 1, ""),
    "data as a bundle": (("evaluate", "site.csv", "site.csv"), 1, ""),
    "200 bundles that are none": (("evaluate", *(f"b{n}" for n in range(200)), "site.csv"), 1, ""),
}

# Published results with a change, and a word that `compare` says of them.
HEADER = "dataset,model,type,efficient,num_params,gpu_memory_gb,energy_kwh,co2eq_g,last_epoch_s"


def published(change: str = "", *, rows: int = 4, epochs: str = "test_00", **cells: str) -> bytes:
    """Return the results of two sets; `cells` are those of the first row, `change` is a line more."""
    lines = []
    for name in ("a", "b"):
        for number in range(rows):
            row = [name, f"m{number}", "CNN", "1", "1000", "0.5", f"0.{number + 1}", "1", "2", f"0.{number}"]
            if name == "a" and number == 0:
                row = [cells.get(column, cell) for column, cell in zip(NAMES, row, strict=True)]
            lines.append(",".join(row))
    return "\n".join([f"{HEADER},{epochs}", *lines, change, ""]).encode()


NAMES = [*HEADER.split(","), "test_00"]
RESULTS: dict[str, tuple[bytes, str | None]] = {
    "an energy of 1e308": (published(energy_kwh="1e308"), "energy_kwh"),
    "a memory of 1e305": (published(gpu_memory_gb="1e305"), "gpu_memory_gb"),
    "parameters of 1e308": (published(num_params="1e308"), "num_params"),
    "an energy near 0": (published(energy_kwh="5e-324"), None),
    "no energy at all": (published(energy_kwh=""), None),
    "an energy that is NaN": (published(energy_kwh="nan"), "energy_kwh"),
    "an energy of 10,000 digits": (published(energy_kwh="9" * 10_000), "energy_kwh"),
    "a model of 10,000 letters": (published(model=LONG), None),
    "a model with an escape sequence": (published(model="\x1b[2J"), None),
    "a kind with a mark of direction": (published(type="a\u202eb"), None),
    "a column of other digits": (published(epochs="test_²"), "test_00"),
    "a column of 5,000 digits": (published(epochs="test_" + "9" * 5000), "test_00"),
    "20,000 rows of one model each": (published(rows=20_000), "at most 2,000"),
    "1,991 rows, one twice": (published("b,m1989,CNN,1,1,1,1,1,1,0.5", rows=1990), "several rows"),
    "20,000 sets": (published("\n".join(f"s{n},m,CNN,1,1,1,1,1,1,0.5" for n in range(20_000))), None),
    "one model in each": (published(rows=1), None),
}
CURVES = "model,energy_kwh,val_00,val_01\n"
SEARCHES: dict[str, tuple[bytes, str | None]] = {
    "10,000 models, one twice": (
        (CURVES + "".join(f"m{n},1,0.5,0.6\n" for n in range(10_000)) + "m9999,1,0.5,0.6\n").encode(),
        "twice",
    ),
    "an energy of 1e308 each": ((CURVES + "a,1e308,0.5,0.6\nb,1e308,0.5,0.7\n").encode(), "at most"),
    "an energy near 0 each": ((CURVES + "a,5e-324,0.5,0.6\nb,5e-324,0.5,0.7\n").encode(), None),
    "one model": ((CURVES + "a,1,0.5,0.6\n").encode(), None),
    "epochs of other digits": (
        "model,energy_kwh,val_\u0660,val_\u0661\na,1,0.5,0.6\nb,2,0.5,0.7\n".encode(),
        None,
    ),
    "an epoch of 10^6": (b"model,energy_kwh,val_999999\na,1,0.6\nb,2,0.7\n", None),
    "3,000 epochs": (
        ("model,energy_kwh," + ",".join(f"val_{n}" for n in range(3000)) + "\n").encode()
        + b"".join(b"m%d,%d,%s\n" % (n, n + 1, b",".join([b"0.5"] * 3000)) for n in range(3)),
        None,
    ),
    "1,000 sets": (
        ("dataset," + CURVES + "".join(f"s{n},m,1,0.5,0.6\n" for n in range(1000))).encode(),
        None,
    ),
}
SCORES: dict[str, tuple[bytes, str | None]] = {
    "an energy of 1e308 each": (b"model,accuracy,energy\na,0.9,1e308\nb,0.8,1e308\n", None),
    "energies of 0 and 1e308": (b"model,accuracy,energy\na,0.9,0\nb,0.8,1e308\n", None),
    "energies near 0": (b"model,accuracy,energy\na,0.9,5e-324\nb,0.8,1e-323\n", None),
    "20,000 names of one model": (b"model,accuracy,energy\n" + b"a,0.5,1\n" * 20_000, None),
    "a name of 100,000 letters": (b"model,accuracy,energy\n" + b"n" * 100_000 + b",0.5,1\nb,0.6,2\n", None),
    "a name that is a formula": (b"model,accuracy,energy\n=cmd|' /C calc'!A0,0.5,1\nb,0.6,2\n", None),
}
IMAGE_NUMBERS: dict[str, tuple[str, str, int, str]] = {
    "1e308 images": ("1e308", "1", 2, "1e+15"),
    "10^30 images": ("1" + "0" * 30, "1", 2, "1e+15"),
    "images that are NaN": ("nan", "1", 2, "1e+15"),
    "a column of 1e308 images": ("images", "1e308", 1, "1e+15"),
    "a column of infinite images": ("images", "inf", 1, "1e+15"),
    "a column of no images": ("images", "0", 1, "1e+15"),
}
COMPARE = ("compare", "t.csv:a", "t.csv:b")
REPLAY = ("search", "replay", "t.csv")
SCORE = ("score", "t.csv", "--performance", "accuracy", "--resource", "E=energy", "--out", "s.csv")


def result_rows() -> dict[str, Row]:
    made: dict[str, Row] = {}
    for command, words, cases in (
        ("compare", COMPARE, RESULTS),
        ("search", REPLAY, SEARCHES),
        ("score", SCORE, SCORES),
    ):
        for name, (content, word) in cases.items():
            status = (0, 1) if word is None else 1
            made[f"{command}: {name}"] = Row(words, status, word or "", "t.csv", write(content))
    return made


def matrix(labels: object) -> Spoil:
    pixels = np.zeros((6, 4, 4), np.uint8)
    return write(archive(train_images=pixels, train_labels=labels, test_images=pixels, test_labels=labels))


WIDE = np.tile(np.array([[0, 1]] * 3 + [[1, 0]] * 3), (1, 5000))
MATRICES: dict[str, tuple[Spoil, str | None]] = {
    "10,000 findings": (matrix(WIDE), None),
    "10,000 raters of 10,000 classes": (matrix(WIDE * 9999), "several whole numbers"),
    "labels of three dimensions": (matrix(WIDE[:, :6].reshape(6, 2, 3)), ""),
    "no column": (matrix(WIDE[:, :0]), ""),
    "findings that are NaN": (matrix(WIDE[:, :3] * np.nan), ""),
    "findings of 2^63": (matrix(WIDE[:, :3].astype(np.uint64) * 2**63), ""),
    "one-hot": (matrix(np.eye(6, dtype=int)), "one-hot"),
}
ROWS = {
    **image_rows(),
    **{
        f"option, {name}": Row(words, status, word, "site.csv", write(GOOD))
        for name, (words, status, word) in OPTIONS.items()
    },
    **result_rows(),
    **{
        f"score: {name}": Row(
            (*SCORE, "--baseline", "0.5", "--images", images),
            status,
            word,
            "t.csv",
            write(f"model,accuracy,energy,images\na,0.9,1,{cell}\nb,0.8,2,9\n".encode()),
        )
        for name, (images, cell, status, word) in IMAGE_NUMBERS.items()
    },
    **{
        f"matrix, {name}": Row(
            ("data", "check", "m.npz"), (0, 1) if word is None else 1, word or "", "m.npz", spoil
        )
        for name, (spoil, word) in MATRICES.items()
    },
}


# Drawing the pictures of a comparison takes seconds.
TIERS = [
    pytest.param(name, marks=pytest.mark.slow) if name.startswith("compare") and not row.word else name
    for name, row in ROWS.items()
]


@pytest.mark.parametrize("name", TIERS)
def test_a_table_that_cannot_be(name: str, here: Path, run: Run) -> None:
    row = ROWS[name]
    if "pipe" in name:
        os.mkfifo(here / "pipe")
    before = contents(here)
    try_row(row, here, run)
    left = contents(here)
    new = {row.target, "s.csv"} | {name for name in left if name.startswith((".pepr_edge", "comparison/"))}
    assert {name: content for name, content in left.items() if name not in new} == before


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_ten_thousand_raters_of_ten_thousand_classes_take_little_memory(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    matrix(WIDE * 9999)(tmp_path / "m.npz")
    (tmp_path / "r.toml").write_text(
        'name = "r"\n[device]\nname = "d"\n[data]\nsource = "m.npz"\nraters = true\n'
        '[candidates]\narchitectures = ["resnet14t"]\n'
    )
    try_row(Row(("data", "check", "r.toml"), (0, 1)), tmp_path, run)
