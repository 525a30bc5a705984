"""Image to tensor: the same code in training and in the field.

The steps: decode (EXIF orientation applied; DICOM see `pepr_edge.images.dicom`; transparency dropped); grey
of more than 8 bits scaled to 8 by `grey_bits` (`pepr_edge.images.depth`); to grey ("L") for channels 1, RGB
for 3; resize to image_size_px x image_size_px with Pillow's filter of that name (unless the size is right
already); float32; / scale; - mean; / std (per channel); NCHW. Anyone can repeat them from the manifest alone.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from pepr_edge.errors import ImageError
from pepr_edge.images import depth, dicom, png
from pepr_edge.images.formats import DICOM, HEAD_BYTES, PILLOW_FORMATS, format_of, is_read, not_an_image
from pepr_edge.records import Interpolation, Preprocess
from pepr_edge.untrusted.files import IMAGE_BYTES, open_regular
from pepr_edge.untrusted.shown import one_line, shown

GREY_MODES = ("1", "L", "LA", "I", "I;16", "I;16L", "I;16B", "I;16N", "F")
COLOUR_MODES = ("P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
# 256 MiB of RGB, where Pillow begins to warn: a small file can claim to hold much more.
MAX_PIXELS = 1024**3 // 4 // 3
# TIFF's PhotometricInterpretation, and its value for grey where 0 is white.
PHOTOMETRIC = 262
WHITE_IS_ZERO_TAG = 0
# Formats of films. MPO, of phones, holds several pictures of one moment.
ANIMATED = ("GIF", "PNG", "WEBP")
# TIFF's NewSubfileType, and its bits for a smaller copy and for a mask.
SUBFILE_TYPE = 254
REDUCED = 1
MASK = 4
# libjpeg decodes lost blocks as this level.
LOST = 128
MIN_LOST_ROWS = 8
FILTERS: dict[str, Image.Resampling] = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


class Loaded(NamedTuple):
    """A decoded image, and the pixels that a model sees, uint8, shape (px, px, channels)."""

    image: Image.Image
    pixels: NDArray[np.uint8]


def decode(file: str | Path | BinaryIO, *, shown_as: str = "") -> Image.Image:
    """Decode an image file completely and turn it upright by its EXIF orientation.

    The content decides the format, not the name. Of a file with several images the first is decoded; of a
    multi-frame DICOM file the middle frame. A grey image of more than 8 bits stays deep, in mode I;16.

    Args:
        file: its path, or the open file.
        shown_as: its name in an error; by default its path.
    Raises:
        ImageError: not an image, truncated, or too large to be decoded safely.
        DataError: a DICOM file, and a package to read it is not installed.
    """
    name = shown(shown_as or str(file))
    with _opened(file, name) as opened:
        start = opened.read(HEAD_BYTES)
        opened.seek(0)
        if not start:
            raise ImageError(name, "empty, 0 bytes, expected an image")
        known = format_of(start)
        if known == DICOM:
            return dicom.decode(opened, shown_as=name, max_pixels=MAX_PIXELS)
        image = _decode_with_pillow(opened, name)
        if image is not None:
            return depth.checked(image, shown_as=name)
        if Path(name).suffix.lower() in dicom.SUFFIXES:  # old DICOM files have no preamble
            opened.seek(0)
            return dicom.decode(opened, shown_as=name, max_pixels=MAX_PIXELS)
    reason, remedy = not_an_image(start)
    if known is not None:
        reason = f"a {known} image{' of a kind' if is_read(known) else ''} that is not read"
    raise ImageError(name, f"{reason}, expected PNG, JPEG, TIFF, DICOM or the like", remedy)


@contextmanager
def _opened(file: str | Path | BinaryIO, name: str) -> Iterator[BinaryIO]:
    if not isinstance(file, str | Path):
        yield file
        return
    try:
        if Path(file).is_dir():
            raise ImageError(name, "a folder, expected an image file", "Give the files in it.")
        opened = open_regular(file)  # closed below; errors of its content are not caught here
    except FileNotFoundError:
        raise ImageError(name, "no such file", "Check the path.") from None
    except OSError as fault:
        reason = f"cannot be opened ({fault.strerror or type(fault).__name__})"
        raise ImageError(name, reason, "Check the path and its permissions.") from None
    except ValueError:  # a NUL byte
        raise ImageError(name, "no such file", "Check the path.") from None
    with opened:
        if os.fstat(opened.fileno()).st_size > IMAGE_BYTES:
            raise ImageError(name, f"larger than {IMAGE_BYTES >> 30} GiB, expected one picture or a film")
        yield opened


def _decode_with_pillow(file: BinaryIO, name: str) -> Image.Image | None:
    """Return the image in a file of one of PILLOW_FORMATS, upright; None if it has another format."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns about some files that it reads correctly
            return _loaded(file, name)
    except UnidentifiedImageError:
        return None
    except ImageError:
        raise
    except Image.DecompressionBombError:
        reason = f"more than {MAX_PIXELS:,} pixels, too many to be safe"
        raise ImageError(name, reason, "Make it smaller, or remove it.") from None
    except Exception as fault:  # a broken file can make a decoder raise anything
        raise ImageError(name, f"the image is corrupt ({one_line(fault)})") from None


