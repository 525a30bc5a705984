"""Read a CSV file as chunks of columns, name faulty cells by their line, and write columns as CSV."""

from __future__ import annotations

import csv
import difflib
import errno
import io
import math
import os
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
from pepr_edge.untrusted.files import open_regular
from pepr_edge.untrusted.shown import shown

# Fits the processor's cache: chunks of 50,000 rows took a third longer.
CHUNK_ROWS = 5000
MISSING = frozenset({"", "nan", "na", "none", "-"})
SHOWN_COLUMNS = 12
DELIMITERS = ",;\t"
# Longer than any header: the search for the end of an unclosed quotation mark stops here.
HEADER_CHARACTERS = 100_000
# A row of a hundred cells as long as csv allows.
LINE_CHARACTERS = 100 * csv.field_size_limit()

EXPECTED_RESOURCE = "a number >= 0. Leave the cell empty where it was not measured."
EXPECTED_PERFORMANCE = "a number in [0, 1]. Leave the cell empty where it was not measured."
EXPECTED_FRACTION = "a number in [0, 1]. If it is in percent, divide the column by 100."

Array = NDArray[np.float64]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class CsvTable:
    """A CSV file with a header: its path, delimiter and columns, and its size and time when it was opened."""

    path: Path
    delimiter: str
    columns: tuple[str, ...]
    size_bytes: int
    modified_ns: int

    def position(self, column: str) -> int:
        """Return the index of a column.

        Raises:
            ScoreError: there is no column of that name.
        """
        if column in self.columns:
            return self.columns.index(column)
        expected = ", ".join(map(on_one_line, self.columns[:SHOWN_COLUMNS]))
        if len(self.columns) > SHOWN_COLUMNS:
            expected += ", ..."
        close = difflib.get_close_matches(column, self.columns, 1, 0.5)
        guess = f" Did you mean {close[0]!r}?" if close else ""
        raise ScoreError(f"{self.path}: no column {column!r}, expected one of {expected}.{guess}")

    def fault(self, row: int, column: int, cell: str, expected: str) -> ScoreError:
        """Return the error for a cell; `row` counts from 0, without the header."""
        text = cell if len(cell) <= 40 else f"{cell[:40]}..."
        name = on_one_line(self.columns[column])
        return ScoreError(f"{self.path} line {self.line(row)}: {name} = {text!r}, expected {expected}")

    def line(self, row: int) -> int:
        """Return the line of the file on which a row ends, counted from 1."""
        # Cells can hold line ends. Counting lines again for an error is cheaper than a line number for every
        # row.
        with _opened(self.path) as (file, _):
            reader = csv.reader(_lines(file), delimiter=self.delimiter, strict=True)
            rows = (cells for cells in reader if cells)
            next(islice(rows, row + 1, None), None)
            return reader.line_num

    def changed(self) -> ScoreError:
        """Return the error for a table that another program writes to."""
        return ScoreError(f"{self.path}: changed while it was read. Start again when nothing writes to it.")

    def unchanged(self) -> bool:
        """True if the file is as it was when it was opened."""
        now = self.path.stat()
        return (now.st_size, now.st_mtime_ns) == (self.size_bytes, self.modified_ns)


@dataclass(frozen=True)
class Chunk:
    """Consecutive rows of a table: the number of the first row, and the cells of each column, each (n,)."""

    start: int
    cells: tuple[tuple[str, ...], ...]

    def __len__(self) -> int:
        return len(self.cells[0])

    def column(self, position: int | None) -> Sequence[str]:
        """Return the cells of a column, shape (n,); empty texts for None."""
        return [""] * len(self) if position is None else self.cells[position]


@contextmanager
def _opened(path: Path) -> Iterator[tuple[TextIO, io.BufferedReader]]:
    """Open a file as text, and as bytes, whose position tells how much was read."""
    try:
        with open_regular(path) as raw, io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as text:
            yield text, raw
    except OSError as fault:
        where = shown(str(path))
        raise ScoreError(f"{where}: cannot be read ({_reason(fault)}), expected a table as CSV.") from None
    except UnicodeDecodeError:
        raise ScoreError(f"{path}: not UTF-8 text. Save the table as CSV in UTF-8.") from None


