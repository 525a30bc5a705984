"""Tables as people save them: comma, semicolon, tab or bar; `sep=` in the first line; a byte order mark."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Set
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pepr_edge.errors import DataError
from pepr_edge.untrusted.files import MIB
from pepr_edge.untrusted.read import read_file

if TYPE_CHECKING:
    from _csv import Reader

# Two million lines of 128 bytes.
MAX_TABLE_BYTES = 256 * MIB
DELIMITERS = (",", ";", "\t", "|")
HEAD_BYTES = 4096
UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")
# What Excel understands as the delimiter of a file.
SEP_LINE = re.compile(r"\"?sep=(.)\"?\r?\n?", re.IGNORECASE)


@dataclass(frozen=True)
class Row:
    """A row of a table: the number of its last line, from 1, and a value for each name of the header."""

    line: int
    values: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A table, its texts without spaces at their ends."""

    path: Path
    header: tuple[str, ...]
    rows: tuple[Row, ...]

    def column(self, position: int) -> list[str]:
        """Return the values of a column."""
        return [row.values[position] for row in self.rows]


def read_table(path: Path, wanted: Set[str]) -> Table:
    """Read a table whose first line names the columns.

    The delimiter is the one by which most of the wanted columns are found, then the one that gives most
    columns. Rows without any value are left out.

    Args:
        path: the file, CSV in UTF-8, or in UTF-16 with a byte order mark.
        wanted: names of columns, as `column_key` gives them.
    Raises:
        DataError: not a readable CSV file, or a row with fewer or more values than the header.
    """
    text = _text(path)
    first = SEP_LINE.match(text)
    skipped = 0
    if first:
        text = text[first.end() :]
        skipped = 1
    delimiters = (first[1],) if first else DELIMITERS
    try:
        delimiter = _best_delimiter(text, delimiters, wanted)
        header, rows = _parsed(path, text, delimiter, skipped, wanted)
        return Table(path, header, rows)
    except csv.Error as error:
        raise DataError(f"{path}: not a CSV file in UTF-8 ({error}). Save it as CSV, UTF-8.") from None


def column_key(name: str) -> str:
    """Return what is the same for names of a column that differ by case or outer spaces only."""
    return name.strip().casefold()


def _text(path: Path) -> str:
    content = read_file(path, MAX_TABLE_BYTES, DataError, "a CSV file that lists images. Check the path.")
    nul = b"\0\0" if content.startswith(UTF_16_MARKS) else b"\0"  # the first mark also begins UTF-32
    if nul in content[:HEAD_BYTES]:
        raise DataError(f"{path}: not a CSV file in UTF-8 (it has NUL bytes). Save it as CSV, UTF-8.")
    encoding = "utf-16" if content.startswith(UTF_16_MARKS) else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not a CSV file in UTF-8 ({error}). Save it as CSV, UTF-8.") from None


def _best_delimiter(text: str, delimiters: Collection[str], wanted: Set[str]) -> str:
    best = (-1, -1)
    chosen = ""
    fault: csv.Error | None = None
    for delimiter in delimiters:
        try:
            header = next(_reader(text, delimiter), [])
        except csv.Error as error:
            fault = fault or error
            continue
        found = len({column_key(name) for name in header} & wanted)
        if (found, len(header)) > best:
            best = (found, len(header))
            chosen = delimiter
    if not chosen and fault is not None:
        raise fault
    return chosen


def _parsed(
    path: Path, text: str, delimiter: str, skipped: int, wanted: Set[str]
) -> tuple[tuple[str, ...], tuple[Row, ...]]:
    """Return the header and the rows. Lines that a table begins with, such as `sep=;`, are skipped.

    Rows that do not fit a header without any of the wanted columns are left out: it is no header.
    """
    reader = _reader(text, delimiter)
    header = _without_last_empty([name.strip() for name in next(reader, [])])
    rows = []
    for texts in reader:
        values = [text.strip() for text in texts]
        if not any(values):
            continue
        line = reader.line_num + skipped
        if len(values) > len(header):
            values = _without_last_empty(values, least=len(header))
        if len(values) != len(header):
            if not wanted & {column_key(name) for name in header}:
                continue
            raise DataError(
                f"{path}: line {line}: {len(values)} values, expected {len(header)}. "
                "Quote values that contain commas."
            )
        rows.append(Row(line, tuple(values)))
    return tuple(header), tuple(rows)


def _reader(text: str, delimiter: str) -> Reader:
    return csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)


def _without_last_empty(values: list[str], least: int = 0) -> list[str]:
    """Return values without empty ones at the end, of which a delimiter at the end of a line makes one."""
    end = len(values)
    while end > least and not values[end - 1]:
        end -= 1
    return values[:end]
