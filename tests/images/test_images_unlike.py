from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from pepr_edge.images.preprocess import to_pixels
from pepr_edge.images.unlike import coloured_share, unlike
from pepr_edge.records import ImageLimits

GREY = ImageLimits(min_contrast=4.0, colour="grey", min_side_px=16)


def picture(kind: str) -> Image.Image:
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, (40, 50), dtype=np.uint8)
    rgb = np.repeat(grey[..., None], 3, axis=2)
    if kind == "grey":
        return Image.fromarray(grey)
    if kind == "grey as RGB":
        return Image.fromarray(rgb)
    if kind == "annotated":
        rgb[:4, :10] = (255, 255, 0)
    if kind == "noisy channels":
        rgb = np.clip(rgb + rng.integers(-5, 6, rgb.shape), 0, 255).astype(np.uint8)
    if kind == "photo":
        rgb[:, :30] = (200, 120, 40)
    if kind == "blank":
        return Image.new("L", (50, 40), 90)
    if kind == "palette":
        return Image.fromarray(rgb).quantize(8)
    if kind == "small":
        return Image.fromarray(grey[:10])
    return Image.fromarray(rgb)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("grey", None),
        ("grey as RGB", None),
        ("annotated", None),
        ("noisy channels", None),
        ("palette", None),
        ("photo", "colour"),
        ("blank", "blank"),
        ("small", "size"),
    ],
)
def test_an_image_is_held_against_grey_training_images(kind: str, reason: str | None) -> None:
    image = picture(kind)
    pixels = to_pixels(image, channels=1, image_size_px=16, interpolation="bilinear")
    found = unlike(image, pixels, GREY)
    assert (None if found is None else found.kind) == reason
    assert unlike(image, pixels, ImageLimits()) is None


def test_a_grey_image_is_unlike_coloured_ones() -> None:
    limits = ImageLimits(colour="colour")
    for kind, expected in (("grey", "colour"), ("grey as RGB", "colour"), ("photo", None)):
        image = picture(kind)
        pixels = to_pixels(image, channels=3, image_size_px=16, interpolation="bilinear")
        found = unlike(image, pixels, limits)
        assert (None if found is None else found.kind) == expected, kind


def test_modes_without_colour_have_none() -> None:
    for mode in ("1", "L", "LA", "I;16", "F"):
        assert coloured_share(Image.new(mode, (8, 8))) == 0
    assert coloured_share(Image.new("CMYK", (8, 8), (255, 0, 0, 0))) == 1
