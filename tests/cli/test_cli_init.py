"""tests/test_tutorial.py checks that a run accepts such a recipe unchanged."""

from __future__ import annotations

import json
from pathlib import Path

import command_line
import numpy as np
import pytest
from PIL import Image

from pepr_edge.data.phantom import images
from pepr_edge.recipe import Recipe
from pepr_edge.recipe.toml import read

COUNTS = {"benign": 40, "malignant": 24, "unclear": 16}


@pytest.fixture
def scans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of JPEGs of three unequal classes, in the current folder."""
    monkeypatch.chdir(tmp_path)
    pixels, _ = images(sum(COUNTS.values()), 3)
    rows = iter(pixels)
    for name, count in COUNTS.items():
        (tmp_path / "scans" / name).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(next(rows)).save(tmp_path / "scans" / name / f"{number}.jpg")
    return tmp_path / "scans"


def test_a_folder_of_unequal_classes(
    scans: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    done = command_line.run(capsys, monkeypatch, "init", "scans", "--no-time")
    assert (done.status, done.out) == (0, "recipe.toml\n")
    assert "benign 40, malignant 24, unclear 16" in done.err
    text = Path("recipe.toml").read_text()
    assert max(map(len, text.splitlines())) <= 120
    assert "2.4 times as many training images" in text
    assert "64 sampled images grey, 64 x 64 px" in text
    assert "Command:   pepr-edge run recipe.toml --out runs/scans" in text
    recipe = read(Path("recipe.toml"), Recipe)
    assert (recipe.name, recipe.data.source) == ("scans", "scans")
    assert (recipe.score.performance, recipe.train.class_balanced) == ("balanced_accuracy", True)
    assert (recipe.candidates.image_size_px, recipe.train.epochs) == ("auto", "auto")
    assert "64 px here" in text
    assert command_line.run(capsys, monkeypatch, "recipes", "check", "recipe.toml").status == 0


def test_a_bad_image_is_named_here_and_not_in_the_recipe(
    scans: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (scans / "benign" / "0.jpg").write_bytes(b"")
    done = command_line.run(capsys, monkeypatch, "init", "scans", "--no-time")
    assert done.status == 0
    assert "benign/0.jpg" in done.err
    assert "0.jpg" not in Path("recipe.toml").read_text()
    assert read(Path("recipe.toml"), Recipe).data.on_bad_image == "skip"


def test_a_bad_image_that_the_sample_misses_is_left_out(
    scans: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (scans / "benign" / "12.jpg").write_bytes(b"")
    done = command_line.run(capsys, monkeypatch, "init", "scans", "--no-time")
    assert done.status == 0
    assert "sampled images cannot be read" not in done.err
    assert read(Path("recipe.toml"), Recipe).data.on_bad_image == "skip"


def test_the_recipe_and_its_data_may_move_together(
    scans: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("here").mkdir()
    assert (
        command_line.run(capsys, monkeypatch, "init", scans, "--no-time", "--out", "here/mine.toml").status
        == 0
    )
    assert read(Path("here/mine.toml"), Recipe).data.source == "../scans"


def test_a_device_and_an_existing_file(
    scans: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = command_line.run(
        capsys, monkeypatch, "init", "scans", "--no-time", "--device", "raspberry_pi_4", "--json"
    )
    assert json.loads(first.out)["data"]["class_counts"] == list(COUNTS.values())
    assert read(Path("recipe.toml"), Recipe).device.name.startswith("Raspberry Pi 4")
    again = command_line.run(capsys, monkeypatch, "init", "scans", "--no-time")
    assert (again.status, again.out) == (1, "")
    assert "recipe.toml: already exists" in again.err
    assert command_line.run(capsys, monkeypatch, "init", "scans", "--no-time", "--force").status == 0
    assert read(Path("recipe.toml"), Recipe).device.name.startswith("clinic laptop")


def test_a_manifest_that_names_patients(
    scans: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [
        f"scans/{name}/{n}.jpg,{name},{name[0]}{n // 4}"
        for name, count in COUNTS.items()
        for n in range(count)
    ]
    Path("scans.csv").write_text("\n".join(["path,label,group", *lines]))
    assert command_line.run(capsys, monkeypatch, "init", "scans.csv", "--no-time").status == 0
    text = Path("recipe.toml").read_text()
    assert "# Groups:    20, " in text
    assert "each group in one split" in text


def test_the_splits_of_a_medmnist_file_are_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pixels, labels = images(90, 1, 28)
    parts = {"train": slice(0, 60), "val": slice(60, 75), "test": slice(75, 90)}
    arrays = {f"{split}_images": pixels[part] for split, part in parts.items()}
    np.savez("mine.npz", **arrays, **{f"{split}_labels": labels[part, None] for split, part in parts.items()})
    assert command_line.run(capsys, monkeypatch, "init", "mine.npz", "--no-time").status == 0
    text = Path("recipe.toml").read_text()
    assert "splits of the data itself: train 60, val 15, test 15." in text
    assert "32 px here" in text


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("nowhere", "nowhere: no such file or folder"),
        ("empty", "no class folders"),
        ("one", "only the class 'benign'"),
        ("broken", "not an image"),
    ],
)
def test_unusable_data_is_reported_in_one_line(
    source: str, says: str, scans: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("empty").mkdir()
    Path("one").mkdir()
    (scans / "benign").rename("one/benign")
    for name in ("a", "b"):
        Path("broken", name).mkdir(parents=True)
        for number in range(9):
            Path("broken", name, f"{number}.png").write_text(f"no picture {name}{number}")
    done = command_line.run(capsys, monkeypatch, "init", source, "--no-time")
    assert (done.status, done.out) == (1, "")
    assert says in done.err
    assert done.err.count("\n") == 1
    assert not Path("recipe.toml").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--device", "raspbery_pi_4"], "Did you mean"),
        (["--out", "no/such.toml"], "no folder"),
        (["--out", "a\nb.toml"], "Rename it"),
    ],
)
def test_a_wrong_option_is_reported_in_one_line(
    words: list[str],
    says: str,
    scans: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done = command_line.run(capsys, monkeypatch, "init", "scans", "--no-time", *words)
    assert (done.status, says in done.err, done.err.count("\n")) == (1, True, 1)
