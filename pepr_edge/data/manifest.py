"""A CSV manifest: columns path and label, optionally split and group.

What other lists of images would do alike is in `image_list`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from pepr_edge.data import image_list
from pepr_edge.data.image_list import MAX_LIST_BYTES, OPTIONAL, REQUIRED, ListedImage
from pepr_edge.data.source import DataSettings, ImageSource, Stamp
from pepr_edge.errors import DataError
from pepr_edge.untrusted.paths import is_file
from pepr_edge.untrusted.read import read_file

ACCEPTS: str = "a .csv file that lists images"
SUFFIXES: tuple[str, ...] = (".csv",)


def recognises(source: str) -> bool:
    """True if it is an existing .csv file."""
    return source.lower().endswith(SUFFIXES) and is_file(source)


def stamp(settings: DataSettings) -> Stamp:
    """Return name, size and time of the manifest and of every image in it."""
    path = Path(settings.source)
    return image_list.stamp_list(path, _checked(path, settings))


def open_source(settings: DataSettings) -> ImageSource:
    """Read a manifest.

    Raises:
        DataError: see `parse`; an image is missing, or a group is in two splits.
    """
    path = Path(settings.source)
    return image_list.open_list(path, _checked(path, settings), format_="csv")


def parse(path: Path) -> list[ListedImage]:
    """Read and check the lines of a manifest; the images are not opened.

    Returns:
        At least one image, in the order of the file.
    Raises:
        DataError: not a readable CSV file in UTF-8, a missing or duplicate column, an empty or unknown value,
            a path outside the manifest's folder, or a duplicate path.
    """
    return image_list.listed(path, _cells(path))


def _checked(path: Path, settings: DataSettings) -> list[ListedImage]:
    images = parse(path)
    image_list.check_files(path, images, settings)
    return images


def _cells(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the number and the known cells of each line after the header.

    The delimiter is a comma; or a semicolon, if the header has semicolons and no comma.
    """
    content = read_file(path, MAX_LIST_BYTES, DataError, "a CSV file that lists images. Check the path.")
    try:
        with io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig", newline="") as file:
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