def _reason(fault: OSError) -> str:
    """Return why a table cannot be read. It is read twice, so a pipe cannot be."""
    if isinstance(fault, FileNotFoundError):
        return "no such file"
    if fault.errno == errno.EINVAL:
        return f"{fault.strerror}, and a table is read twice: write it to a file first"
    return fault.strerror or type(fault).__name__


def _lines(file: TextIO) -> Iterator[str]:
    """Yield the lines of a file.

    Raises:
        csv.Error: a line is longer than any row.
    """
    for line in iter(lambda: file.readline(LINE_CHARACTERS), ""):
        if len(line) == LINE_CHARACTERS:
            raise csv.Error(f"a line of more than {LINE_CHARACTERS} characters")
        yield line


def open_table(path: Path) -> CsvTable:
    """Read a table's header.

    Raises:
        ScoreError: no such file, not a regular file, not UTF-8, empty, or two columns of one name.
    """
    with _opened(path) as (file, raw):
        status = os.fstat(raw.fileno())
        delimiter = _delimiter(file)
        file.seek(0)
        reader = csv.reader(_lines(file), delimiter=delimiter, strict=True)
        try:
            header = next((cells for cells in reader if cells), [])
        except csv.Error as fault:
            _raise_malformed(path, reader.line_num, fault)
    if not header:
        raise ScoreError(f"{path}: empty, expected a header line and one line for each model.")
    column, count = Counter(header).most_common(1)[0]
    if count > 1:
        places = [str(place) for place, name in enumerate(header, start=1) if name == column]
        columns = ", ".join(places[:SHOWN_COLUMNS])
        raise ScoreError(f"{path}: several columns named {column!r:.60} ({columns}). Rename all but one.")
    return CsvTable(path, delimiter, tuple(header), status.st_size, status.st_mtime_ns)


def _delimiter(file: TextIO) -> str:
    """Return the delimiter that occurs most often outside quotation marks in the header."""
    lines = iter(lambda: file.readline(HEADER_CHARACTERS), "")
    header = next((line for line in lines if line.strip("\r\n")), "")
    while header.count('"') % 2 and len(header) < HEADER_CHARACTERS:
        line = file.readline(HEADER_CHARACTERS)
        if not line:
            break
        header += line  # the last cell holds a line end
    outside = "".join(header.split('"')[::2])
    return max(DELIMITERS, key=outside.count)


def on_one_line(text: str) -> str:
    """Return a name for a one-line error: its repr if it holds line ends or control characters."""
    return shown(text if text.isprintable() else repr(text))


def _raise_malformed(path: Path, line: int, fault: csv.Error) -> NoReturn:
    advice = "Look for a quotation mark that is not closed."
    raise ScoreError(f"{path} line {line}: not CSV ({fault}). {advice}") from None


def no_progress(done: int, total: int) -> None:
    """Ignore the progress."""


def chunks(table: CsvTable, progress: Progress = no_progress, rows: int = CHUNK_ROWS) -> Iterator[Chunk]:
    """Yield all rows except blank lines.

    Args:
        table: from `open_table`.
        progress: called after each chunk with the bytes read so far and in total.
        rows: rows in a chunk.
    Raises:
        ScoreError: not UTF-8, not CSV, a row with fewer or more cells than the header, no row at all, or a
            file that grew.
    """
    with _opened(table.path) as (file, raw):
        reader = csv.reader(_lines(file), delimiter=table.delimiter, strict=True)
        next((cells for cells in reader if cells), None)
        start = 0
        while True:
            try:
                chunk_rows = list(islice(reader, rows))
            except csv.Error as fault:
                _raise_malformed(table.path, reader.line_num, fault)
            if not chunk_rows:
                break
            chunk = _columns(table, chunk_rows, start)
            if chunk is not None:
                yield chunk
                start += len(chunk)
            if raw.tell() > table.size_bytes:
                raise table.changed()
            progress(raw.tell(), table.size_bytes)
    if not start:
        raise ScoreError(f"{table.path}: a header and no rows, expected one line for each model.")


def _columns(table: CsvTable, rows: list[list[str]], start: int) -> Chunk | None:
    """Transpose rows into columns; return None if all rows are blank."""
    try:
        cells = tuple(zip(*rows, strict=True))
    except ValueError:
        cells = ()
    if len(cells) != len(table.columns):
        rows = [row for row in rows if row]
        for number, row in enumerate(rows, start=start):
            if len(row) != len(table.columns):
                where = f"{table.path} line {table.line(number)}"
                raise ScoreError(
                    f"{where}: {len(row)} cells, the header has {len(table.columns)}. Fix that line."
                )
        cells = tuple(zip(*rows, strict=True))
    return Chunk(start, cells) if cells else None


