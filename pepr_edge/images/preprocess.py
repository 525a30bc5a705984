"""Image to tensor: the one way, in training AND in the field.

In this order: decode (EXIF orientation applied; grey of more than 8 bits scaled to 8; DICOM as `pepr_edge.images.dicom` says; transparency
left out); to grey ("L") for channels 1, RGB for 3; resize to image_size_px x image_size_px with Pillow's filter of that name (none where
the size is right already); float32; / scale; - mean; / std (per channel); NCHW. Anyone can redo it from the manifest alone.
"""

from __future__ import annotations

import stat
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from pepr_edge.errors import ImageError
from pepr_edge.images import dicom
from pepr_edge.records import Interpolation, Preprocess
from pepr_edge.untrusted.documents import shown

# Of all that Pillow knows, no more than images come in: a decoder that is not asked cannot be attacked (one runs Ghostscript).
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM", "JPEG2000")
MODES = frozenset(
    {
        "1",
        "L",
        "LA",
        "P",
        "PA",
        "RGB",
        "RGBA",
        "RGBX",
        "CMYK",
        "YCbCr",
        "I",
        "I;16",
        "I;16L",
        "I;16B",
        "I;16N",
        "F",
    }
)
# A quarter of a GiB of RGB, where Pillow begins to warn: a small file can claim to hold much more.
MOST_PIXELS = 1024**3 // 4 // 3
FILTERS: dict[str, Image.Resampling] = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def decode(file: str | Path | BinaryIO, *, shown_as: str = "") -> Image.Image:
    """Open an image file, whole, upright by its EXIF orientation. What it holds decides how it is read, whatever its name says.

    Of a file of several images the first one; of a multi-frame DICOM file the middle frame.

    Args:
        file: its path, or the file itself, open.
        shown_as: its name in an error; by default its path.
    Raises:
        ImageError: not an image, truncated, or too large to be decoded safely.
        DataError: a DICOM file, and what is needed to read it is not installed.
    """
    name = shown(shown_as or str(file))
    with _opened(file, name) as opened:
        start = opened.read(dicom.PREAMBLE_BYTES + len(dicom.MAGIC))
        opened.seek(0)
        if not start:
            raise ImageError(name, "empty, 0 bytes, expected an image")
        if start.endswith(dicom.MAGIC):
            return dicom.decode(opened, shown_as=name, most_pixels=MOST_PIXELS)
        image = _by_pillow(opened, name)
        if image is not None:
            return to_eight_bit(image, shown_as=name)
        if Path(name).suffix.lower() in dicom.SUFFIXES:  # some lack the preamble that says so
            opened.seek(0)
            return dicom.decode(opened, shown_as=name, most_pixels=MOST_PIXELS)
    raise ImageError(
        name, "not an image, expected PNG, JPEG, TIFF, DICOM or the like", "Convert or remove it."
    )


@contextmanager
def _opened(file: str | Path | BinaryIO, name: str) -> Iterator[BinaryIO]:
    if not isinstance(file, str | Path):
        yield file
        return
    try:
        kind = Path(file).stat().st_mode
        if stat.S_ISDIR(kind):
            raise ImageError(name, "a folder, expected an image file", "Give the files in it.")
        if not stat.S_ISREG(kind):
            raise ImageError(name, "neither a file nor a folder, expected an image file", "Remove it.")
        opened = open(file, "rb")  # noqa: SIM115 - closed below, where faults in what it holds are not taken for faults in opening it
    except FileNotFoundError:
        raise ImageError(name, "no such file", "Check the path.") from None
    except OSError as fault:
        reason = f"cannot be opened ({fault.strerror or type(fault).__name__})"
        raise ImageError(name, reason, "Check the path and its permissions.") from None
    with opened:
        yield opened


def _by_pillow(file: BinaryIO, name: str) -> Image.Image | None:
    """The image in a file of one of FORMATS, upright; None where it is of none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow's there are some for files that it reads rightly
            with Image.open(file, formats=FORMATS) as image:
                if image.width * image.height > MOST_PIXELS:
                    raise Image.DecompressionBombError
                if image.mode not in MODES:
                    raise ImageError(
                        name,
                        f"mode {image.mode}, expected grey, RGB, CMYK or a palette",
                        "Convert or remove it.",
                    )
                image.load()
                return ImageOps.exif_transpose(image)
    except UnidentifiedImageError:
        return None
    except ImageError:
        raise
    except Image.DecompressionBombError:
        raise ImageError(
            name, f"more than {MOST_PIXELS:,} pixels, too many to be safe", "Make it smaller, or remove it."
        ) from None
    except Exception as fault:  # a broken file can make a decoder raise anything
        said = str(fault).splitlines() or [type(fault).__name__]
        raise ImageError(name, f"the image is corrupt ({shown(said[0])})") from None


def to_eight_bit(image: Image.Image, *, shown_as: str) -> Image.Image:
    """Scale a grey image of up to 16 bits to 8; others are returned as they are.

    Pillow's own conversion clips at 255. The full range of the least of 8, 12 and 16 bits that holds the image's greatest value becomes
    0 to 255, rounded: so 12-bit detectors in 16-bit files keep their contrast, and the result depends on this image alone.

    Raises:
        ImageError: the values are not whole numbers from 0 to 65535.
    """
    if not image.mode.startswith(("I", "F")):
        return image
    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > 65535:
        found = f"mode {image.mode}, values {values.min()} to {values.max()}"
        raise ImageError(shown_as, f"{found}, expected 8 or 16 bits", "Convert or remove it.")
    full = next(full for full in (255, 4095, 65535) if values.max() <= full)
    levels = (np.arange(full + 1) * 255 + full // 2) // full
    return Image.fromarray(levels.astype(np.uint8)[values])


def to_pixels(
    image: Image.Image, *, channels: Literal[1, 3], image_size_px: int, interpolation: Interpolation
) -> NDArray[np.uint8]:
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
        to_pixels(
            decode(file),
            channels=spec.channels,
            image_size_px=spec.image_size_px,
            interpolation=spec.interpolation,
        )
        for file in files
    ]
    return to_tensor(np.stack(pixels), spec)
