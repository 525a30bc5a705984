"""The data formats, and which of them a source is."""

from __future__ import annotations

import difflib
from dataclasses import asdict
from pathlib import Path

from pepr_edge.data import folder, manifest, medmnist, phantom, tensor
from pepr_edge.data.source import DataSettings, Format, ImageSource
from pepr_edge.errors import DataError
from pepr_edge.run_dir.store import stage_key

FORMATS: dict[str, Format] = {
    "phantom": phantom,
    "medmnist": medmnist,
    "folder": folder,
    "csv": manifest,
    "tensor": tensor,
}

# Raised when the same source would be made into other pixels or splits than before.
REVISION = 2


def recognise(source: str) -> str:
    """The name in FORMATS of what a recipe's `source` is.

    Raises:
        DataError: it is none of them.
    """
    for name, format_ in FORMATS.items():
        if format_.recognises(source):
            return name
    expected = (
        "phantom, the name of a MedMNIST set, or the path of an image folder or of an .npz, .csv or .pt file"
    )
    if Path(source).exists():
        raise DataError(
            f"{source}: neither a folder nor a file of a known kind, expected {expected}. Convert it to one of these."
        )
    near = difflib.get_close_matches(source.lower(), ["phantom", *medmnist.INFO], n=1)
    raise DataError(
        f"{source}: no such file or folder, expected {expected}. "
        + (f"Did you mean {near[0]}?" if near else "Check the path.")
    )


def open_source(settings: DataSettings) -> ImageSource:
    """Open a source: labels, splits and hash, but no pixels yet. Raises DataError."""
    return FORMATS[recognise(settings.source)].open_source(settings)


def fingerprint(settings: DataSettings) -> str:
    """Hash of the settings and of the names, sizes and times of the source's files: tells cheaply whether data must be made again.

    Raises:
        DataError: the source cannot be found, or a CSV manifest is faulty.
    """
    return stage_key("data", REVISION, asdict(settings), FORMATS[recognise(settings.source)].stamp(settings))
