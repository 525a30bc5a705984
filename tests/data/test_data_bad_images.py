"""Handling of unreadable images: `on_bad_image`."""

from __future__ import annotations

import csv
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pepr_edge.data import SKIPPED, DataSettings, cache, fingerprint, load, prepare
from pepr_edge.errors import DataError
from pepr_edge.images import dicom


def settings(root: Path, policy: str = "skip", **changes: object) -> DataSettings:
    return DataSettings(str(root), 16, on_bad_image=policy, **changes)  # type: ignore[arg-type]


def spoil(root: Path, *names: str) -> None:
    for name in names:
        content = (root / name).read_bytes()
        (root / name).write_bytes(content[: len(content) // 2])


def listed(folder: Path) -> list[dict[str, str]]:
    with open(folder / SKIPPED, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_by_default_all_bad_images_are_named_at_once(image_folder: Path, tmp_path: Path) -> None:
    spoil(image_folder, "cat/03.png", "dog/15.png")
    (image_folder / "dog" / "19.jpg").write_text("no image")
    with pytest.raises(DataError) as fault:
        prepare(DataSettings(str(image_folder), 16), tmp_path / "out")
    head, *lines = str(fault.value).splitlines()
    assert head.startswith(f"{image_folder}: 3 of 21 images ")
    assert 'data.on_bad_image = "skip"' in head
    assert sorted(line.split(":")[0] for line in lines) == ["  cat/03.png", "  dog/15.png", "  dog/19.jpg"]
    assert not list((tmp_path / "out").iterdir())


def test_of_many_bad_images_the_first_are_named_and_all_are_counted(
    image_folder: Path, tmp_path: Path
) -> None:
    spoil(image_folder, *(f"cat/{number:02}.png" for number in range(12)))
    with pytest.raises(DataError, match="12 of 20 images") as fault:
        prepare(DataSettings(str(image_folder), 16), tmp_path / "out")
    lines = str(fault.value).splitlines()
    assert len(lines) == 1 + cache.MAX_NAMED + 1
    assert lines[-1] == "  and 2 more"


def test_skipped_images_are_counted_and_listed_and_the_others_keep_their_order(
    image_folder: Path, tmp_path: Path
) -> None:
    prepare(settings(image_folder), tmp_path / "complete")
    spoil(image_folder, "cat/03.png", "dog/15.png")
    info = prepare(settings(image_folder), tmp_path / "out")
    assert info.skipped_images == 2
    assert info.notes == ("2 unreadable images left out: cat 1, dog 1",)
    assert sum(facts.images for facts in info.splits.values()) == 18
    rows = listed(tmp_path / "out")
    assert {row["image"] for row in rows} == {"cat/03.png", "dog/15.png"}
    assert all(row["reason"].startswith("the image is corrupt") for row in rows)
    complete = load(tmp_path / "complete")
    lost = 0
    for split, (pixels, labels) in load(tmp_path / "out").splits.items():
        before = [image.tobytes() for image in complete.splits[split][0]]
        after = [image.tobytes() for image in pixels]
        assert after == [image for image in before if image in after]
        assert len(labels) == len(after) == info.splits[split].images
        lost += len(before) - len(after)
    assert lost == 2


def test_without_bad_images_the_policy_changes_nothing(image_folder: Path, tmp_path: Path) -> None:
    infos = [prepare(settings(image_folder, policy), tmp_path / policy) for policy in ("fail", "skip")]
    assert infos[0] == infos[1]
    assert (infos[0].skipped_images, listed(tmp_path / "skip")) == (0, [])


def test_data_prepared_with_one_policy_is_prepared_again_for_the_other(
    image_folder: Path, tmp_path: Path
) -> None:
    spoil(image_folder, "cat/03.png")
    first = prepare(settings(image_folder), tmp_path / "out")
    assert prepare(settings(image_folder), tmp_path / "out") == first
    assert fingerprint(settings(image_folder)) != fingerprint(settings(image_folder, "fail"))
    with pytest.raises(DataError, match=r"cat/03\.png: the image is corrupt .* 1 of 20 images") as fault:
        prepare(settings(image_folder, "fail"), tmp_path / "out")
    assert "\n" not in str(fault.value)
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(image_folder / "cat" / "03.png")
    assert prepare(settings(image_folder), tmp_path / "out").skipped_images == 0


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        (
            [f"dog/{number}.png" for number in range(12, 20)],
            "class 'dog' .*training split.* 8 of 20 images",
        ),
        (
            [f"{'cat' if n < 12 else 'dog'}/{n:02}.png" for n in range(20)],
            "no images in the train split.* 20 of 20 images",
        ),
    ],
)
def test_an_empty_class_or_split_is_an_error(
    image_folder: Path, tmp_path: Path, lost: list[str], message: str
) -> None:
    spoil(image_folder, *lost)
    with pytest.raises(DataError, match=message) as fault:
        prepare(settings(image_folder), tmp_path / "out")
    assert lost[0] in str(fault.value)
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege here")
def test_a_file_that_cannot_be_opened_is_a_bad_image(image_folder: Path, tmp_path: Path) -> None:
    (image_folder / "cat" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    assert prepare(settings(image_folder), tmp_path / "out").skipped_images == 1
    assert listed(tmp_path / "out") == [{"image": "cat/gone.png", "reason": "no such file"}]
    with pytest.raises(DataError, match=r"cat/gone\.png: no such file"):
        prepare(settings(image_folder, "fail"), tmp_path / "out")


def test_an_image_that_needs_a_missing_package_is_an_error(
    image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (image_folder / "cat" / "20.dcm").write_bytes(bytes(128) + b"DICM" + bytes(64))
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(DataError, match=f"cat/20.dcm: a DICOM file, .*pydicom.*{dicom.INSTALL[:11]}"):
        prepare(settings(image_folder), tmp_path / "out")


def test_a_manifest_may_name_missing_images(image_folder: Path, tmp_path: Path) -> None:
    rows = [
        f"{path.relative_to(image_folder).as_posix()},{path.parent.name}"
        for path in sorted(image_folder.rglob("*.png"))
    ]
    (image_folder / "m.csv").write_text("path,label\n" + "\n".join([*rows, "cat/none.png,cat"]))
    assert prepare(settings(image_folder / "m.csv"), tmp_path / "out").skipped_images == 1
    with pytest.raises(DataError, match=r"line 22: cat/none\.png: no such file"):
        prepare(settings(image_folder / "m.csv", "fail"), tmp_path / "out")


def test_dicom_of_every_name_gives_the_same_pixels_as_in_predict(tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    import made_dicom

    from pepr_edge.images.preprocess import decode, to_pixels

    names = ["1.dcm", "IM0002", "1.2.840.3", "4.DCM", "5.png", "6.dcm"]
    for number, name in enumerate(names * 2):
        pixels = np.random.default_rng(number).integers(0, 4096, (12, 10), np.uint16)
        made_dicom.write(
            tmp_path / "scans" / "ab"[number // 6] / name, pixels, BitsStored=12, PatientID=str(number)
        )
    made_dicom.write(tmp_path / "scans" / "a" / "DICOMDIR", np.zeros((2, 2), np.uint8), PixelData=None)
    (tmp_path / "scans" / "b" / "README").write_text("no scan")
    info = prepare(DataSettings(str(tmp_path / "scans"), 16), tmp_path / "out")
    assert (sum(facts.images for facts in info.splits.values()), info.channels) == (12, 1)
    assert info.notes == ("skipped files that are not images: 2 of other kinds",)
    made = {image.tobytes() for pixels, _ in load(tmp_path / "out").splits.values() for image in pixels}
    expected = {
        to_pixels(decode(path), channels=1, image_size_px=16, interpolation="bilinear").tobytes()
        for path in (tmp_path / "scans").rglob("*")
        if path.name in names
    }
    assert made == expected
    assert len(made) == 12
    assert "lanted" not in (tmp_path / "out" / "info.json").read_text()
