from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pepr_edge.errors import ImageError
from pepr_edge.images.depth import DEPTHS, needed_bits, to_eight_bit
from pepr_edge.images.preprocess import decode, to_pixels


def deep(values: np.ndarray) -> Image.Image:
    return Image.fromarray(values.astype(np.uint16))


def ramp(high: int, px: int = 40) -> np.ndarray:
    return np.linspace(0, high, px * px).round().reshape(px, px)


@pytest.mark.parametrize(
    ("high", "bits"), [(255, 8), (300, 10), (1023, 10), (4095, 12), (16000, 14), (40000, 16), (65535, 16)]
)
def test_the_depth_holds_nearly_all_pixels(high: int, bits: int) -> None:
    assert needed_bits(deep(ramp(high))) == bits


def test_a_few_bright_pixels_do_not_count() -> None:
    values = ramp(4000)
    values[0, :7] = 50000
    assert needed_bits(deep(values)) == 12
    values[0, :20] = 50000
    assert needed_bits(deep(values)) == 16
    values[:10] = 65535  # burnt in, whatever its share
    assert needed_bits(deep(values)) == 12


def test_images_of_8_bits_have_no_depth() -> None:
    assert needed_bits(Image.new("L", (4, 4), 9)) is None
    assert needed_bits(Image.new("RGB", (4, 4))) is None


@given(st.sampled_from(DEPTHS), st.integers(0, 2**32 - 1))
def test_scaling_is_the_formula(bits: int, seed: int) -> None:
    values = np.random.default_rng(seed).integers(0, 1 << bits, (6, 6))
    made = np.asarray(to_eight_bit(deep(values), shown_as="", grey_bits=bits))
    np.testing.assert_allclose(made, values * 255 / ((1 << bits) - 1), atol=0.5 + 1e-9)


def test_pixels_above_the_depth_are_white_if_they_are_few() -> None:
    values = ramp(4095)
    values[0, 0] = 65535
    made = np.asarray(to_eight_bit(deep(values), shown_as="", grey_bits=12))
    assert made[0, 0] == 255
    np.testing.assert_allclose(made[1:], values[1:] / 4095 * 255, atol=0.5 + 1e-9)


def test_an_image_of_another_depth_is_refused() -> None:
    with pytest.raises(ImageError, match=r"x\.png: values up to 60000, expected 12 bits"):
        to_eight_bit(deep(ramp(60000)), shown_as="x.png", grey_bits=12)


def tiff(values: np.ndarray, photometric: int) -> io.BytesIO:
    """Return a TIFF file of 16 or 8 bits with this PhotometricInterpretation."""
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "TIFF")  # 0 is black; the tag is changed below
    content = stream.getvalue()
    entry = (262).to_bytes(2, "little") + (3).to_bytes(2, "little") + (1).to_bytes(4, "little")
    at = content.index(entry) + len(entry)
    return io.BytesIO(content[:at] + photometric.to_bytes(2, "little") + content[at + 2 :])


@pytest.mark.parametrize("high", [255, 4095, 65535])
def test_tiff_with_white_as_zero_is_inverted(high: int) -> None:
    values = ramp(high).astype(np.uint16)
    pixels = [
        to_pixels(decode(tiff(values, photometric)), channels=1, image_size_px=40, interpolation="bilinear")
        for photometric in (0, 1)
    ]
    np.testing.assert_array_equal(pixels[0], 255 - pixels[1])
    assert pixels[0][0, 0, 0] == 255


def test_8_bits_with_white_as_zero_are_inverted_once() -> None:
    values = ramp(255).astype(np.uint8)
    np.testing.assert_array_equal(np.asarray(decode(tiff(values, 0))), 255 - values)
    np.testing.assert_array_equal(np.asarray(decode(tiff(values, 1))), values)


def png(values: np.ndarray, *chunks: tuple[bytes, bytes]) -> io.BytesIO:
    """Return a PNG file with more chunks after its header."""
    import struct
    import zlib

    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "PNG")
    content = stream.getvalue()
    more = b""
    for kind, body in chunks:
        more += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return io.BytesIO(content[:33] + more + content[33:])


def compressed(size: int) -> bytes:
    import zlib

    return zlib.compress(bytes(size))


@pytest.mark.parametrize(
    "chunks",
    [
        [(b"iCCP", b"profile\0\0" + compressed(4 << 20))],
        [(b"zTXt", b"Comment\0\0" + compressed(8 << 20))],
        [(b"iTXt", b"XML:com.acme\0\1\0\0\0" + compressed(3 << 20))],
        [(b"zTXt", b"Comment\0\0" + compressed(1 << 20))] * 70,
    ],
)
def test_a_png_with_a_large_profile_or_text_is_read(chunks: list[tuple[bytes, bytes]]) -> None:
    values = ramp(255).astype(np.uint8)
    file = png(values, *chunks)
    with pytest.raises(ValueError, match=r"(?i)too (large|much)"):
        Image.open(file).load()
    file.seek(0)
    np.testing.assert_array_equal(np.asarray(decode(file)), values)


def test_the_orientation_of_such_a_png_is_applied() -> None:
    values = ramp(255, 20)[:10].astype(np.uint8)
    stream = io.BytesIO()
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(values).save(stream, "PNG", exif=exif)
    content = stream.getvalue()
    extra = png(values, (b"iCCP", b"profile\0\0" + compressed(4 << 20))).getvalue()
    profile = extra[33 : extra.index(b"IDAT") - 4]
    assert decode(io.BytesIO(content[:33] + profile + content[33:])).size == (10, 20)


@pytest.mark.parametrize("bomb", [(b"IDAT", 0)])
def test_a_png_that_claims_to_be_huge_is_still_refused(bomb: tuple[bytes, int]) -> None:
    import struct
    import zlib

    content = png(ramp(255).astype(np.uint8), (b"iCCP", b"profile\0\0" + compressed(4 << 20))).getvalue()
    header = b"IHDR" + struct.pack(">II", 40000, 40000) + content[24:29]
    huge = content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:]
    with pytest.raises(ImageError, match="more than"):
        decode(io.BytesIO(huge))
