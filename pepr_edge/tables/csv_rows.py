"""A CSV file as chunks of columns: read as often as needed, never held whole, its faults named by line."""

from __future__ import annotations

import csv
import difflib
import io
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NoReturn, TextIO

import numpy as np
from numpy.typing import NDArray

from pepr_edge.errors import ScoreError
from pepr_edge.run_dir.owned import check_replaceable

# Small enough for the processor's cache: 50,000 rows at a time took a third longer.
CHUNK_ROWS = 5000
MISSING = frozenset({"", "nan", "na", "none", "-"})
SHOWN_COLUMNS = 12
DELIMITERS = ",;\t"
# Longer than any header: where a quotation mark is not closed, the search for its end stops there.
HEADER_CHARACTERS = 100_000

Array = NDArray[np.float64]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class CsvTable:
    """A CSV file with a header: where it is, how its cells are parted, its columns, and its state when it was opened."""

    path: Path
    delimiter: str
    columns: tuple[str, ...]
    size_bytes: int
    modified_ns: int

    def position(self, column: str) -> int:
        """Index of a column.

        Raises:
            ScoreError: there is none of that name.
        """
        if column in self.columns:
            return self.columns.index(column)
        near = difflib.get_close_matches(column, self.columns, 1, 0.5)
        guess = f" Did you mean {near[0]!r}?" if near else ""
        shown = ", ".join(map(on_one_line, self.columns[:SHOWN_COLUMNS])) + (
            ", ..." if len(self.columns) > SHOWN_COLUMNS else ""
        )
        raise ScoreError(f"{self.path}: no column {column!r}, expected one of {shown}.{guess}")

    def fault(self, row: int, column: int, cell: str, expected: str) -> ScoreError:
        """The fault of one cell of a row (counted from 0, without the header), in words."""
        shown = cell if len(cell) <= 40 else f"{cell[:40]}..."
        return ScoreError(
            f"{self.path} line {self.line(row)}: {on_one_line(self.columns[column])} = {shown!r}, expected {expected}"
        )

    def line(self, row: int) -> int:
        """Where a row ends in the file, counted from 1."""
        # Cells may hold line ends, so the line is counted again where it is needed rather than kept for every row.
        with _opened(self.path) as (file, _):
            reader = csv.reader(file, delimiter=self.delimiter, strict=True)
            next(islice((cells for cells in reader if cells), row + 1, None), None)
            return reader.line_num

    def changed(self) -> ScoreError:
        """What to say of a table that another program writes to."""
        return ScoreError(f"{self.path}: changed while it was read. Start again when nothing writes to it.")

    def unchanged(self) -> bool:
        """Whether the file is as it was when it was opened."""
        now = self.path.stat()
        return (now.st_size, now.st_mtime_ns) == (self.size_bytes, self.modified_ns)


@dataclass(frozen=True)
class Chunk:
    """Some rows of a table: the number of the first, and the cells of each column, each (n,)."""

    start: int
    cells: tuple[tuple[str, ...], ...]

    def __len__(self) -> int:
        return len(self.cells[0])


@contextmanager
def _opened(path: Path) -> Iterator[tuple[TextIO, io.BufferedReader]]:
    """The file as text and as bytes, whose position says how far it was read."""
    try:
        with open(path, "rb") as raw, io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as text:
            yield text, raw
    except UnicodeDecodeError:
        raise ScoreError(f"{path}: not UTF-8 text. Save the table as CSV in UTF-8.") from None


def open_table(path: Path) -> CsvTable:
    """Look at a table's header.

    Raises:
        ScoreError: no such file, no regular file, not UTF-8, empty, or with two columns of one name.
    """
    if not path.exists():
        raise ScoreError(f"{path}: no such file, expected a table as CSV.")
    if not path.is_file():
        raise ScoreError(f"{path}: not a regular file, and a table is read twice. Write it to a file first.")
    found = path.stat()
    with _opened(path) as (file, _):
        delimiter = _delimiter(file)
        file.seek(0)
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        try:
            header = next((cells for cells in reader if cells), [])
        except csv.Error as fault:
            _torn(path, reader.line_num, fault)
    if not header:
        raise ScoreError(f"{path}: empty, expected a header line and one line for each model.")
    if len(set(header)) < len(header):
        column = next(name for name, times in Counter(header).items() if times > 1)
        places = [str(place) for place, name in enumerate(header, start=1) if name == column][:SHOWN_COLUMNS]
        raise ScoreError(
            f"{path}: several columns named {column!r:.60} ({', '.join(places)}). Rename all but one."
        )
    return CsvTable(path, delimiter, tuple(header), found.st_size, found.st_mtime_ns)


def _delimiter(file: TextIO) -> str:
    """What parts the header's cells: the mark that is most often outside quotation marks."""
    header = next((line for line in iter(file.readline, "") if line.strip("\r\n")), "")
    while header.count('"') % 2 and len(header) < HEADER_CHARACTERS and (line := file.readline()):
        header += line  # a cell that holds a line end
    outside = "".join(header.split('"')[::2])
    return max(DELIMITERS, key=outside.count)


def on_one_line(text: str) -> str:
    """A name for an error's one line: as it is, or as Python would write it where it holds line ends or control characters."""
    return text if text.isprintable() else repr(text)


