"""The data formats, and recognition of a source's format."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from pepr_edge.data import folder, manifest, medmnist, medmnist_sets, phantom, tensor
from pepr_edge.data.kinds import with_kind
from pepr_edge.data.source import DataSettings, Format, ImageSource
from pepr_edge.data.subgroups import check_format
from pepr_edge.errors import DataError
from pepr_edge.run_dir.keys import STAGE_REVISIONS
from pepr_edge.run_dir.store import stage_key
from pepr_edge.tasks import DEFAULT_TASK, TaskKind
from pepr_edge.untrusted.paths import exists
from pepr_edge.untrusted.shown import shown

FORMATS: dict[str, Format] = {
    "phantom": phantom,
    "medmnist": medmnist,
    "folder": folder,
    "csv": manifest,
    "tensor": tensor,
}
# Formats whose files tell the kind of the task; in others the recipe does, or there is one label an image.
KIND_OF: dict[str, Callable[[DataSettings], TaskKind | None]] = {
    "medmnist": medmnist.known_kind,
    "tensor": tensor.known_kind,
}
# Settings that are no part of the fingerprint at these defaults, as they were added later.
NEW_SETTINGS = {"kind": "auto", "order": (), "findings": (), "separator": ""}
_PHRASES = tuple(format_.ACCEPTS for format_ in FORMATS.values())
# What `source` may be, for help texts and errors.
SOURCES = f"{', '.join(_PHRASES[:-1])}, or {_PHRASES[-1]}"


def expanded(source: str) -> str:
    """Return a source with its home (~) replaced by the folder, as a shell does."""
    if not source.startswith("~") or exists(source):
        return source
    try:
        return str(Path(source).expanduser())
    except RuntimeError:  # nobody of that name
        return source


def recognise(source: str) -> str:
    """Return the key in FORMATS of the format of a recipe's `source`.

    Raises:
        DataError: no format recognises it.
    """
    for key, format_ in FORMATS.items():
        if format_.recognises(source):
            return key
    name = shown(source) or '""'
    if exists(source):
        raise DataError(
            f"{name}: not a folder or a file of a known format, expected {SOURCES}. {_how_to_convert(source)}"
        )
    similar = difflib.get_close_matches(source.lower(), ["phantom", *medmnist_sets.INFO], n=1)
    hint = f"Did you mean {similar[0]}?" if similar else "Check the path."
    if source.lower().endswith("3d"):
        hint = "Sets of volumes (3-D) cannot be used."
    if set(source) & set("\b\t\n\f\r"):  # of a Windows path in double quotes
        hint = "In TOML a backslash in quotes has a meaning of its own: write 'C:\\scans' or \"C:/scans\"."
    raise DataError(f"{name}: no such file or folder, expected {SOURCES}. {hint}")


def _how_to_convert(source: str) -> str:
    """Return what to do with a file that no format reads, by its suffix."""
    lowered = source.lower()
    if lowered.endswith((".xlsx", ".xls", ".ods")):
        return "Save the table as CSV, UTF-8, with a row for each image."
    if lowered.endswith((".zip", ".tar", ".gz", ".tgz", ".7z", ".rar")):
        return "Unpack it, and give the folder."
    return "Convert it to one of these."


def open_source(settings: DataSettings) -> ImageSource:
    """Open a source: labels, kind of task, splits and hash, but no pixels yet. Raises DataError."""
    source = FORMATS[recognise(settings.source)].open_source(settings)
    return with_kind(check_format(source, settings), settings)


def known_kind(settings: DataSettings) -> TaskKind:
    """Return the kind of the task before the source is opened; one label an image if nothing says otherwise.

    Cheap: reads no image, and no labels of folders and tables.

    Raises:
        DataError: the source is not found, or is damaged.
    """
    if settings.kind != "auto":
        return settings.kind
    if settings.order:
        return "ordinal"
    key = recognise(settings.source)
    if key not in KIND_OF:
        return DEFAULT_TASK
    return KIND_OF[key](settings) or DEFAULT_TASK


def fingerprint(settings: DataSettings) -> str:
    """Return a hash of the settings and of the names, sizes and times of the source's files.

    It shows cheaply whether the data must be prepared again.

    Raises:
        DataError: the source is not found, or a list of images is faulty.
    """
    stamp = FORMATS[recognise(settings.source)].stamp(settings)
    values = {name: value for name, value in asdict(settings).items() if value != NEW_SETTINGS.get(name)}
    return stage_key("data", STAGE_REVISIONS["data"], values, stamp)


def source_files(settings: DataSettings) -> list[Path]:
    """Return the files of a source on the disk, images and their list, by the paths that it names.

    Raises:
        DataError: as for `fingerprint`.
    """
    if not exists(settings.source):
        return []
    source = Path(settings.source)
    root = source if source.is_dir() else source.parent
    stamp = FORMATS[recognise(settings.source)].stamp(settings)
    return [root / str(entry[0]) for entry in stamp if isinstance(entry, list)]
