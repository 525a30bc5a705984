"""A CSV manifest: columns path and label, optionally split and group; or columns that the recipe names.

How tables are read is in `table`, how columns are chosen in `columns`. What other lists of images would do
alike is in `image_list`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from pepr_edge.data import image_list
from pepr_edge.data.columns import ROLES, Chosen, choose, subgroup_role
from pepr_edge.data.finding_columns import choose_findings
from pepr_edge.data.image_list import ListedImage
from pepr_edge.data.source import DataSettings, ImageSource, Stamp
from pepr_edge.data.subgroups import check_groups
from pepr_edge.data.table import Table, column_key, read_table
from pepr_edge.untrusted.paths import is_file

ACCEPTS: str = "a .csv or .tsv file that lists images"
SUFFIXES: tuple[str, ...] = (".csv", ".tsv")


def recognises(source: str) -> bool:
    """True if it is an existing .csv or .tsv file."""
    return source.lower().endswith(SUFFIXES) and is_file(source)


def stamp(settings: DataSettings) -> Stamp:
    """Return name, size and time of the manifest and of every image in it."""
    path = Path(settings.source)
    located = image_list.check_files(path, _opened(path, settings).images, settings)
    return image_list.stamp_list(path, located.images)


def open_source(settings: DataSettings) -> ImageSource:
    """Read a manifest.

    Raises:
        DataError: see `parse`; an image is missing, or a group is in two splits.
    """
    path = Path(settings.source)
    table, chosen, order, images = _opened(path, settings)
    located = image_list.check_files(path, images, settings)
    source = image_list.open_list(path, located, "csv", chosen.columns, chosen.problems, order)
    return replace(source, subgroups=_subgroups(table, chosen, located.images, settings.subgroups))


class _Opened(NamedTuple):
    """A table, its columns, the order of its findings (empty: sorted), and its images."""

    table: Table
    chosen: Chosen
    order: tuple[str, ...]
    images: list[ListedImage]


def _opened(path: Path, settings: DataSettings) -> _Opened:
    if settings.kind != "multilabel":
        table, chosen = _read(path, settings.columns, settings.subgroups)
        return _Opened(table, chosen, (), image_list.listed(path, _texts(table, chosen)))
    named = settings.columns
    wanted = {column_key(named.get(role, role)) for role in ROLES} | set(map(column_key, settings.findings))
    table = read_table(path, wanted)
    found = choose_findings(table, settings)
    images = image_list.listed(path, _texts(table, found.chosen), found.of_row)
    return _Opened(table, found.chosen, found.order, images)


def parse(path: Path, named: Mapping[str, str] | None = None) -> list[ListedImage]:
    """Read and check the lines of a manifest; the images are not opened.

    Args:
        path: the manifest.
        named: names of columns, by role: path, label, split, group.
    Returns:
        At least one image, in the order of the file.
    Raises:
        DataError: not a readable CSV file, a missing or duplicate column, an empty or unknown value, a path
            outside the manifest's folder, or a duplicate path.
    """
    table, chosen = _read(path, named or {})
    return image_list.listed(path, _texts(table, chosen))


def _read(path: Path, named: Mapping[str, str], subgroups: Sequence[str] = ()) -> tuple[Table, Chosen]:
    table = read_table(path, {column_key(named.get(role, role)) for role in ROLES})
    return table, choose(table, named, subgroups)


def _subgroups(
    table: Table, chosen: Chosen, images: Sequence[ListedImage], names: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """Return the value of each image by column of subgroups."""
    by_line = {row.line: row.values for row in table.rows}
    found = {}
    for name in names:
        position = chosen.positions[subgroup_role(name)]
        found[name] = tuple(by_line[image.line][position] for image in images)
        check_groups(str(table.path), name, found[name])
    return found


def _texts(table: Table, chosen: Chosen) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the number and the used texts of each row."""
    for row in table.rows:
        yield row.line, {role: row.values[position] for role, position in chosen.positions.items()}
