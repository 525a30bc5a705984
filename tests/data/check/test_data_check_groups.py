"""Images that belong together: by the names of their files, turned or mirrored copies, groups too large."""

from __future__ import annotations

from pathlib import Path

import made_images
import numpy as np
import pytest
from PIL import Image

from pepr_edge.data.check.groups import beginnings


def named(root: Path, *patterns: str, count: int = 24) -> Path:
    """Write images of a class for each pattern: `{0}` counts patients, `{1}` the images of each."""
    for label, pattern in zip("ab", patterns, strict=False):
        for number in range(count):
            seed = number + count * (label == "b")
            made_images.save(root / label / pattern.format(number // 3, number % 3, number), seed)
    return root


@pytest.mark.parametrize(
    "patterns",
    [
        ("person{0}_bacteria_{2}.png", "{0:08}_{1:03}.png"),
        ("{0}_left_{1}.png", "{0}_right_{1}.png"),
        ("IM-{0:04}-{1:04}.png", "IM-{0:04}-{1:04}.png"),
        ("scan{0}_jpg.rf.{2:010x}.png", "photo {0}.rf.{2:032x}.png"),
        ("P{0}.png", "P{0} ({1}).png"),
        ("1.2.840.{0}.{1}.png", "1.2.841.{0}.{1}.png"),
        ("{2:08}_6c613a14b80a85{0:02}_MG_R_CC.png", "{2:08}_6c613a14b80a86{0:02}_MG_L_CC.png"),
    ],
)
def test_names_of_several_images_of_one_are_said(tmp_path, check, patterns):
    done = check(named(tmp_path / "d", *patterns))
    problem = done.problem("names_look_like_groups")
    assert (done.status, problem["severity"]) == (0, "warning")
    assert problem["count"] > 3
    assert "column group" in problem["remedy"]


@pytest.mark.parametrize(
    "patterns",
    [
        ("{2:04}.png", "{2:04}.png"),
        ("cat.{2}.png", "dog.{2}.png"),
        ("{2:03}_ct.png", "{2:03}_ct.png"),
        ("IMG_20230105_10{2:04}.png", "IMG-20230106-WA{2:04}.png"),
        ("n01440764_{2}.png", "n02102040_{2}.png"),
        ("ISIC_{2:07}_downsampled.png", "ISIC_{2:07}.png"),
        ("batch1_{2:03}.png", "batch2_{2:03}.png"),
        ("{2:03}_512x512px.png", "{2:03}_20170110225503.png"),
        ("2023-01-05 10.20.{2:02}.png", "Screenshot 2023-01-06 at 11.20.{2:02}.png"),
        ("{2:08x}-aaaa-4bbb-8ccc-{2:012x}.png", "{2:08x}-aaaa-4bbb-8ccc-{2:012x}.png"),
    ],
)
def test_other_names_are_no_groups(tmp_path, check, patterns):
    assert check(named(tmp_path / "d", *patterns)).kinds == {}


@pytest.mark.parametrize("name", ["p{0}_{1}.png", "{0:05}/{2}.png", "case_{0}/slice{2}.png"])
@pytest.mark.parametrize("is_divided", [True, False])
def test_given_splits_that_divide_a_patient_are_said(tmp_path, check, name, is_divided):
    for number in range(36):
        patient = number % 12 if is_divided else number // 3
        split = ("train", "val", "test")[number // 12]
        path = f"{split}/{'ab'[patient % 2]}/{name.format(patient, number % 3, number)}"
        made_images.save(tmp_path / "d" / path, number)
    done = check(tmp_path / "d")
    assert ("names_look_like_groups" in done.kinds) == (is_divided)
    if is_divided:
        assert "one split" in done.problem("names_look_like_groups")["remedy"]


def test_a_list_with_groups_is_not_asked_for_them(tmp_path, check):
    lines = ["path,label,group"]
    for number in range(24):
        made_images.save(tmp_path / f"p{number // 3}_{number}.png", number)
        lines.append(f"p{number // 3}_{number}.png,{number % 2},{number // 3}")
    (tmp_path / "list.csv").write_text("\n".join(lines) + "\n")
    assert check(tmp_path / "list.csv").kinds == {}


@pytest.mark.parametrize("largest", [34, 36])
def test_a_group_that_leaves_too_little_for_a_split_is_said(tmp_path, check, largest):
    lines = ["path,label,group"]
    for number in range(40):
        made_images.save(tmp_path / f"{number}.png", number)
        lines.append(f"{number}.png,{number % 2},{'clinic' if number < largest else number}")
    (tmp_path / "list.csv").write_text("\n".join(lines) + "\n")
    problem = check(tmp_path / "list.csv").problem("groups_uneven")
    assert problem["severity"] == "warning"
    assert f"{largest} of 40" in problem["remedy"]


TURNS = [Image.Transpose(number) for number in range(7)]


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_turned_copies_across_splits_are_said(tmp_path, check, turn, suffix):
    counts = {f"{split}/{label}": 6 for split in ("train", "test") for label in ("no", "yes")}
    root = made_images.folder(tmp_path / "d", counts)
    for number in range(3):
        turned = made_images.picture(number).transpose(turn).point(lambda level: level * 0.97)
        turned.save(root / "test" / "no" / f"turned {number}{suffix}")
    done = check(root)
    problem = done.problem("turned_copies_across_splits")
    assert (done.status, problem["severity"], problem["count"]) == (0, "warning", 3)


@pytest.mark.parametrize("turn", TURNS[:2])
def test_turned_copies_within_a_split_are_a_note(tmp_path, check, turn):
    counts = {f"{split}/{label}": 6 for split in ("train", "test") for label in ("no", "yes")}
    root = made_images.folder(tmp_path / "d", counts)
    made_images.picture(0).transpose(turn).save(root / "train" / "no" / "turned.png")
    made_images.picture(1).transpose(turn).save(root / "train" / "yes" / "turned.png")  # labels of directions
    assert check(root).kinds == {"turned_copies_in_split": "note"}


def test_symmetric_pictures_are_no_turned_copies(tmp_path, check):
    for seed in range(12):
        half = made_images.pixels(seed)[:, :24]
        path = tmp_path / "d" / "ab"[seed % 2] / f"{seed}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.concatenate([half, half[:, ::-1]], axis=1)).save(path)
    assert check(tmp_path / "d").kinds == {}


def test_the_beginnings_of_names() -> None:
    stems = [f"p{number // 2}_{number % 2}" for number in range(8)]
    assert beginnings([*stems, "other"], ["x"] * 9)[::2] == ["x/p0", "x/p1", "x/p2", "x/p3", ""]
    assert beginnings(stems[:6], ["x"] * 6) is None  # too few to be patients
    assert beginnings([], []) is None
