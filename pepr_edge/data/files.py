"""Image files: which files are images, how they are opened, and the hash of many."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from pepr_edge.data.source import Indices, Stamp
from pepr_edge.errors import ImageError
from pepr_edge.images import dicom
from pepr_edge.images.preprocess import decode
from pepr_edge.run_dir.store import sha256_file

IMAGE_SUFFIXES = (
    frozenset(
        {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif", ".webp", ".pgm", ".ppm", ".pnm", ".jp2"}
    )
    | dicom.SUFFIXES
)
GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "F"})


def is_image(path: Path) -> bool:
    """Whether a file's suffix says so or, where it has none but digits, as scanners name their files, its first bytes: DICOM."""
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        return True
    # DICOMDIR is the table of contents of a disc.
    return (
        not suffix.strip(".0123456789")
        and path.name.upper() != "DICOMDIR"
        and path.is_file()
        and _says_dicom(path)
    )


def _says_dicom(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(dicom.PREAMBLE_BYTES + len(dicom.MAGIC)).endswith(dicom.MAGIC)
    except OSError:
        return False


def read_images(root: Path, names: Sequence[str], indices: Indices) -> Iterator[Image.Image | ImageError]:
    """Decode files one by one; in the place of one that cannot be used, what is wrong with it.

    Raises:
        DataError: what is needed to read one is not installed.
    """
    for index in indices:
        try:
            yield decode(root / names[index], shown_as=names[index])
        except ImageError as fault:
            yield fault


def is_grey(image: Image.Image) -> bool:
    """Whether an image has no colour: a grey mode, or three equal channels."""
    if image.mode in GREY_MODES or image.mode.startswith("I;16"):
        return True
    red, green, blue = (np.asarray(band) for band in image.convert("RGB").split())
    return bool(np.array_equal(red, green) and np.array_equal(green, blue))


def tree_sha256(root: Path, names: Iterable[str]) -> str:
    """SHA-256 over the sorted names of files and the SHA-256 of each one's content, or that it cannot be read."""
    digest = hashlib.sha256()
    for name in sorted(names):
        digest.update(f"{name}\0{_sha256(root / name)}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _sha256(path: Path) -> str:
    try:
        return sha256_file(path) if path.is_file() else "no file"
    except OSError:
        return "unreadable"


def stamp_files(root: Path, names: Sequence[str]) -> Stamp:
    """Name, size and time of change of each file; -1 for both where there is none: whoever reads it will say so."""
    lines: Stamp = []
    for name in sorted(names):
        try:
            facts = (root / name).stat()
        except OSError:
            lines.append([name, -1, -1])
        else:
            lines.append([name, facts.st_size, facts.st_mtime_ns])
    return lines
