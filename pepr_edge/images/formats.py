"""Which format a file has, by its first bytes. The suffix of a name says nothing certain."""

from __future__ import annotations

import re
from pathlib import Path

from pepr_edge.untrusted.files import open_regular

PREAMBLE_BYTES = 128
DICOM_MAGIC = b"DICM"
HEAD_BYTES = PREAMBLE_BYTES + len(DICOM_MAGIC)
DICOM = "DICOM"
# The formats that are read, as Pillow names them, and DICOM.
PILLOW_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM", "JPEG2000")

_STARTS: dict[bytes, str] = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"II*\x00": "TIFF",
    b"MM\x00*": "TIFF",
    b"II+\x00": "TIFF",
    b"MM\x00+": "TIFF",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"\x00\x00\x00\x0cjP  \r\n\x87\n": "JPEG2000",
    b"\xff\x4f\xff\x51": "JPEG2000",
    b"\x00\x00\x00\x0cJXL \r\n\x87\n": "JPEG XL",
    b"\xff\x0a": "JPEG XL",
    b"8BPS": "Photoshop",
    b"\x76\x2f\x31\x01": "OpenEXR",
    b"SIMPLE  =": "FITS",
}
# Brands of files of the ISO base media format.
_BRANDS = {
    b"heic": "HEIC", b"heix": "HEIC", b"heim": "HEIC", b"heis": "HEIC", b"hevc": "HEIC", b"mif1": "HEIC",
    b"msf1": "HEIC", b"avif": "AVIF", b"avis": "AVIF",
}  # fmt: skip
_NETPBM = re.compile(rb"P[1-6]\s+(?:\d|#)")
# The first element of a DICOM file without preamble: of group 2 or 8, with a value representation, or, where
# that is implicit, with the length of the group.
_BARE_DICOM = re.compile(
    rb"[\x02\x08]\x00..(?:AE|CS|DA|DT|LO|OB|SH|TM|UI|UL)|\x08\x00\x00\x00\x04\x00\x00\x00"
    rb"|\x08\x00[\x05\x08\x16\x18]\x00[\x04-\x40]\x00\x00\x00",
    re.DOTALL,
)


def format_of(head: bytes) -> str | None:
    """Return the format of an image file by its first HEAD_BYTES, also of one that is not read; else None."""
    if head[PREAMBLE_BYTES:HEAD_BYTES] == DICOM_MAGIC or _BARE_DICOM.match(head):
        return DICOM
    for start, name in _STARTS.items():
        if head.startswith(start):
            return name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    # Two letters alone would also be the start of a text.
    if head[:2] == b"BM" and head[6:10] == bytes(4):
        return "BMP"
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12])
    return "PPM" if _NETPBM.match(head) else None


def not_an_image(head: bytes) -> tuple[str, str]:
    """Return what a file without an image is, by its first bytes, and the remedy."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS, not the image", "Fetch the image: git lfs pull."
    if text.startswith((b"<!doctype html", b"<html")):
        return "a web page, not an image", "Download the image again."
    return "not an image", "Convert or remove it."


def is_read(name: str | None) -> bool:
    """True if files of a format are read."""
    return name == DICOM or name in PILLOW_FORMATS


def file_format(path: Path) -> str | None:
    """Return the format of an image file, or None if it has none or cannot be opened."""
    try:
        with open_regular(path) as file:
            return format_of(file.read(HEAD_BYTES))
    except OSError:
        return None