def performances(table: CsvTable, chunk: Chunk, column: int) -> Array:
    """Return a column of performances in [0, 1], shape (n,); NaN where not measured.

    Raises:
        ScoreError: a cell is no number or out of range.
    """
    values = numbers(table, chunk, column, EXPECTED_PERFORMANCE)
    refuse(table, chunk, column, values > 1, EXPECTED_FRACTION)
    refuse(table, chunk, column, values < 0, EXPECTED_PERFORMANCE)
    return values


def resources(table: CsvTable, chunk: Chunk, column: int) -> Array:
    """Return a column of resources >= 0, shape (n,): NaN where not measured, infinities as they are.

    Raises:
        ScoreError: a cell is no number or negative.
    """
    values = numbers(table, chunk, column, EXPECTED_RESOURCE)
    refuse(table, chunk, column, values < 0, EXPECTED_RESOURCE)
    return values


def refuse(table: CsvTable, chunk: Chunk, column: int, wrong: NDArray[np.bool_], expected: str) -> None:
    """Raise a ScoreError for the first cell of a column that is wrong, if any; `wrong` has shape (n,)."""
    if wrong.any():
        index = int(np.argmax(wrong))
        raise table.fault(chunk.start + index, column, chunk.cells[column][index], expected)


def numbers(table: CsvTable, chunk: Chunk, column: int, expected: str) -> Array:
    """Return a column as numbers, shape (n,): NaN where not measured, infinities as they are.

    Raises:
        ScoreError: a cell is no number. The message names its line and what was `expected`.
    """
    cells = chunk.cells[column]
    try:
        if "_" not in "".join(cells):  # float() reads 1_000 as 1000, which no table means
            return np.array(list(map(float, cells)))
    except ValueError:
        pass
    return np.array(
        [_number(table, chunk.start + index, column, cell, expected) for index, cell in enumerate(cells)]
    )


def _number(table: CsvTable, row: int, column: int, cell: str, expected: str) -> float:
    if cell.strip().lower() in MISSING:
        return float("nan")
    try:
        if "_" not in cell:
            return float(cell)
    except ValueError:
        pass
    raise table.fault(row, column, cell, f"{_hint(cell)}{expected}")


def _hint(cell: str) -> str:
    """Return the likely fix for a cell that is no number, as the beginning of what was expected."""
    if "," in cell:
        return "a point for the decimals and no mark between thousands: "
    if cell.strip()[:1].isdigit() and not cell.strip()[-1:].isdigit():
        return "the figure alone, without a unit or a sign: "
    return ""


def texts(values: Array) -> list[str]:
    """Return numbers in full precision, shape (n,); empty where NaN."""
    if np.isnan(values).any():
        return ["" if math.isnan(value) else repr(value) for value in values.tolist()]
    return list(map(repr, values.tolist()))


def lines(
    table: CsvTable,
    cells: Sequence[Sequence[str]],
    figures: Sequence[Sequence[str]] = (),
    more: Sequence[Sequence[str]] = (),
) -> str:
    """Return columns as lines of CSV: cells, then figures, which never need quoting, then more cells."""
    rows = zip(*cells, *figures, *more, strict=True)
    content = "\0".join("\0".join(column) for column in (*cells, *more))
    if any(character in content for character in (table.delimiter, '"', "\n", "\r")):
        out = io.StringIO()
        csv.writer(out, delimiter=table.delimiter, lineterminator="\n").writerows(rows)
        return out.getvalue()
    # Joining is six times as fast as csv.writer.
    return "\n".join(map(table.delimiter.join, rows)) + "\n"


def check_out(out: Path, inputs: Sequence[Path], force: bool = False) -> None:
    """Refuse to write the result over something of value.

    Raises:
        ScoreError: the output is one of the inputs.
        OutputError: it exists and `force` is not given, or is not a regular file.
    """
    for path in inputs:
        if out.exists() and path.exists() and out.samefile(path):
            raise ScoreError(f"--out {out}: would overwrite what it is made from. Give another name.")
    check_replaceable(out, force=force)
