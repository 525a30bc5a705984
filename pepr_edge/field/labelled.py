"""Labelled images of a site: a folder with a folder for each class, or a table that lists images.

A table (CSV) has the columns path and label; or, for models that name several findings, a column of 0 and 1
for each finding, or findings in the column label with a sign between them. Further columns may be subgroups.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pepr_edge.data import image_list, layout
from pepr_edge.data.finding_columns import NONE_WORDS, VALUES, found_separator
from pepr_edge.data.names import spelling_key, split_named
from pepr_edge.data.source import DataSettings
from pepr_edge.data.subgroups import check_groups
from pepr_edge.data.table import Row, Table, column_key, read_table
from pepr_edge.data.tree import read_tree
from pepr_edge.errors import DataError
from pepr_edge.tasks import Labels
from pepr_edge.text.units import plural
from pepr_edge.untrusted.paths import is_dir, is_file
from pepr_edge.untrusted.shown import shown

TABLES = (".csv", ".tsv")
PATH = "path"
LABEL = "label"
SPLIT = "split"
# The image size does not matter here.
ANY_SIZE_PX = 224


@dataclass(frozen=True)
class LabelledImages:
    """Images of a site, in order.

    `source`: as the user named it, for messages. `labels`: of each image, as written; None if the table has
    no such column. `columns`: the values of each other column of the table, by the key of its name.
    `notes`: what was left out.
    """

    source: str
    paths: tuple[Path, ...]
    labels: tuple[str, ...] | None
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def read_labelled(data: Path, named: Mapping[str, str] | None = None) -> LabelledImages:
    """Find the images of a site and their labels; no image is opened.

    Args:
        data: a folder of class folders, or a table.
        named: names of columns, by role: path, label.
    Raises:
        DataError: it is neither, or what it says is not clear.
    """
    name = str(data)
    if is_dir(name):
        if named:
            raise DataError(
                f"{shown(name)}: a folder, and --column names columns, which only a .csv file has. Give the "
                "file, or leave --column out."
            )
        return _of_folder(data)
    if data.suffix.lower() in TABLES and is_file(name):
        return _of_table(data, named or {})
    fault = "not a folder or a .csv file" if data.exists() else "no such folder or file"
    raise DataError(
        f"{shown(name)}: {fault}, expected a folder with a folder for each class, or a .csv file with the "
        "columns path and label. It comes last, after the bundles."
    )


def _of_folder(root: Path) -> LabelledImages:
    placed = layout.understand(read_tree(root))
    images = [image for image in placed.images if image.split in (None, "test")]
    notes = []
    if len(images) < len(placed.images):
        left_out = len(placed.images) - len(images)
        notes.append(f"{plural(left_out, 'image')} of training and validation left out")
    if placed.findings.outside:
        notes.append(f"{plural(len(placed.findings.outside), 'image')} outside of class folders left out")
    if not images:
        raise DataError(f"{shown(str(root))}: no test images, expected a folder for each class. Add images.")
    images = sorted(images, key=lambda image: image.path)
    return LabelledImages(
        source=shown(str(root)),
        paths=tuple(image.path for image in images),
        labels=tuple(image.label for image in images),
        notes=tuple(notes),
    )


def _of_table(path: Path, named: Mapping[str, str]) -> LabelledImages:
    table = read_table(path, {column_key(named.get(role, role)) for role in (PATH, LABEL)})
    keys = [column_key(name) for name in table.header]
    _check_columns(table, keys, named)
    where = keys.index(column_key(named.get(PATH, PATH)))
    rows = list(table.rows)
    notes = []
    if SPLIT in keys:
        rows, left_out = _test_rows(rows, keys.index(SPLIT))
        if left_out:
            notes.append(f"{plural(left_out, 'image')} of training and validation left out")
    # The labels are read later, when the bundle says what they are.
    texts = ((row.line, {"path": row.values[where], "label": "-"}) for row in rows)
    listed = image_list.listed(path, texts)
    located = image_list.check_files(path, listed, DataSettings(str(path), ANY_SIZE_PX))
    by_line = {row.line: row.values for row in rows}
    used_rows = [by_line[image.line] for image in located.images]
    columns = {}
    for number, key in enumerate(keys):
        if key and number != where:
            columns[key] = tuple(row[number] for row in used_rows)
    return LabelledImages(
        source=shown(str(path)),
        paths=tuple(path.parent / image.path for image in located.images),
        labels=columns.get(column_key(named.get(LABEL, LABEL))),
        columns=columns,
        notes=tuple(notes),
    )


def _check_columns(table: Table, keys: Sequence[str], named: Mapping[str, str]) -> None:
    """Refuse a table without paths, or with two columns of one name."""
    for role in (PATH, *(role for role in named if role != PATH)):
        name = named.get(role, role)
        if column_key(name) not in keys:
            found = ", ".join(shown(other) for other in table.header[:12]) or "nothing"
            raise DataError(
                f"{table.path}: line 1: no column {shown(name)!r}, found {found}. Name the columns path and "
                f"label, or say which they are: --column {role}=NAME."
            )
    for key, times in Counter(keys).items():
        if key and times > 1:
            raise DataError(
                f"{table.path}: line 1: duplicate column {shown(key)!r}, expected it once. Remove one."
            )


def _test_rows(rows: Sequence[Row], position: int) -> tuple[list[Row], int]:
    """Return the rows of the test split, and how many others there are; all rows without such a split."""
    chosen = [row for row in rows if split_named(row.values[position]) == "test"]
    if not chosen:
        return list(rows), 0
    return chosen, len(rows) - len(chosen)


def class_targets(images: LabelledImages, names: Sequence[str]) -> Labels:
    """Return the class number of each image, shape (n,).

    Args:
        images: with labels.
        names: of the classes.
    Raises:
        DataError: an image has no label, or one that is not among the names.
    """
    if images.labels is None:
        raise DataError(
            f"{images.source}: no column 'label', expected one with the class of each image. Add it, or say "
            "which it is: --column label=NAME."
        )
    numbers = {spelling_key(name): number for number, name in enumerate(names)}
    for label in dict.fromkeys(images.labels):
        if spelling_key(label) not in numbers:
            raise _unknown(images, label, names)
    return np.array([numbers[spelling_key(label)] for label in images.labels], np.int64)


def finding_targets(images: LabelledImages, names: Sequence[str]) -> Labels:
    """Return 0 or 1 for each image and finding, shape (n, findings).

    Args:
        images: of a table with a column for each finding, or with several findings in the column label.
        names: of the findings.
    Raises:
        DataError: neither, a value that is neither 0 nor 1, or a finding that is not among the names.
    """
    columns = [images.columns.get(column_key(name)) for name in names]
    if all(column is not None for column in columns):
        of_names = zip(names, columns, strict=True)
        return np.stack([_zeros_and_ones(images, name, column or ()) for name, column in of_names], axis=1)
    if images.labels is None or not images.columns:
        missing = next(name for name, column in zip(names, columns, strict=True) if column is None)
        raise DataError(
            f"{images.source}: no column {shown(missing)!r}, expected a .csv file with a column of 0 and 1 "
            "for each finding, or findings in the column label with | between them. Add it."
        )
    numbers = {spelling_key(name): number for number, name in enumerate(names)}
    texts = [text for text in images.labels if spelling_key(text) not in numbers]
    separator = found_separator(texts)
    targets = np.zeros((len(images.paths), len(names)), np.int64)
    for row, text in enumerate(images.labels):
        for finding in _findings(text, separator, numbers):
            if spelling_key(finding) not in numbers:
                raise _unknown(images, finding, names)
            targets[row, numbers[spelling_key(finding)]] = 1
    return targets


def _findings(text: str, separator: str, known: Mapping[str, int]) -> Iterator[str]:
    whole = spelling_key(text)
    if whole not in known and (not whole or whole in NONE_WORDS):
        return
    parts = [text] if whole in known or not separator else text.split(separator)
    yield from (part.strip() for part in parts if part.strip())


def _zeros_and_ones(images: LabelledImages, name: str, values: Sequence[str]) -> Labels:
    for value in dict.fromkeys(values):
        if value not in VALUES:
            raise DataError(
                f"{images.source}: column {shown(name)!r} has the value {shown(value)!r}, expected 0 or 1. "
                "Correct it."
            )
    return np.array([VALUES[value] for value in values], np.int64)


def _unknown(images: LabelledImages, label: str, names: Sequence[str]) -> DataError:
    known = ", ".join(repr(shown(name)) for name in names[:12]) + (" ..." if len(names) > 12 else "")
    return DataError(
        f"{images.source}: class {shown(label)!r}, expected one of {known}, as the model names them"
        f"{_other_alphabet(label, names)}. Rename it."
    )


def _other_alphabet(label: str, names: Sequence[str]) -> str:
    """Return which letter of a label is of an alphabet that no name has: it may look like one of theirs."""
    known = {_alphabet(letter) for name in names for letter in name}
    for letter in label:
        if letter.isalpha() and _alphabet(letter) not in known:
            return f" ({letter!r} is {unicodedata.name(letter, 'a letter of another alphabet')})"
    return ""


def _alphabet(letter: str) -> str:
    """Return the first word of a character's name, such as LATIN."""
    return unicodedata.name(letter, "").partition(" ")[0]


def group_columns(
    images: LabelledImages, required: Sequence[str], optional: Sequence[str] = ()
) -> dict[str, tuple[str, ...]]:
    """Return the values of the subgroup columns, by name.

    Args:
        images: of the site.
        required: names of columns that the user asks for.
        optional: names of columns that are used if the table has them.
    Raises:
        DataError: a column is missing, or has too many values to be groups.
    """
    chosen = {}
    for name in dict.fromkeys([*required, *optional]):
        values = images.columns.get(column_key(name))
        if values is None and name in required:
            raise DataError(
                f"{images.source}: no column {shown(name)!r} for subgroups, expected a .csv file that has "
                "it. Add the column, or leave the subgroup out."
            )
        if values is not None:
            check_groups(images.source, name, values)
            chosen[name] = values
    return chosen