def _torn(path: Path, line: int, fault: csv.Error) -> NoReturn:
    raise ScoreError(
        f"{path} line {line}: not CSV ({fault}). Look for a quotation mark that is not closed."
    ) from None


def chunks(table: CsvTable, progress: Progress, rows: int = CHUNK_ROWS) -> Iterator[Chunk]:
    """All rows but for blank lines, some at a time.

    Args:
        table: of `open_table`.
        progress: is told how many bytes were read since the last call's, and how many there are.
        rows: in a chunk.
    Raises:
        ScoreError: not UTF-8, not CSV, a row with fewer or more cells than the header, or no row at all.
    """
    with _opened(table.path) as (file, raw):
        reader = csv.reader(file, delimiter=table.delimiter, strict=True)
        next((cells for cells in reader if cells), None)
        start = 0
        while True:
            try:
                found = list(islice(reader, rows))
            except csv.Error as fault:
                _torn(table.path, reader.line_num, fault)
            if not found:
                break
            if chunk := _columns(table, found, start):
                yield chunk
                start += len(chunk)
            if raw.tell() > table.size_bytes:
                raise table.changed()
            progress(raw.tell(), table.size_bytes)
    if not start:
        raise ScoreError(f"{table.path}: a header and no rows, expected one line for each model.")


def _columns(table: CsvTable, rows: list[list[str]], start: int) -> Chunk | None:
    """Rows turned into columns; None where all were blank."""
    try:
        cells = tuple(zip(*rows, strict=True))
    except ValueError:
        cells = ()
    if len(cells) != len(table.columns):
        rows = [row for row in rows if row]
        for number, row in enumerate(rows, start=start):
            if len(row) != len(table.columns):
                line = table.line(number)
                raise ScoreError(
                    f"{table.path} line {line}: {len(row)} cells, the header has {len(table.columns)}. Mend that line."
                )
        cells = tuple(zip(*rows, strict=True))
    return Chunk(start, cells) if cells else None


def numbers(table: CsvTable, chunk: Chunk, column: int, expected: str) -> Array:
    """A column of a chunk as numbers, shape (n,): NaN where not measured, infinities as they are.

    Raises:
        ScoreError: a cell that is no number, named by its line; `expected` says what it should have been.
    """
    cells = chunk.cells[column]
    try:
        if "_" not in "".join(cells):  # float() takes 1_000 for 1000, which no table means
            return np.array(list(map(float, cells)))
    except ValueError:
        pass
    return np.array(
        [_number(table, chunk.start + place, column, cell, expected) for place, cell in enumerate(cells)]
    )


def _number(table: CsvTable, row: int, column: int, cell: str, expected: str) -> float:
    if cell.strip().lower() in MISSING:
        return float("nan")
    try:
        if "_" not in cell:
            return float(cell)
    except ValueError:
        pass
    raise table.fault(row, column, cell, f"{_remedy(cell)}{expected}")


def _remedy(cell: str) -> str:
    """What is most likely wrong with a cell that is no number, as the beginning of what was expected."""
    if "," in cell:
        return "a point for the decimals and no mark between thousands: "
    if cell.strip()[:1].isdigit() and not cell.strip()[-1:].isdigit():
        return "the figure alone, without a unit or a sign: "
    return ""


def texts(values: Array) -> list[str]:
    """Numbers in full precision, shape (n,); empty where NaN."""
    if np.isnan(values).any():
        return ["" if value != value else repr(value) for value in values.tolist()]
    return list(map(repr, values.tolist()))


def lines(
    table: CsvTable,
    cells: Sequence[Sequence[str]],
    figures: Sequence[Sequence[str]] = (),
    more: Sequence[Sequence[str]] = (),
) -> str:
    """Columns as lines of CSV: cells, then figures, which never need quoting, then more cells."""
    # Joining is six times as fast as csv.writer, which is left to the chunks where something must be quoted.
    if any(
        mark in text
        for text in map("\0".join, (*cells, *more))
        for mark in (table.delimiter, '"', "\n", "\r")
    ):
        out = io.StringIO()
        csv.writer(out, delimiter=table.delimiter, lineterminator="\n").writerows(
            zip(*cells, *figures, *more, strict=True)
        )
        return out.getvalue()
    return "\n".join(map(table.delimiter.join, zip(*cells, *figures, *more, strict=True))) + "\n"


def check_out(out: Path, inputs: Sequence[Path], force: bool = False) -> None:
    """Refuse a place for the result that would destroy something.

    Raises:
        ScoreError: it is one of the inputs.
        OutputError: it is there already and is no table with scores; or no regular file.
    """
    for path in inputs if out.exists() else ():
        if path.exists() and out.samefile(path):
            raise ScoreError(f"--out {out}: would overwrite what it is made from. Give another name.")
    check_replaceable(out, _has_scores, force)


def _has_scores(path: Path) -> bool:
    """True if a table's header has a resource that is both normalised and scored, as `score --out` writes it."""
    with open(path, encoding="utf-8", newline="") as file:
        header = re.split("[,;\t]", file.readline(HEADER_CHARACTERS).strip())
    return any(name.startswith("r_") and f"pepr_{name[2:]}" in header for name in header)
