"""The compressed pixels of a DICOM file: their decoders, and the picture size in their header."""

from __future__ import annotations

import importlib.util
import struct
from collections.abc import Iterator
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from pepr_edge.errors import DataError, ImageError

if TYPE_CHECKING:
    from pydicom.uid import UID

# Module and package that decode a compressed transfer syntax. pydicom decodes the others with Pillow or by
# itself.
_LIBJPEG = ("libjpeg", "pylibjpeg-libjpeg")
_OPENJPEG = ("openjpeg", "pylibjpeg-openjpeg")
BASELINE = "1.2.840.10008.1.2.4.50"
DECODERS = {
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 57, 70, 80, 81)), _LIBJPEG),
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{number}" for number in (90, 91, 201, 202, 203)), _OPENJPEG),
}
JPEG_2000_START = b"\xff\x4f\xff\x51"  # markers SOC and SIZ
# JPEG markers SOF0 to SOF15 hold the size, except DHT, JPG and DAC; SOF55 is that of JPEG-LS.
SIZE_MARKERS = ({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}) | {0xF7}

START_OF_SCAN = 0xDA
ADOBE_MARKER = 0xEE
ADOBE_TRANSFORM = 11  # position of the byte that names the colours
# Mean distance of chroma from its middle; standard deviation of chroma as a share of luma's.
MAX_CHROMA = 64
YCBCR_SPREAD = 0.4
RGB_SPREAD = 0.55


def check_decoder(syntax: UID, name: str) -> None:
    """Refuse a transfer syntax without a decoder. The error shows its standard name, not text of the file.

    Raises:
        ImageError: pydicom knows no decoder for it.
        DataError: the decoder is not installed.
    """
    from pydicom.pixels import get_decoder

    syntax_name = "a transfer syntax that is not in the standard"
    if syntax.name != syntax:
        syntax_name = f"{syntax.name} ({syntax})"
    try:
        is_available = get_decoder(syntax).is_available
    except NotImplementedError:
        reason = f"compressed as {syntax_name}, which pydicom cannot decode"
        raise ImageError(name, reason, "Convert or remove it.") from None
    if not is_available:
        raise DataError(
            f"{name}: compressed as {syntax_name}, and no decoder for it is installed. "
            f"Run pip install pylibjpeg {DECODERS[syntax][1]}"
        )


def decoding_error(syntax: UID, name: str) -> DataError:
    """Return the error for pixels that the installed decoders cannot decode.

    It names the package to install if that is missing: Pillow decodes these syntaxes in part, except baseline
        JPEG.
    """
    module, package = DECODERS.get(syntax, ("", ""))
    if module and syntax != BASELINE and importlib.util.find_spec(module) is None:
        return DataError(
            f"{name}: its pixels, {syntax.name}, need another decoder. Run pip install pylibjpeg {package}"
        )
    return ImageError(name, "its pixels cannot be decoded")


def adobe_transform(stream: bytes) -> int | None:
    """Return what Adobe's marker of a JPEG stream says of its colours: 0 as they are, 1 YCbCr; else None."""
    for marker, segment in _segments(stream):
        if marker == ADOBE_MARKER and segment.startswith(b"Adobe") and len(segment) > ADOBE_TRANSFORM:
            return segment[ADOBE_TRANSFORM]
    return None


def has_subsampled_chroma(stream: bytes) -> bool:
    """True if the components of a JPEG stream have different numbers of samples: it holds YCbCr."""
    for marker, segment in _segments(stream):
        if marker in SIZE_MARKERS and len(segment) >= 15 and segment[5] == 3:
            return len({segment[7 + 3 * number] for number in range(3)}) > 1
    return False


def looks_like_ycbcr(stream: bytes) -> bool | None:
    """Return whether the planes of a JPEG stream look like YCbCr, or like RGB; None if neither is clear.

    Chroma varies less than luma, around its middle. Red, green and blue vary alike.
    """
    with Image.open(BytesIO(stream), formats=("JPEG",)) as image:
        image.draft("YCbCr", image.size)  # the planes as they are
        planes = np.asarray(image, np.float32).reshape(-1, 3)
    first, second, third = planes.std(axis=0)
    spread = (second + third) / 2 / max(float(first), 1e-6)
    is_centred = bool((np.abs(planes[:, 1:].mean(axis=0) - 128) < MAX_CHROMA).all())
    if not is_centred or spread > RGB_SPREAD:
        return False
    return True if spread < YCBCR_SPREAD else None


def _segments(stream: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield marker and content of the segments of a JPEG stream before its pixels."""
    position = 2
    while position + 4 <= len(stream) and stream[position] == 0xFF:
        marker = stream[position + 1]
        length = int.from_bytes(stream[position + 2 : position + 4], "big")
        if marker == START_OF_SCAN or length < 2:
            return
        yield marker, stream[position + 4 : position + 2 + length]
        position += 2 + length


def encoded_size(stream: bytes) -> tuple[int, int]:
    """Return width and height in the header of a JPEG, JPEG-LS or JPEG 2000 stream; (0, 0) if it has none."""
    start = _codestream_start(stream)
    if stream[start : start + 4] == JPEG_2000_START:
        right, bottom, left, top = struct.unpack_from(">IIII", stream, start + 8)
        return right - left, bottom - top
    position = 2
    while position + 9 <= len(stream) and stream[position] == 0xFF:
        if stream[position + 1] in SIZE_MARKERS:
            height, width = struct.unpack_from(">HH", stream, position + 5)
            return width, height
        position += 2 + int.from_bytes(stream[position + 2 : position + 4], "big")
    return 0, 0


def _codestream_start(stream: bytes) -> int:
    """Return where JPEG 2000 begins: after the boxes of a JP2 file, else at 0.

    Raises:
        ValueError: a box has no length. pydicom would loop for ever.
    """
    position = 12 if stream.startswith(b"\0\0\0\x0cjP  ") else 0
    while position and position < len(stream):
        length = int.from_bytes(stream[position : position + 4], "big")
        if stream[position + 4 : position + 8] == b"jp2c":
            return position + 8
        if length < 8:
            raise ValueError("a box without a length")
        position += length
    return position
