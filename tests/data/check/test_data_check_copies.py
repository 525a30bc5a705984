from __future__ import annotations

import shutil
from pathlib import Path

import made_images
import pytest
from PIL import Image

pytest.importorskip("imagehash")

SPLITS = {f"{split}/{label}": 6 for split in ("train", "val", "test") for label in ("no", "yes")}


def grey_to_rgb(source: Path, target: Path) -> None:
    Image.open(source).convert("RGB").save(target.with_suffix(".bmp"))


def palette(source: Path, target: Path) -> None:
    Image.open(source).convert("P").save(target.with_suffix(".gif"))


def tiff(source: Path, target: Path) -> None:
    Image.open(source).save(target.with_suffix(".tif"))


def alpha(source: Path, target: Path) -> None:
    Image.open(source).convert("RGBA").save(target.with_suffix(".webp"), lossless=True)


def test_a_clean_folder_has_no_problems(tmp_path, check):
    done = check(made_images.folder(tmp_path / "clean", SPLITS))
    assert (done.status, done.document["problems"], done.err) == (0, [], "")
    assert done.counts == {"no": 18, "yes": 18}
    assert done.document["splits"] == {split: [6, 6] for split in ("train", "val", "test")}
    assert done.document["columns"] == {"used": [], "ignored": []}


@pytest.mark.parametrize("save_as", [grey_to_rgb, palette, tiff, alpha, shutil.copy])
def test_a_copy_in_another_mode_or_format_is_found(tmp_path, check, save_as):
    root = made_images.folder(tmp_path / "d", SPLITS)
    save_as(root / "train/no/00.png", root / "test/no/zz.png")
    done = check(root)
    found = done.problem("copies_across_splits")
    assert (done.status, found["severity"], found["count"]) == (0, "warning", 1)
    assert "train/no/00.png" in found["examples"][0]
    assert "test/no/zz." in found["examples"][0]
    assert set(done.kinds) == {"copies_across_splits"}


def test_copies_within_a_split_are_a_note(tmp_path, check):
    root = made_images.folder(tmp_path / "d", SPLITS)
    shutil.copy(root / "train/no/00.png", root / "train/no/again.png")
    assert check(root).kinds == {"copies_in_split": "note"}


@pytest.mark.parametrize("home", ["train", "test"])
def test_a_picture_with_two_labels_is_found(tmp_path, check, home):
    root = made_images.folder(tmp_path / "d", SPLITS)
    grey_to_rgb(root / "train/no/03.png", root / home / "yes" / "x.png")
    found = check(root).problem("copies_with_two_labels")
    assert (found["severity"], found["count"]) == ("warning", 1)
    assert "no / yes" in found["remedy"]


def test_blank_images_are_no_copies(tmp_path, check):
    root = made_images.folder(tmp_path / "d", SPLITS)
    for place in ("train/no", "test/no", "test/yes"):
        Image.new("L", (20, 20), 7).save(root / place / "black.png")
    done = check(root)
    assert done.kinds == {"blank_images": "warning"}
    assert done.problem("blank_images")["count"] == 3


def test_names_of_images_are_in_examples_only(tmp_path, check):
    root = made_images.folder(tmp_path / "d", SPLITS)
    shutil.copy(root / "train/no/00.png", root / "test/yes/Doe^John.png")
    for problem in check(root).document["problems"]:
        assert "Doe" not in problem["remedy"]
        assert "Doe" in problem["examples"][0]
