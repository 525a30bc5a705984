"""PNG files whose texts or colour profile are too large for Pillow: read the picture without them."""

from __future__ import annotations

import io
import struct
from typing import BinaryIO

SIGNATURE = b"\x89PNG\r\n\x1a\n"
# The chunks of the picture itself, and of its orientation.
PICTURE_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"eXIf", b"IEND")
TEXT_CHUNKS = (b"tEXt", b"zTXt", b"iTXt")
# Texts that may hold the orientation.
ORIENTATION_KEYS = (b"Raw profile type exif\0", b"XML:com.adobe.xmp\0")
MAX_TEXT_BYTES = 64 << 10


def picture_only(file: BinaryIO) -> io.BytesIO | None:
    """Return a PNG file without texts, profiles and other additions; None if it is no PNG file."""
    if file.read(len(SIGNATURE)) != SIGNATURE:
        return None
    parts = [SIGNATURE]
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind in PICTURE_CHUNKS or (kind in TEXT_CHUNKS and length <= MAX_TEXT_BYTES):
            body = file.read(length + 4)
            if kind in PICTURE_CHUNKS or body.startswith(ORIENTATION_KEYS):
                parts += [head, body]
        else:
            file.seek(length + 4, io.SEEK_CUR)
        if kind == b"IEND":
            break
    return io.BytesIO(b"".join(parts))
