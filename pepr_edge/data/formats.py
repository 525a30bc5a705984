"""The data formats, and recognition of a source's format."""

from __future__ import annotations

import difflib
from dataclasses import asdict
from pathlib import Path

from pepr_edge.data import folder, manifest, medmnist, phantom, tensor
from pepr_edge.data.source import DataSettings, Format, ImageSource
from pepr_edge.errors import DataError
from pepr_edge.run_dir.keys import STAGE_REVISIONS
from pepr_edge.run_dir.store import stage_key

FORMATS: dict[str, Format] = {
    "phantom": phantom,
    "medmnist": medmnist,
    "folder": folder,
    "csv": manifest,
    "tensor": tensor,
}


def recognise(source: str) -> str:
    """Return the name in FORMATS of the format of a recipe's `source`.

    Raises:
        DataError: no format recognises it.
    """
    for name, format_ in FORMATS.items():
        if format_.recognises(source):
            return name
    expected = (
        "phantom, the name of a MedMNIST set, or the path of an image folder or of an .npz, .csv or .pt file"
    )
    if Path(source).exists():
        raise DataError(
            f"{source}: not a folder or a file of a known format, expected {expected}. "
            "Convert it to one of these."
        )
    similar = difflib.get_close_matches(source.lower(), ["phantom", *medmnist.INFO], n=1)
    hint = f"Did you mean {similar[0]}?" if similar else "Check the path."
    raise DataError(f"{source}: no such file or folder, expected {expected}. {hint}")


def open_source(settings: DataSettings) -> ImageSource:
    """Open a source: labels, splits and hash, but no pixels yet. Raises DataError."""
    return FORMATS[recognise(settings.source)].open_source(settings)


def fingerprint(settings: DataSettings) -> str:
    """Return a hash of the settings and of the names, sizes and times of the source's files.

    It shows cheaply whether the data must be prepared again.

    Raises:
        DataError: the source is not found, or a CSV manifest is faulty.
    """
    stamp = FORMATS[recognise(settings.source)].stamp(settings)
    return stage_key("data", STAGE_REVISIONS["data"], asdict(settings), stamp)


def source_files(settings: DataSettings) -> list[Path]:
    """Return the files of a source on the disk, images and manifest, by the paths that it names.

    Raises:
        DataError: as for `fingerprint`.
    """
    source = Path(settings.source)
    if not source.exists():
        return []
    root = source if source.is_dir() else source.parent
    stamp = FORMATS[recognise(settings.source)].stamp(settings)
    return [root / str(entry[0]) for entry in stamp if isinstance(entry, list)]
