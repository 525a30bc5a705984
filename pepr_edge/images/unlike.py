"""Cheap checks that an image is one like those of the training, before any model sees it."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pepr_edge.records import ImageLimits

# Colour is looked at in a small copy of the image.
COLOUR_PX = 64
# A pixel is coloured if its channels differ by more than this many levels of 255: compression and the tint of
# a scanner stay below it.
COLOURED_LEVELS = 24
# Colour of annotations on a grey image covers less than this share of it.
COLOURED_SHARE = 0.1


class Unlike(NamedTuple):
    """Why an image is none like those of the training: the kind of reason, and a part of a sentence."""

    kind: Literal["blank", "colour", "size"]
    reason: str


def contrast(pixels: NDArray[np.uint8]) -> float:
    """Return the standard deviation of the pixels that a model sees, in grey levels."""
    return float(pixels.std())


def coloured_share(image: Image.Image) -> float:
    """Return the share of an image that has colour."""
    if image.mode not in ("P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"):
        return 0.0
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA")
    small = np.asarray(image.convert("RGB").resize((COLOUR_PX, COLOUR_PX), Image.Resampling.BOX), np.int16)
    return float((small.max(axis=2) - small.min(axis=2) > COLOURED_LEVELS).mean())


def unlike(image: Image.Image, pixels: NDArray[np.uint8], limits: ImageLimits) -> Unlike | None:
    """Return why an image is none like those of the training, or None.

    Args:
        image: as `pepr_edge.images.preprocess.decode` returns it.
        pixels: what the model sees of it, uint8, shape (px, px, channels).
        limits: of the bundle.
    """
    if limits.min_side_px is not None and min(image.size) < limits.min_side_px:
        size = f"{image.width} x {image.height} px"
        return Unlike("size", f"far too small ({size}, expected at least {limits.min_side_px} px)")
    found = contrast(pixels)
    if found < limits.min_contrast:
        return Unlike("blank", f"blank or nearly so (contrast {found:.1f}, limit {limits.min_contrast:.1f})")
    if limits.colour is None:
        return None
    share = coloured_share(image)
    if limits.colour == "grey" and share > COLOURED_SHARE:
        return Unlike(
            "colour", f"a colour image ({100 * share:.0f} % of it), and the training images are grey"
        )
    if limits.colour == "colour" and share == 0:
        return Unlike("colour", "without colour, and the training images have colour")
    return None
