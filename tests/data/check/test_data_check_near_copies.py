from __future__ import annotations

import io
from itertools import product

import made_images
import numpy as np
import pytest
from PIL import Image, ImageEnhance

from pepr_edge.data.phantom import images

pytest.importorskip("imagehash")

from pepr_edge.data.check.evidence import Scan
from pepr_edge.data.check.similar import similar_pairs
from pepr_edge.data.pixels import Decoded
from pepr_edge.images.preprocess import to_pixels

SPLITS = {f"{split}/{label}": 5 for split, label in product(("train", "val", "test"), ("no", "yes"))}


def jpeg(image: Image.Image, quality: int = 75) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Image.open(stream).convert("L")


def brighter(image: Image.Image, factor: float = 1.04) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(factor)


def cropped(image: Image.Image, left: float = 0.03, top: float = 0.04) -> Image.Image:
    width, height = image.size
    box = (round(left * width), round(top * height), round(0.98 * width), height)
    return image.crop(box).resize(image.size)


@pytest.mark.parametrize("change", [jpeg, brighter, cropped, lambda image: jpeg(cropped(brighter(image)))])
def test_a_near_copy_across_splits_is_proposed_as_a_group(tmp_path, check, change):
    root = made_images.folder(tmp_path / "d", SPLITS)
    change(made_images.picture(0)).save(root / "test/no/other.png")
    done = check(root)
    found = done.problem("near_copies_across_splits")
    assert (found["severity"], found["count"]) == ("warning", 1)
    assert found["examples"] == ["test/no/other.png ~ train/no/00.png"]
    assert "group" in found["remedy"]
    assert set(done.kinds) == {"near_copies_across_splits"}


def test_a_near_copy_with_another_label_is_found(tmp_path, check):
    root = made_images.folder(tmp_path / "d", SPLITS)
    jpeg(made_images.picture(0)).save(root / "train/yes/other.jpg")
    assert check(root).kinds == {"near_copies_with_two_labels": "warning"}


def test_three_near_copies_are_one_set(tmp_path, check):
    root = made_images.folder(tmp_path / "d", SPLITS)
    jpeg(made_images.picture(0)).save(root / "val/no/x.png")
    brighter(made_images.picture(0)).save(root / "test/no/x.png")
    done = check(root)
    assert done.problem("near_copies_across_splits")["count"] == 1
    [copied] = done.document["copies"]
    assert copied["kind"] == "near_copies_across_splits"
    assert [(one["image"], one["split"], one["label"]) for one in copied["images"]] == [
        ("test/no/x.png", "test", "no"),
        ("train/no/00.png", "train", "no"),
        ("val/no/x.png", "val", "no"),
    ]


def scanned(pictures: list[Image.Image]) -> Scan:
    scan = Scan()
    for index, picture in enumerate(pictures):
        pixels = to_pixels(picture, channels=1, image_size_px=64, interpolation="bilinear")
        scan.add(Decoded(index, "train", picture, pixels))
    return scan


def pairs(pictures: list[Image.Image]) -> set[frozenset[int]]:
    scan = scanned(pictures)
    bits = np.stack([scan.perceptual[index] for index in range(len(pictures))])
    found = similar_pairs(bits, [scan.thumbnails[index] for index in range(len(pictures))])
    return {frozenset(pair) for pair in found}


@pytest.mark.parametrize("change", [jpeg, brighter, cropped])
def test_recall_of_planted_near_copies_and_false_pairs(change):
    originals = [Image.fromarray(image) for image in images(150, 3)[0]]
    planted = [change(image) for image in originals[:40]]
    found = pairs(originals + planted)
    expected = {frozenset((number, len(originals) + number)) for number in range(len(planted))}
    assert len(found & expected) >= 0.95 * len(expected)
    assert len(found - expected) <= 0.01 * len(found)


def test_one_picture_alone_has_no_near_copy():
    assert pairs([made_images.picture(0)]) == set()
