"""Image files: which files are images, how they are opened, and the hash of many."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from pepr_edge.data.source import Stamp
from pepr_edge.errors import DataError
from pepr_edge.store import sha256_file

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif", ".webp", ".pgm", ".ppm", ".pnm", ".jp2"})
GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "F"})


def is_grey(image: Image.Image) -> bool:
    """Whether an image has no colour: a grey mode, or three equal channels."""
    if image.mode in GREY_MODES or image.mode.startswith("I;16"):
        return True
    red, green, blue = (np.asarray(band) for band in image.convert("RGB").split())
    return bool(np.array_equal(red, green) and np.array_equal(green, blue))


def tree_sha256(root: Path, names: Iterable[str]) -> str:
    """SHA-256 over the sorted names of files and the SHA-256 of each one's content."""
    digest = hashlib.sha256()
    for name in sorted(names):
        digest.update(f"{name}\0{sha256_file(root / name)}\n".encode())
    return digest.hexdigest()


def stamp_files(root: Path, names: Sequence[str]) -> Stamp:
    """Name, size and time of change of each file.

    Raises:
        DataError: one cannot be read.
    """
    lines: Stamp = []
    for name in sorted(names):
        try:
            facts = (root / name).stat()
        except OSError as fault:
            raise DataError(f"{root / name}: {fault.strerror or fault}. Check the path and its permissions.") from None
        lines.append([name, facts.st_size, facts.st_mtime_ns])
    return lines
