"""A CSV manifest: columns path and label, optionally split and group.

A group is a patient or lesion whose images must stay in the same split.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
from PIL import Image

from pepr_edge.data.files import read_images, stamp_files, tree_sha256
from pepr_edge.data.source import (
    SPLIT_NAMES,
    DataSettings,
    ImageSource,
    Indices,
    Stamp,
    check_labels,
    splits_by_name,
)
from pepr_edge.errors import DataError, ImageError
from pepr_edge.records import Split
from pepr_edge.untrusted.documents import shown

REQUIRED = ("path", "label")
OPTIONAL = ("split", "group")


@dataclass(frozen=True)
class ManifestRow:
    """A line of the manifest. `path` is the image, relative to the manifest, with forward slashes."""

    line: int
    path: str
    label: str
    split: Split | None
    group: str | None


def recognises(source: str) -> bool:
    """True if it is an existing .csv file."""
    return source.lower().endswith(".csv") and Path(source).is_file()


def stamp(settings: DataSettings) -> Stamp:
    """Return name, size and time of the manifest and of every image in it."""
    path = Path(settings.source)
    return stamp_files(path.parent, [path.name, *(row.path for row in _checked(path, settings))])


def open_source(settings: DataSettings) -> ImageSource:
    """Read a manifest; class names are sorted, by value if all are numbers.

    Raises:
        DataError: see `parse`; an image is missing, or a group is in two splits.
    """
    path = Path(settings.source)
    rows = _checked(path, settings)
    names = sorted({row.label for row in rows})
    labels = tuple(sorted(names, key=int) if all(name.isdecimal() for name in names) else names)
    check_labels(labels, str(path))

    def read(indices: Indices) -> Iterator[Image.Image | ImageError]:
        return read_images(path.parent, [row.path for row in rows], indices)

    return ImageSource(
        name=shown(path.stem),
        format="csv",
        sha256=tree_sha256(path.parent, [path.name, *(row.path for row in rows)]),
        labels=labels,
        targets=np.array([labels.index(row.label) for row in rows], np.int64),
        read=read,
        given=splits_by_name([row.split for row in rows]) if rows[0].split else None,
        groups=_group_numbers(rows),
    )


def _group_numbers(rows: list[ManifestRow]) -> Indices | None:
    """Return the group number of each row; None without a group column."""
    names = [row.group for row in rows if row.group is not None]
    return np.unique(names, return_inverse=True)[1].astype(np.int64) if names else None


def parse(path: Path) -> list[ManifestRow]:
    """Read and check the lines of a manifest; the images are not opened.

    Returns:
        At least one row, in the order of the file.
    Raises:
        DataError: not UTF-8 CSV, a missing or duplicate column, an empty or unknown value, a path outside the
            manifest's folder, or a duplicate path.
    """
    rows: list[ManifestRow] = []
    seen: dict[str, int] = {}
    for line, cells in _cells(path):
        row = ManifestRow(
            line=line,
            path=_inside(path, line, cells["path"]),
            label=_filled(path, line, "label", cells["label"]),
            split=_split(path, line, cells["split"]) if "split" in cells else None,
            group=_filled(path, line, "group", cells["group"]) if "group" in cells else None,
        )
        if row.path in seen:
            raise DataError(
                f"{path}: line {line}: {shown(row.path)} is also in line {seen[row.path]}, "
                "expected each image once. Remove one of the lines."
            )
        seen[row.path] = line
        rows.append(row)
    if not rows:
        raise DataError(
            f"{path}: no images, expected a header line path,label and one line per image. Add lines."
        )
    return rows


def _cells(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the number and the known cells of each line after the header.

    The delimiter is a comma; or a semicolon, if the header has semicolons and no comma.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            file.seek(0)
            delimiter = ";" if ";" in first and "," not in first else ","
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            header = [name.strip().lower() for name in next(reader, [])]
            _check_header(path, header)
            for values in reader:
                if not values:
                    continue
                if len(values) != len(header):
                    raise DataError(
                        f"{path}: line {reader.line_num}: {len(values)} values, expected {len(header)}. "
                        "Quote values that contain commas."
                    )
                cells = dict(zip(header, values, strict=True))
                known = {name: cells[name].strip() for name in (*REQUIRED, *OPTIONAL) if name in cells}
                yield reader.line_num, known
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a CSV file in UTF-8 ({error}). Save it as CSV, UTF-8.") from None


def _check_header(path: Path, header: list[str]) -> None:
    for name in (*REQUIRED, *OPTIONAL):
        if header.count(name) > 1:
            raise DataError(f"{path}: line 1: duplicate column {name!r}, expected it once. Remove one.")
    missing = [name for name in REQUIRED if name not in header]
    if missing:
        names = " and ".join(map(repr, missing))
        raise DataError(
            f"{path}: line 1: no column {names}, expected path,label and optionally split,group. "
            "Add a header line."
        )


def _filled(path: Path, line: int, column: str, value: str) -> str:
    if not value:
        raise DataError(f"{path}: line {line}: empty {column}, expected a value in each line. Fill it in.")
    return value


def _split(path: Path, line: int, value: str) -> Split:
    if value.lower() not in SPLIT_NAMES:
        raise DataError(
            f"{path}: line {line}: split {value!r}, expected train, val or test. "
            "Correct it, or leave the column out."
        )
    return SPLIT_NAMES[value.lower()]


def _inside(path: Path, line: int, value: str) -> str:
    """Return a path inside the manifest's folder, normalised."""
    name = PurePosixPath(_filled(path, line, "path", value).replace("\\", "/"))
    absolute = name.is_absolute() or bool(PureWindowsPath(value).drive)
    if absolute or ".." in name.parts or "\0" in value or name == PurePosixPath("."):
        raise DataError(
            f"{path}: line {line}: path {value!r}, expected a path inside the manifest's folder. "
            "Move the images there."
        )
    return name.as_posix()


def _checked(path: Path, settings: DataSettings) -> list[ManifestRow]:
    """Return the rows; each image exists inside the manifest's folder and no group is in two splits.

    With on_bad_image = "skip", a missing image is not an error here but counts as a bad image later.
    """
    rows = parse(path)
    first_of_group: dict[str, ManifestRow] = {}
    root = path.parent.resolve()
    for row in rows:
        if not (path.parent / row.path).resolve().is_relative_to(root):
            raise DataError(
                f"{path}: line {row.line}: {shown(row.path)}: a link out of the manifest's folder. "
                "Put the images themselves there."
            )
        if settings.on_bad_image == "fail" and not (path.parent / row.path).is_file():
            raise DataError(
                f"{path}: line {row.line}: {shown(row.path)}: no such file. "
                "Paths are relative to the manifest's folder."
            )
        if row.group is None or row.split is None:
            continue
        first = first_of_group.setdefault(row.group, row)
        if first.split != row.split:
            raise DataError(
                f"{path}: line {row.line}: group {row.group!r} is in {row.split}, but in line {first.line} "
                f"in {first.split}, expected each group in one split. Move its images to one split."
            )
    return rows
