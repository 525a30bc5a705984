"""The compressed pixels of a DICOM file: their decoders, and the picture size in their header."""

from __future__ import annotations

import importlib.util
import struct
from typing import TYPE_CHECKING

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
