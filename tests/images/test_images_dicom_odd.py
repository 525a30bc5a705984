"""DICOM files that viewers show rightly and that a plain reading shows wrongly: right here, or refused."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import made_dicom
import numpy as np
import pytest
from made_dicom import grey, ramp, scaled
from numpy.typing import NDArray
from PIL import Image

from pepr_edge.errors import ImageError
from pepr_edge.images.preprocess import decode

pydicom = pytest.importorskip("pydicom")

BASELINE = "1.2.840.10008.1.2.4.50"
RLE = "1.2.840.10008.1.2.5"


@pytest.mark.parametrize(("stored", "high"), [(12, 15), (12, 13), (10, 15), (8, 11), (12, 11)])
@pytest.mark.parametrize("signed", [False, True])
def test_values_with_a_high_bit_elsewhere_are_moved(
    tmp_path: Path, stored: int, high: int, signed: bool
) -> None:
    low = -(1 << (stored - 1)) if signed else 0
    values = ramp(low, low + (1 << stored) - 1, "i2" if signed else "u2", (16, 16))
    shift = high + 1 - stored
    raw = (values.astype(np.int32) << shift).astype("i2" if signed else "u2")
    raw |= (1 << shift) - 1  # what the unused bits hold does not matter
    path = made_dicom.write(tmp_path / "x.dcm", raw, BitsStored=stored, HighBit=high)
    np.testing.assert_allclose(grey(path), scaled(values, values.min(), values.max()), atol=0.51)


def test_bits_above_the_high_bit_do_not_count(tmp_path: Path) -> None:
    values = ramp(0, 1023, "u2", (16, 16))
    path = made_dicom.write(tmp_path / "x.dcm", (values << 2) | 0xC000, BitsStored=10, HighBit=11)
    np.testing.assert_allclose(grey(path), scaled(values, 0, 1023), atol=0.51)


@pytest.mark.parametrize("high", [5, 16])
def test_an_impossible_high_bit_is_refused(tmp_path: Path, high: int) -> None:
    path = made_dicom.write(tmp_path / "x.dcm", ramp(0, 4095), BitsStored=12, HighBit=high)
    with pytest.raises(ImageError, match="high bit"):
        decode(path)


@pytest.mark.parametrize("slope", [0, 0.0])
def test_a_rescale_slope_of_zero_is_refused(tmp_path: Path, slope: float) -> None:
    path = made_dicom.write(tmp_path / "x.dcm", ramp(), RescaleSlope=slope, RescaleIntercept=5)
    with pytest.raises(ImageError, match="slope 0"):
        decode(path)


def test_a_slope_of_zero_for_a_frame_is_refused(tmp_path: Path) -> None:
    groups = made_dicom.items(
        PixelValueTransformationSequence=made_dicom.items(
            RescaleSlope=0, RescaleIntercept=0, RescaleType="US"
        )
    )
    path = made_dicom.write(tmp_path / "x.dcm", ramp(), SharedFunctionalGroupsSequence=groups)
    with pytest.raises(ImageError, match="slope 0"):
        decode(path)


@pytest.mark.parametrize(("high", "pixels"), [(65535, 1), (20000, 5)])
def test_a_few_pixels_do_not_take_the_contrast(tmp_path: Path, high: int, pixels: int) -> None:
    values = ramp(0, 4000, "u2", (100, 100))
    burnt = values.copy()
    burnt[0, :pixels] = high
    made = grey(made_dicom.write(tmp_path / "x.dcm", burnt))
    np.testing.assert_allclose(made[1:], scaled(values, 0, 4000)[1:], atol=1.5)
    assert made[0, 0] == 255


def test_a_bright_region_keeps_its_contrast(tmp_path: Path) -> None:
    values = ramp(0, 4000, "u2", (100, 100))
    values[:2, :50] = 60000
    made = grey(made_dicom.write(tmp_path / "x.dcm", values))
    np.testing.assert_allclose(made, scaled(values, values.min(), 60000), atol=0.51)


def palette(path: Path, depth: int, colours: NDArray[Any], kind: str) -> Path:
    """Write an image of all indices of a palette, whose descriptor says `depth` bits."""
    names = ("Red", "Green", "Blue")
    elements: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for name, column in zip(names, colours.T, strict=True):
        elements[f"{name}PaletteColorLookupTableDescriptor"] = [len(colours), 0, depth]
        elements[f"{name}PaletteColorLookupTableData"] = column.astype(kind).tobytes()
    return made_dicom.write(path, np.arange(256, dtype=np.uint8).reshape(16, 16), **elements)


@pytest.mark.parametrize("depth", [8, 16])
def test_a_palette_with_values_of_8_bits_in_entries_of_16(tmp_path: Path, depth: int) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (256, 3))
    image = decode(palette(tmp_path / "x.dcm", depth, colours, "<u2"))
    np.testing.assert_array_equal(np.asarray(image).reshape(-1, 3), colours)


def test_a_palette_of_16_bits_is_scaled(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 65536, (256, 3))
    image = decode(palette(tmp_path / "x.dcm", 16, colours, "<u2"))
    np.testing.assert_allclose(np.asarray(image).reshape(-1, 3), colours / 257, atol=0.51)


def photograph() -> NDArray[np.uint8]:
    """Return a picture with colours: a pink tissue with dark marks on a black ground."""
    generator = np.random.default_rng(3)
    noise = Image.fromarray(generator.integers(0, 60, (8, 8), np.uint8)).resize(
        (64, 64), Image.Resampling.BICUBIC
    )
    level = np.asarray(noise).astype(int)
    pixels = np.stack([190 - level, 110 - level // 2, 130 - level], axis=2)
    pixels[:12] = 0
    return np.clip(pixels, 0, 255).astype(np.uint8)


def stream(pixels: NDArray[np.uint8], *, ycbcr: bool, subsampling: int = 0) -> bytes:
    """Return a JPEG stream without markers that tell its colours."""
    image = Image.fromarray(pixels)
    if not ycbcr:
        image = Image.merge("YCbCr", image.split())  # the planes are stored as they are
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=95, subsampling=subsampling)
    content = buffer.getvalue()
    start = content.index(b"\xff\xe0")
    length = int.from_bytes(content[start + 2 : start + 4], "big")
    return content[:start] + content[start + 2 + length :]


def jpeg(path: Path, content: bytes, interpretation: str) -> Path:
    from pydicom.encaps import encapsulate

    data = encapsulate([content])
    shape = np.zeros((64, 64, 3), np.uint8)
    return made_dicom.write(
        path, shape, syntax=BASELINE, PhotometricInterpretation=interpretation, PixelData=data
    )


ADOBE = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00"


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("interpretation", ["RGB", "YBR_FULL_422", "YBR_FULL"])
def test_ycbcr_without_a_marker_is_shown_in_its_colours(
    tmp_path: Path, subsampling: int, interpretation: str
) -> None:
    content = stream(photograph(), ycbcr=True, subsampling=subsampling)
    made = np.asarray(decode(jpeg(tmp_path / "x.dcm", content, interpretation)))
    np.testing.assert_allclose(made[20:50].mean(axis=(0, 1)), photograph()[20:50].mean(axis=(0, 1)), atol=4)


def test_rgb_without_a_marker_is_shown_in_its_colours(tmp_path: Path) -> None:
    content = stream(photograph(), ycbcr=False)
    made = np.asarray(decode(jpeg(tmp_path / "x.dcm", content, "RGB")))
    np.testing.assert_allclose(made[20:50].mean(axis=(0, 1)), photograph()[20:50].mean(axis=(0, 1)), atol=4)


@pytest.mark.parametrize(("ycbcr", "transform"), [(True, 1), (False, 0)])
def test_adobe_s_marker_tells_the_colours(tmp_path: Path, ycbcr: bool, transform: int) -> None:
    plain = stream(photograph(), ycbcr=ycbcr)
    content = plain[:2] + ADOBE + bytes([transform]) + plain[2:]
    made = np.asarray(decode(jpeg(tmp_path / "x.dcm", content, "RGB")))
    np.testing.assert_allclose(made[20:50].mean(axis=(0, 1)), photograph()[20:50].mean(axis=(0, 1)), atol=4)


def test_ycbcr_with_adobe_s_marker_is_converted_once(tmp_path: Path) -> None:
    plain = stream(photograph(), ycbcr=True)
    content = plain[:2] + ADOBE + b"\1" + plain[2:]
    made = np.asarray(decode(jpeg(tmp_path / "x.dcm", content, "YBR_FULL_422")))
    np.testing.assert_allclose(made[20:50].mean(axis=(0, 1)), photograph()[20:50].mean(axis=(0, 1)), atol=4)


def test_pixels_that_may_be_either_are_refused(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    planes = [generator.normal(128, spread, (64, 64)) for spread in (40, 19, 19)]
    content = stream(np.clip(np.stack(planes, axis=2), 0, 255).astype(np.uint8), ycbcr=False)
    with pytest.raises(ImageError, match="YCbCr"):
        decode(jpeg(tmp_path / "x.dcm", content, "RGB"))
