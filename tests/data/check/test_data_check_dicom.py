"""DICOM files whose tags mislead a plain reading, through the command line: the right picture, or an error.

That a picture is right shows in its copy among the test images: `data check` compares what a model would see.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import made_dicom
import made_images
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

pytest.importorskip("pydicom")

SPLITS = {f"{split}/{label}": 6 for split in ("train", "test") for label in ("no", "yes")}
COPIES = {"copies_across_splits", "near_copies_across_splits"}
BASELINE = "1.2.840.10008.1.2.4.50"
Write = Callable[[Path, NDArray[np.uint8]], object]


def high_bit(stored: int, high: int) -> Write:
    """Return what writes values of `stored` bits below the bit `high` of 16."""

    def write(path: Path, levels: NDArray[np.uint8]) -> None:
        values = levels.astype(np.uint16) << (stored - 8) << (high + 1 - stored)
        made_dicom.write(path, values, BitsStored=stored, HighBit=high)

    return write


def palette(depth: int) -> Write:
    """Return what writes indices of a palette of grey levels, as values of 8 bits in entries of 16."""

    def write(path: Path, levels: NDArray[np.uint8]) -> None:
        elements: dict[str, object] = {"PhotometricInterpretation": "PALETTE COLOR"}
        for name in ("Red", "Green", "Blue"):
            elements[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, depth]
            elements[f"{name}PaletteColorLookupTableData"] = np.arange(256, dtype="<u2").tobytes()
        made_dicom.write(path, levels, **elements)

    return write


def inverted(path: Path, levels: NDArray[np.uint8]) -> None:
    made_dicom.write(path, 255 - levels, PhotometricInterpretation="MONOCHROME1")


@pytest.mark.parametrize(
    "write",
    [high_bit(10, 15), high_bit(12, 13), high_bit(12, 15), palette(8), palette(16), inverted],
    ids=["10 bits below 15", "12 below 13", "12 below 15", "palette of 8", "palette of 16", "white is 0"],
)
def test_an_odd_dicom_file_is_the_copy_of_its_picture(tmp_path, check, write):
    root = made_images.folder(tmp_path / "d", SPLITS)
    levels = made_images.pixels(500)
    levels[0, :2] = 0, 255  # so that the scaling of DICOM changes nothing
    Image.fromarray(levels).save(root / "train" / "no" / "plain.png")
    write(root / "test" / "no" / "odd", levels)
    done = check(root)
    [kind] = set(done.kinds) - {"more_than_8_bits"}
    assert (done.status, kind in COPIES) == (0, True)
    assert "odd" in str(done.problem(kind)["examples"])


def jpeg_without_marker(picture: Image.Image, subsampling: int) -> bytes:
    """Return a stream of YCbCr, as JPEG has it, without the marker that says so."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=95, subsampling=subsampling)
    content = buffer.getvalue()
    start = content.index(b"\xff\xe0")
    length = int.from_bytes(content[start + 2 : start + 4], "big")
    return content[:start] + content[start + 2 + length :]


@pytest.mark.parametrize("subsampling", [0, 2])
@pytest.mark.parametrize("declared", ["RGB", "YBR_FULL_422"])
def test_ycbcr_declared_as_rgb_is_a_near_copy_of_its_picture(tmp_path, check, subsampling, declared):
    from pydicom.encaps import encapsulate

    root = made_images.folder(tmp_path / "d", SPLITS)
    for number, path in enumerate(sorted(root.rglob("*.png"))):
        tissue(number).save(path)
    tissue(99).save(root / "train" / "no" / "plain.png")
    data = encapsulate([jpeg_without_marker(tissue(99), subsampling)])
    made_dicom.write(
        root / "test" / "no" / "odd",
        np.zeros((64, 64, 3), np.uint8),
        syntax=BASELINE,
        PhotometricInterpretation=declared,
        PixelData=data,
    )
    done = check(root)
    assert done.status == 0
    assert "odd" in str(done.problem("near_copies_across_splits")["examples"])


def tissue(seed: int) -> Image.Image:
    """Return a picture in one colour with structure, so that its YCbCr planes look like no RGB."""
    level = made_images.pixels(seed, 64).astype(int)
    planes = [level * 3 // 4 + 60, level // 2 + 20, level // 2 + 40]
    return Image.fromarray(np.stack(planes, axis=2).clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize(
    ("elements", "word"),
    [
        ({"RescaleSlope": 0, "RescaleIntercept": 5}, "slope 0"),
        ({"RescaleSlope": 0.0, "RescaleIntercept": -1024}, "slope 0"),
        ({"BitsStored": 12, "HighBit": 4}, "high bit"),
        ({"BitsStored": 16, "HighBit": 17}, "high bit"),
    ],
)
def test_a_dicom_file_that_cannot_be_shown_rightly_is_an_error(tmp_path, check, elements, word):
    root = made_images.folder(tmp_path / "d", SPLITS)
    made_dicom.write(root / "train" / "no" / "odd", made_dicom.ramp(0, 4095), **elements)
    done = check(root)
    problem = done.problem("unreadable_images")
    assert (done.status, problem["severity"], problem["examples"]) == (1, "error", ["train/no/odd"])
    assert word in problem["remedy"]
