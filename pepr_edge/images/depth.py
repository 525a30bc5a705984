"""Grey images of more than 8 bits: they stay deep until the depth of their set is known, then become 8 bits.

The depth belongs to the set, not to the image: a detector of 12 bits writes dark pictures, too, and a
burnt-in letter may be brighter than anything that it measures. Preprocess.grey_bits carries the depth to the
field.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from pepr_edge.errors import ImageError

DEEP_MODE = "I;16"
# Depths of detectors. A picture has the smallest that holds nearly all of its pixels.
DEPTHS = (8, 10, 12, 14, 16)
# Depths that an image without a set is scaled by, as version 0.1 did.
SINGLE_DEPTHS = (8, 12, 16)
MAX_VALUE = 65535
# Share of pixels that may be above the depth: letters, marks, defects. Pixels of the highest value of the
# file are no measurement, whatever their share.
MAX_CLIPPED = 0.005
# In Image.info: the picture is dark where its values are high.
WHITE_IS_ZERO = "white_is_zero"
# In Image.info: the file holds more pictures; the picture's end is lost.
SEVERAL_PICTURES = "several_pictures"
CUT_OFF = "cut_off"
# In Image.info: the picture is of a DICOM file.
FROM_DICOM = "from_dicom"
KEPT = (WHITE_IS_ZERO, SEVERAL_PICTURES, CUT_OFF)


def is_deep(image: Image.Image) -> bool:
    """True if a decoded image has more than 8 bits."""
    return image.mode.startswith(("I", "F"))


def checked(image: Image.Image, *, shown_as: str) -> Image.Image:
    """Return a deep image in DEEP_MODE; other images unchanged.

    Raises:
        ImageError: its values are not integers from 0 to 65535.
    """
    if not is_deep(image):
        return image
    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > MAX_VALUE:
        found = f"mode {image.mode}, values {values.min()} to {values.max()}"
        raise ImageError(shown_as, f"{found}, expected 8 or 16 bits", "Convert or remove it.")
    deep = Image.fromarray(values.astype(np.uint16))
    deep.info.update({key: value for key, value in image.info.items() if key in KEPT})
    return deep


def needed_bits(image: Image.Image) -> int | None:
    """Return the depth that holds nearly all pixels of a deep image, one of DEPTHS; None for other images."""
    if not is_deep(image):
        return None
    values = np.asarray(image)
    return next((bits for bits in DEPTHS if _share_above(values, bits) <= MAX_CLIPPED), DEPTHS[-1])


def to_eight_bit(image: Image.Image, *, shown_as: str, grey_bits: int | None = None) -> Image.Image:
    """Scale a deep grey image to 8 bits; other images are returned unchanged.

    Pillow's own conversion clips at 255. Here the range of `grey_bits` is scaled to 0 to 255 and rounded, and
    the few pixels above it become white. Without a depth it is 8, 12 or 16 bits, the smallest that holds the
    image's maximum, so the result depends on this image alone.

    Raises:
        ImageError: its values are not integers from 0 to 65535, or too many are above the depth.
    """
    if not is_deep(image):
        return image
    deep = checked(image, shown_as=shown_as)
    values = np.asarray(deep)
    if grey_bits is None:
        grey_bits = next(bits for bits in SINGLE_DEPTHS if values.max() < 1 << bits)
    elif _share_above(values, grey_bits) > MAX_CLIPPED:
        raise ImageError(
            shown_as,
            f"values up to {values.max()}, expected {grey_bits} bits as in its set (0 to "
            f"{(1 << grey_bits) - 1})",
            "Convert or remove it.",
        )
    full_scale = (1 << grey_bits) - 1
    levels = (np.arange(full_scale + 1) * 255 + full_scale // 2) // full_scale
    if deep.info.get(WHITE_IS_ZERO):
        levels = 255 - levels
    return Image.fromarray(levels.astype(np.uint8)[np.minimum(values, full_scale)])


def _share_above(values: np.ndarray, bits: int) -> float:
    """Return the share of pixels above a depth, those of the highest value of the file apart."""
    above = (values >= 1 << bits) & (values != MAX_VALUE)
    return float(above.mean())
