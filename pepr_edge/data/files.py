"""Image files: recognise and decode them, and hash many of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from pepr_edge.data.source import Indices, Stamp
from pepr_edge.errors import ImageError
from pepr_edge.images import dicom
from pepr_edge.images.formats import file_format
from pepr_edge.images.preprocess import decode
from pepr_edge.run_dir.store import sha256_file
from pepr_edge.untrusted.files import IMAGE_BYTES
from pepr_edge.untrusted.paths import is_file

IMAGE_SUFFIXES = (
    frozenset(
        {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif", ".webp", ".pgm", ".ppm", ".pnm", ".jp2"}
    )
    | dicom.SUFFIXES
)
# The table of contents of a disc with DICOM files.
DICOMDIR = "DICOMDIR"
GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "F"})


def is_image(path: Path) -> bool:
    """True if a file is an image by its content, or claims to be one by its suffix.

    A file that only claims it is reported when it is read. So is an image of a format that is not read.
    """
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return True
    if path.name.upper() == DICOMDIR or not is_file(path):
        return False
    return file_format(path) is not None


def read_images(root: Path, names: Sequence[str], indices: Indices) -> Iterator[Image.Image | ImageError]:
    """Decode files one by one; yield the ImageError for a file that cannot be used.

    Raises:
        DataError: a package that is needed to read a file is not installed.
    """
    for index in indices:
        try:
            yield decode(root / names[index], shown_as=names[index])
        except ImageError as error:
            yield error


def is_grey(image: Image.Image) -> bool:
    """True if an image has no colour: a grey mode, or three equal channels."""
    if image.mode in GREY_MODES or image.mode.startswith("I;16"):
        return True
    red, green, blue = (np.asarray(band) for band in image.convert("RGB").split())
    return bool(np.array_equal(red, green) and np.array_equal(green, blue))


def tree_sha256(root: Path, names: Iterable[str]) -> str:
    """Return one SHA-256 over the sorted file names, each with its SHA-256, or why it has none."""
    digest = hashlib.sha256()
    for name in sorted(names):
        digest.update(f"{name}\0{_sha256(root / name)}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _sha256(path: Path) -> str:
    try:
        if not is_file(path):
            return "no file"
        # It is refused when it is read: hashing it would take minutes.
        return "too large" if path.stat().st_size > IMAGE_BYTES else sha256_file(path)
    except OSError:
        return "unreadable"


def stamp_files(root: Path, names: Sequence[str]) -> Stamp:
    """Return name, size and modification time of each file; -1 for size and time of a missing file.

    A missing file is reported later, when it is read.
    """
    stamp: Stamp = []
    for name in sorted(names):
        try:
            status = (root / name).stat()
        except OSError:
            stamp.append([name, -1, -1])
        else:
            stamp.append([name, status.st_size, status.st_mtime_ns])
    return stamp
