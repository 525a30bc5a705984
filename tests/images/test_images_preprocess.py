from __future__ import annotations

import io
import os
import random
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image

from pepr_edge.errors import DataError, ImageError
from pepr_edge.images import preprocess
from pepr_edge.images.depth import to_eight_bit
from pepr_edge.images.preprocess import FILTERS, decode, load_tensor, to_pixels, to_tensor
from pepr_edge.records import Interpolation, Preprocess

Channels = Literal[1, 3]
CORNER = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40


def stored(image: Image.Image, form: str = "PNG", **options: object) -> io.BytesIO:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    buffer.seek(0)
    return buffer


def noise(px: int = 16, channels: int = 3) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (px, px, channels), dtype=np.uint8)


def pixels(image: Image.Image, channels: Channels, px: int | None = None) -> NDArray[np.uint8]:
    return to_pixels(image, channels=channels, image_size_px=px or image.width, interpolation="bilinear")


# EXIF orientation, and the upright image.
@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, CORNER),
        (2, np.fliplr(CORNER)),
        (3, np.rot90(CORNER, 2)),
        (4, np.flipud(CORNER)),
        (5, CORNER.T),
        (6, np.rot90(CORNER, -1)),
        (7, np.rot90(CORNER, 2).T),
        (8, np.rot90(CORNER)),
    ],
)
@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_images_come_upright(orientation: int, upright: NDArray[np.uint8], form: str) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    np.testing.assert_array_equal(
        np.asarray(decode(stored(Image.fromarray(CORNER), form, exif=exif))), upright
    )


def test_a_photograph_is_turned_before_it_is_resized() -> None:
    exif = Image.Exif()
    exif[274] = 6
    dark_left = np.zeros((32, 64), np.uint8)
    dark_left[:, 32:] = 255
    made = pixels(decode(stored(Image.fromarray(dark_left), "JPEG", exif=exif, quality=95)), 1, 16)[..., 0]
    assert made[:7].max() < 20
    assert made[9:].min() > 235


@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bit_grey_keeps_its_contrast(channels: Channels) -> None:
    values = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    made = pixels(decode(stored(Image.fromarray(values))), channels)
    assert made.shape == (8, 8, channels)
    np.testing.assert_allclose(made[..., 0], values / 257, atol=0.5)
    assert all((made[..., 0] == made[..., channel]).all() for channel in range(channels))


@settings(deadline=None)
@given(hnp.arrays(np.uint16, (3, 3)))
def test_eight_bits_of_sixteen_are_the_nearest(values: NDArray[np.uint16]) -> None:
    full = next(full for full in (255, 4095, 65535) if values.max() <= full)
    made = np.asarray(to_eight_bit(Image.fromarray(values), shown_as=""))
    np.testing.assert_allclose(made, values / full * 255, atol=0.5 + 1e-9)


def test_deeper_images_are_refused_by_name() -> None:
    with pytest.raises(DataError, match=r"scan\.tif: mode F, .*expected 8 or 16 bits"):
        decode(stored(Image.fromarray(np.full((4, 4), 0.5, np.float32)), "TIFF"), shown_as="scan.tif")


@pytest.mark.parametrize("transparency", [None, 0, bytes([0, 128])])
def test_palettes_are_looked_up(transparency: int | bytes | None) -> None:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, 200, 100, 50])
    image.putpixel((0, 0), 0)
    opened = decode(stored(image, **({} if transparency is None else {"transparency": transparency})))
    colour = pixels(opened, 3)
    assert colour[0, 0].tolist() == [0, 0, 0]
    assert colour[7, 7].tolist() == [200, 100, 50]
    # ITU-R 601: 0.299 R + 0.587 G + 0.114 B.
    assert pixels(opened, 1)[7, 7].tolist() == [124]


def test_transparency_is_dropped_not_blended() -> None:
    clear = Image.new("RGBA", (8, 8), (200, 100, 50, 0))
    assert pixels(decode(stored(clear)), 3)[0, 0].tolist() == [200, 100, 50]
    assert pixels(decode(stored(clear)), 1)[0, 0].tolist() == [124]
    assert pixels(decode(stored(Image.new("LA", (8, 8), (90, 0)))), 1)[0, 0].tolist() == [90]
    assert pixels(decode(stored(Image.new("LA", (8, 8), (90, 0)))), 3)[0, 0].tolist() == [90, 90, 90]


def test_cmyk_becomes_rgb() -> None:
    opened = decode(stored(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "TIFF"))
    assert opened.mode == "CMYK"
    assert pixels(opened, 3)[0, 0].tolist() == [255, 0, 0]


