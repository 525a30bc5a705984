"""The compressed pixels of a DICOM file: who decodes them, and how large the picture is that they claim to hold."""

from __future__ import annotations

import importlib.util
import struct
from typing import TYPE_CHECKING

from pepr_edge.errors import DataError, ImageError

if TYPE_CHECKING:
    from pydicom.uid import UID

# Which package decodes a compressed transfer syntax; those that are missing here pydicom decodes with Pillow or by itself.
_LIBJPEG, _OPENJPEG = ("libjpeg", "pylibjpeg-libjpeg"), ("openjpeg", "pylibjpeg-openjpeg")
BASELINE = "1.2.840.10008.1.2.4.50"
DECODERS = {
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 57, 70, 80, 81)), _LIBJPEG),
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{number}" for number in (90, 91, 201, 202, 203)), _OPENJPEG),
}


def check_decoder(syntax: UID, name: str) -> None:
    """Refuse a transfer syntax that nothing here decodes. Only what the standard calls it is shown.

    Raises:
        ImageError: pydicom knows no decoder of it.
        DataError: it does, but that is not installed.
    """
    from pydicom.pixels import get_decoder

    words = (
        f"{syntax.name} ({syntax})"
        if syntax.name != syntax
        else "a transfer syntax that is not of the standard"
    )
    try:
        available = get_decoder(syntax).is_available
    except NotImplementedError:
        raise ImageError(
            name, f"compressed as {words}, which pydicom cannot decode", "Convert or remove it."
        ) from None
    if not available:
        raise DataError(
            f"{name}: compressed as {words}, and no decoder for it is installed. Run pip install pylibjpeg {DECODERS[syntax][1]}"
        )


def undecoded(syntax: UID, name: str) -> DataError:
    """The error for pixels that no decoder here has made anything of: of these Pillow's takes but a part, save for baseline JPEG."""
    module, package = DECODERS.get(syntax, ("", ""))
    if module and syntax != BASELINE and importlib.util.find_spec(module) is None:
        return DataError(
            f"{name}: its pixels, {syntax.name}, cannot be decoded as it is. Run pip install pylibjpeg {package}"
        )
    return ImageError(name, "its pixels cannot be decoded")


def encoded_size(stream: bytes) -> tuple[int, int]:
    """Width and height in the header of a JPEG, JPEG-LS or JPEG 2000 stream, whatever the file says of it; (0, 0) where there is none."""
    start = _codestream(stream)
    if stream[start : start + 4] == b"\xff\x4f\xff\x51":  # SOC, SIZ: JPEG 2000
        right, bottom, left, top = struct.unpack_from(">IIII", stream, start + 8)
        return right - left, bottom - top
    at = 2
    while at + 9 <= len(stream) and stream[at] == 0xFF:
        marker, length = stream[at + 1], int.from_bytes(stream[at + 2 : at + 4], "big")
        if marker == 0xF7 or (
            0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)
        ):  # SOF, but for DHT, JPG and DAC
            height, width = struct.unpack_from(">HH", stream, at + 5)
            return width, height
        at += 2 + length
    return 0, 0


def _codestream(stream: bytes) -> int:
    """Where JPEG 2000 begins: behind the boxes of a JP2 file, if it is one. pydicom never returns from a box without a length."""
    at = 12 if stream.startswith(b"\0\0\0\x0cjP  ") else 0
    while at and at < len(stream):
        length = int.from_bytes(stream[at : at + 4], "big")
        if stream[at + 4 : at + 8] == b"jp2c":
            return at + 8
        if length < 8:
            raise ValueError("a box without a length")
        at += length
    return at
