"""Image to tensor: the one way, in training AND in the field.

In this order: decode (EXIF orientation applied; grey of more than 8 bits scaled to 8); to grey ("L") for channels 1, RGB for 3; resize to
image_size_px x image_size_px with Pillow's filter of that name (none where the size is right already);
float32; / scale; - mean; / std (per channel); NCHW. Anyone can redo it from the manifest alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from pepr_edge.errors import DataError
from pepr_edge.records import Interpolation, Preprocess

FILTERS: dict[str, Image.Resampling] = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def decode(file: str | Path | BinaryIO, *, shown_as: str = "") -> Image.Image:
    """Open an image file, whole, upright by its EXIF orientation.

    Raises:
        DataError: not an image, truncated, or too large to be decoded safely.
    """
    name = shown_as or str(file)
    try:
        with Image.open(file) as image:
            image.load()
            upright = ImageOps.exif_transpose(image)
    except FileNotFoundError:
        raise DataError(f"{name}: no such file. Check the path.") from None
    except UnidentifiedImageError:
        raise DataError(f"{name}: not an image that Pillow can read, expected PNG, JPEG, TIFF or the like. Convert or remove it.") from None
    except (OSError, SyntaxError, ValueError, RuntimeError, Image.DecompressionBombError) as fault:
        raise DataError(f"{name}: the image is corrupt ({fault}). Replace or remove it.") from None
    return to_eight_bit(upright, shown_as=name)


def to_eight_bit(image: Image.Image, *, shown_as: str) -> Image.Image:
    """Scale a grey image of up to 16 bits to 8; others are returned as they are.

    Pillow's own conversion clips at 255. The full range of the least of 8, 12 and 16 bits that holds the image's greatest value becomes
    0 to 255, rounded: so 12-bit detectors in 16-bit files keep their contrast, and the result depends on this image alone.

    Raises:
        DataError: the values are not whole numbers from 0 to 65535.
    """
    if not image.mode.startswith(("I", "F")):
        return image
    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise DataError(f"{shown_as}: mode {image.mode}, values {values.min()} to {values.max()}, expected 8 or 16 bits. Convert it.")
    full = next(full for full in (255, 4095, 65535) if values.max() <= full)
    return Image.fromarray(((values.astype(np.uint32) * 255 + full // 2) // full).astype(np.uint8))


def to_pixels(image: Image.Image, *, channels: Literal[1, 3], image_size_px: int, interpolation: Interpolation) -> NDArray[np.uint8]:
    """Bring a decoded image to the model's channels and size.

    Returns:
        uint8, shape (image_size_px, image_size_px, channels).
    """
    if image.mode == "P":
        # The same pixels; straight from a palette with transparency, Pillow warns.
        image = image.convert("RGBA")
    image = image.convert("L" if channels == 1 else "RGB")
    if image.size != (image_size_px, image_size_px):
        image = image.resize((image_size_px, image_size_px), FILTERS[interpolation])
    return np.asarray(image, dtype=np.uint8).reshape(image_size_px, image_size_px, channels)


def to_tensor(pixels: NDArray[np.uint8], spec: Preprocess) -> NDArray[np.float32]:
    """Normalise a batch of pixels.

    Args:
        pixels: uint8, shape (n, image_size_px, image_size_px, channels).
        spec: scale, and mean and std per channel.
    Returns:
        float32, shape (n, channels, image_size_px, image_size_px), contiguous.
    """
    mean, std = np.asarray(spec.mean, np.float32), np.asarray(spec.std, np.float32)
    scaled = (pixels.astype(np.float32) / np.float32(spec.scale) - mean) / std
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))


def load_tensor(files: Iterable[str | Path], spec: Preprocess) -> NDArray[np.float32]:
    """Decode image files and make the model's input of them, shape (n, channels, px, px)."""
    pixels = [
        to_pixels(decode(file), channels=spec.channels, image_size_px=spec.image_size_px, interpolation=spec.interpolation)
        for file in files
    ]
    return to_tensor(np.stack(pixels), spec)