def test_black_and_white_become_0_and_255() -> None:
    image = Image.new("1", (8, 8), 1)
    image.putpixel((0, 0), 0)
    made = pixels(decode(stored(image)), 1)
    assert (made[0, 0, 0], made[7, 7, 0]) == (0, 255)


@pytest.mark.parametrize("interpolation", FILTERS)
def test_the_right_size_is_not_resampled(interpolation: Interpolation) -> None:
    source = noise()
    made = to_pixels(Image.fromarray(source), channels=3, image_size_px=16, interpolation=interpolation)
    np.testing.assert_array_equal(made, source)


@pytest.mark.parametrize("interpolation", FILTERS)
def test_another_size_is_resampled_with_pillow_s_filter_of_that_name(interpolation: Interpolation) -> None:
    image = Image.fromarray(noise(23)[:17])
    made = to_pixels(image, channels=3, image_size_px=16, interpolation=interpolation)
    expected = image.resize((16, 16), Image.Resampling[interpolation.upper()])
    np.testing.assert_array_equal(made, np.asarray(expected))


def test_the_filters_differ() -> None:
    image = Image.fromarray(noise(23))
    made = {to_pixels(image, channels=3, image_size_px=16, interpolation=name).tobytes() for name in FILTERS}
    assert len(made) == len(FILTERS) == 4


def test_to_grey_comes_before_resizing() -> None:
    image = Image.fromarray(noise(23))
    np.testing.assert_array_equal(
        pixels(image, 1, 16)[..., 0],
        np.asarray(image.convert("L").resize((16, 16), Image.Resampling.BILINEAR)),
    )


@pytest.mark.parametrize("channels", [1, 3])
@settings(deadline=None)
@given(st.data())
def test_the_tensor_equals_the_formula(channels: Channels, data: st.DataObject) -> None:
    number = st.floats(min_value=2**-7, max_value=1, width=32)
    numbers = st.lists(number, min_size=channels, max_size=channels).map(tuple)
    mean = data.draw(numbers)
    std = data.draw(numbers)
    scale = data.draw(st.sampled_from([255.0, 1.0, 127.5]))
    spec = Preprocess(channels=channels, image_size_px=8, mean=mean, std=std, scale=scale)
    batch = data.draw(hnp.arrays(np.uint8, (2, 8, 8, channels)))
    made = to_tensor(batch, spec)
    assert (made.dtype, made.shape, made.flags.c_contiguous) == (np.float32, (2, channels, 8, 8), True)
    expected = (batch.astype(np.float64) / scale - np.array(mean)) / np.array(std)
    np.testing.assert_allclose(made, expected.transpose(0, 3, 1, 2), rtol=1e-4, atol=1e-3)


def test_a_known_tensor() -> None:
    spec = Preprocess(channels=3, image_size_px=8, mean=(0.0, 0.5, 1.0), std=(1.0, 0.5, 0.25))
    made = to_tensor(np.full((1, 8, 8, 3), 255, np.uint8), spec)
    assert made[0, :, 0, 0].tolist() == [1.0, 1.0, 0.0]


