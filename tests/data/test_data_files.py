import numpy as np
import pytest
from PIL import Image

from pepr_edge.data.files import is_grey, tree_sha256
from pepr_edge.errors import DataError
from pepr_edge.images.depth import to_eight_bit
from pepr_edge.images.preprocess import decode, to_pixels


@pytest.mark.parametrize(
    ("greatest", "full"), [(200, 255), (4000, 4095), (256, 4095), (4096, 65535), (65535, 65535)]
)
def test_sixteen_bits_are_scaled_not_clipped(tmp_path, greatest, full):
    values = np.linspace(0, greatest, 64).astype(np.uint16).reshape(8, 8)
    Image.fromarray(values).save(tmp_path / "deep.png")
    pixels = to_pixels(decode(tmp_path / "deep.png"), channels=1, image_size_px=8, interpolation="bilinear")[
        ..., 0
    ]
    np.testing.assert_allclose(pixels, values / full * 255, atol=0.5 + 1e-9)


def test_tiff_of_either_byte_order_and_32_bit_grey(tmp_path):
    values = np.arange(0, 64000, 1000, dtype=np.int32).reshape(8, 8)
    for name, image in (
        ("i.tif", Image.fromarray(values)),
        ("b.tif", Image.frombytes("I;16B", (8, 8), values.astype(">u2").tobytes())),
    ):
        image.save(tmp_path / name)
        deep = decode(tmp_path / name)
        np.testing.assert_array_equal(np.asarray(deep), values)
        scaled = to_eight_bit(deep, shown_as=name)
        np.testing.assert_allclose(np.asarray(scaled), values / 257, atol=0.5 + 1e-9)


@pytest.mark.parametrize(
    "values",
    [np.full((4, 4), 0.5, np.float32), np.full((4, 4), 70000, np.int32), np.full((4, 4), -1, np.int32)],
)
def test_deeper_images_are_refused(values):
    with pytest.raises(DataError, match=r"x\.tif: mode .*expected 8 or 16 bits"):
        to_eight_bit(Image.fromarray(values), shown_as="x.tif")


def test_eight_bit_images_stay_as_they_are():
    image = Image.new("RGB", (4, 4), (1, 2, 3))
    assert to_eight_bit(image, shown_as="") is image


@pytest.mark.parametrize(
    ("image", "grey"),
    [
        (Image.new("L", (2, 2), 7), True),
        (Image.new("I;16", (2, 2), 7), True),
        (Image.new("LA", (2, 2)), True),
        (Image.new("RGB", (2, 2), (7, 7, 7)), True),
        (Image.new("RGB", (2, 2), (7, 7, 8)), False),
        (Image.new("RGBA", (2, 2), (7, 7, 7, 9)), True),
        (Image.new("CMYK", (2, 2), (9, 0, 0, 0)), False),
    ],
)
def test_is_grey(image, grey):
    assert is_grey(image) is grey


def test_tree_hash_depends_on_names_and_content_not_on_order(tmp_path):
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").write_text("2")
    first = tree_sha256(tmp_path, ["a", "b"])
    assert first == tree_sha256(tmp_path, ["b", "a"])
    (tmp_path / "a").write_text("2")
    (tmp_path / "b").write_text("1")
    assert first != tree_sha256(tmp_path, ["a", "b"])