def _loaded(file: BinaryIO, name: str) -> Image.Image:
    """Return the decoded image; of a PNG file with texts or a profile too large for Pillow without them."""
    try:
        return _load(file, name)
    except ValueError:
        file.seek(0)
        picture = png.picture_only(file)
        if picture is None:
            raise
        return _load(picture, name)


def _load(file: BinaryIO, name: str) -> Image.Image:
    with Image.open(file, formats=PILLOW_FORMATS) as image:
        if image.width * image.height > MAX_PIXELS:
            raise Image.DecompressionBombError
        if image.mode not in (*GREY_MODES, *COLOUR_MODES):
            reason = f"mode {image.mode}, expected grey, RGB, CMYK or a palette"
            raise ImageError(name, reason, "Convert or remove it.")
        holds_several = _holds_several(image)
        image.load()
        is_cut_off = _is_cut_off(image)
        # Pillow inverts 8 bits where white is zero, and no more than 8.
        is_inverted = image.format == "TIFF" and image.tag_v2.get(PHOTOMETRIC) == WHITE_IS_ZERO_TAG
        upright = ImageOps.exif_transpose(image)
        upright.info[depth.WHITE_IS_ZERO] = is_inverted and depth.is_deep(upright)
        upright.info[depth.SEVERAL_PICTURES] = holds_several
        upright.info[depth.CUT_OFF] = is_cut_off
        return upright


def _holds_several(image: Image.Image) -> bool:
    """True if a file holds more pictures than the first: pages or frames, no small copies or masks of it."""
    if image.format != "TIFF":
        return image.format in ANIMATED and bool(getattr(image, "is_animated", False))
    try:
        image.seek(1)
        return not image.tag_v2.get(SUBFILE_TYPE, 0) & (REDUCED | MASK)  # type: ignore[attr-defined]
    except Exception:  # no second page, or a broken one
        return False
    finally:
        image.seek(0)


def _is_cut_off(image: Image.Image) -> bool:
    """True if the lower end of a JPEG picture is the grey that a decoder puts in place of lost data."""
    if image.format not in ("JPEG", "MPO") or image.mode not in ("L", "RGB"):
        return False
    rows = max(image.height // 16, MIN_LOST_ROWS)
    if image.height < 2 * rows:
        return False
    lowest = image.crop((0, image.height - rows, image.width, image.height))
    colours = lowest.getcolors(1)  # None if there are more
    return colours is not None and colours[0][1] in (LOST, (LOST, LOST, LOST))


def to_pixels(
    image: Image.Image,
    *,
    channels: Literal[1, 3],
    image_size_px: int,
    interpolation: Interpolation,
    grey_bits: int | None = None,
    shown_as: str = "image",
) -> NDArray[np.uint8]:
    """Convert a decoded image to the model's channels and size.

    Args:
        image: as `decode` returns it.
        channels, image_size_px, interpolation: of the model's input.
        grey_bits: the depth of the set of a grey image of more than 8 bits; None: of this image alone.
        shown_as: its name in an error.
    Raises:
        ImageError: it has more than `grey_bits`.
    Returns:
        uint8, shape (image_size_px, image_size_px, channels).
    """
    if image.mode == "P":
        # The pixels are the same; Pillow warns if a palette with transparency is converted directly.
        image = image.convert("RGBA")
    image = depth.to_eight_bit(image, shown_as=shown_as, grey_bits=grey_bits)
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
    mean = np.asarray(spec.mean, np.float32)
    std = np.asarray(spec.std, np.float32)
    normalised = (pixels.astype(np.float32) / np.float32(spec.scale) - mean) / std
    return np.ascontiguousarray(normalised.transpose(0, 3, 1, 2))


def load_tensor(files: Iterable[str | Path], spec: Preprocess) -> NDArray[np.float32]:
    """Decode image files to the model's input, shape (n, channels, image_size_px, image_size_px)."""
    return to_tensor(np.stack([load(file, spec).pixels for file in files]), spec)


def load(file: str | Path, spec: Preprocess) -> Loaded:
    """Decode an image file, and return it with the pixels that a model sees."""
    image = decode(file)
    pixels = to_pixels(
        image,
        channels=spec.channels,
        image_size_px=spec.image_size_px,
        interpolation=spec.interpolation,
        grey_bits=spec.grey_bits,
        shown_as=shown(str(file)),
    )
    return Loaded(image, pixels)