def test_files_become_one_batch_in_their_order(tmp_path: Path) -> None:
    files = []
    for level in (0, 51, 255):
        files.append(tmp_path / f"{level}.png")
        Image.new("L", (20, 30), level).save(files[-1])
    spec = Preprocess(channels=1, image_size_px=16, mean=(0.0,), std=(1.0,))
    batch = load_tensor(files, spec)
    assert batch.shape == (3, 1, 16, 16)
    np.testing.assert_allclose(batch[:, 0, 5, 5], [0, 0.2, 1], atol=1e-6)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.png: no such file"):
        decode(tmp_path / "none.png")


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n", b"GIF89a"])
def test_what_is_not_an_image_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "odd.png").write_bytes(content)
    with pytest.raises(DataError, match=r"odd\.png: ") as fault:
        decode(tmp_path / "odd.png")
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "BMP"])
def test_a_truncated_file_is_refused(form: str) -> None:
    whole = stored(Image.fromarray(noise(64)), form).getvalue()
    with pytest.raises(DataError, match=r"torn: (the image is corrupt|not an image)"):
        decode(io.BytesIO(whole[: len(whole) * 2 // 3]), shown_as="torn")


def test_an_image_too_large_to_be_decoded_safely_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, module in (("MAX_IMAGE_PIXELS", Image), ("MAX_PIXELS", preprocess)):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, 10)
            with pytest.raises(ImageError, match=r"bomb: more than .* pixels"):
                decode(stored(Image.fromarray(noise())), shown_as="bomb")


@pytest.mark.parametrize("name", ["PPM", "BMP"])
def test_a_small_file_that_claims_to_be_huge_is_refused_at_once(name: str) -> None:
    header = b"P5 9500 9500 255\n" if name == "PPM" else stored(Image.new("L", (1, 1)), "BMP").getvalue()
    if name == "BMP":
        header = header[:18] + (9500).to_bytes(4, "little") * 2 + header[26:]
    with pytest.raises(ImageError, match=r"bomb: more than 89,478,485 pixels"):
        decode(io.BytesIO(header), shown_as="bomb")


# Decoders of some formats raise errors of other types than the others.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "GIF", "BMP", "WEBP", "DDS", "AVIF"])
def test_a_damaged_file_is_an_image_or_a_data_error(form: str) -> None:
    try:
        whole = stored(Image.fromarray(noise()), form).getvalue()
    except (KeyError, OSError):
        pytest.skip(f"this Pillow cannot write {form}")
    generator = random.Random(form)
    names = set()
    for _ in range(250):
        damaged = bytearray(whole)
        for _ in range(generator.randint(1, 6)):
            # Most damage is in the header.
            end = len(damaged) if generator.random() < 0.3 else min(150, len(damaged))
            damaged[generator.randrange(end)] = generator.choice([0, 255, generator.randrange(256)])
        try:
            pixels(decode(io.BytesIO(damaged), shown_as="odd"), 3, 8)
        except DataError as fault:
            names.add(str(fault).split(" ")[0])
    assert names == {"odd:"}


def animated(form: str) -> bytes:
    first, *others = (Image.new("L", (8, 8), level) for level in (50, 100, 150))
    return stored(first, form, save_all=True, append_images=others).getvalue()


@pytest.mark.parametrize("form", ["GIF", "PNG", "TIFF", "WEBP"])
def test_the_first_of_several_images_is_decoded(form: str) -> None:
    made = pixels(decode(io.BytesIO(animated(form))), 1)
    np.testing.assert_allclose(made, 50, atol=2)


def test_a_cmyk_photograph_as_adobe_writes_it() -> None:
    image = Image.new("RGB", (16, 16), (200, 30, 30)).convert("CMYK")
    np.testing.assert_allclose(
        pixels(decode(stored(image, "JPEG", quality=95)), 3)[0, 0], [200, 30, 30], atol=6
    )


def test_a_palette_with_an_alpha_plane() -> None:
    palette = Image.new("RGBA", (8, 8), (200, 100, 50, 0)).convert("PA")
    assert pixels(palette, 3)[0, 0].tolist() == pytest.approx([200, 100, 50], abs=30)


def test_a_colour_space_other_than_rgb_and_cmyk_is_refused() -> None:
    with pytest.raises(ImageError, match=r"lab\.tif: mode LAB, expected grey, RGB, CMYK or a palette"):
        decode(stored(Image.new("LAB", (8, 8)), "TIFF"), shown_as="lab.tif")


@pytest.mark.parametrize(
    "content", [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"%PDF-1.4\n", b"<svg xmlns='x'/>"]
)
def test_no_other_decoder_is_asked(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "subprocess.check_call", lambda *args, **kwargs: pytest.fail("Ghostscript was called")
    )
    with pytest.raises(ImageError, match="odd: not an image, expected PNG"):
        decode(io.BytesIO(content), shown_as="odd")


def test_a_folder_and_an_empty_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.png").mkdir()
    with pytest.raises(ImageError, match=r"x\.png: a folder, expected an image file"):
        decode(tmp_path / "x.png")
    (tmp_path / "empty.png").touch()
    with pytest.raises(ImageError, match=r"empty\.png: empty, 0 bytes"):
        decode(tmp_path / "empty.png")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in folders here")
def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.png")
    with pytest.raises(ImageError, match="not a regular file"):
        decode(tmp_path / "x.png")


def test_a_file_without_permission_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "x.png")

    def refuse(*args: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(preprocess, "open_regular", refuse)
    with pytest.raises(ImageError, match=r"x\.png: cannot be opened \(Permission denied\)"):
        decode(tmp_path / "x.png")


@pytest.mark.skipif(os.name != "posix", reason="file names are always text here")
def test_file_names_that_are_no_text_are_shown(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"r\xf6ntgen\n.png")
    Image.new("L", (8, 8), 5).save(path)
    assert decode(path).size == (8, 8)
    path.write_bytes(b"no image")
    with pytest.raises(ImageError) as fault:
        decode(path)
    assert "\n" not in str(fault.value)
    str(fault.value).encode()
