"""A figure of the report: its picture, caption and data, and the files that they are written to."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pepr_edge.report.svg import Picture
from pepr_edge.run_dir.owned import owned_names, remove_owned, write_all_owned
from pepr_edge.untrusted.files import open_regular
from pepr_edge.untrusted.shown import cell

Value = str | int | float | bool | None


@dataclass(frozen=True)
class FigureData:
    """The data of a figure as a table; the column names hold the units."""

    header: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]

    def csv(self) -> str:
        """Return the table as CSV; an unknown value is an empty field."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.header)
        writer.writerows([cell(value) for value in row] for row in self.rows)
        return text.getvalue()


@dataclass(frozen=True)
class ReportFigure:
    """One figure of the page. Without `picture` and `data`, the caption says why nothing is drawn."""

    name: str
    title: str
    caption: str
    picture: Picture | None = None
    data: FigureData | None = None

    @property
    def svg(self) -> str:
        """Return the SVG for the page; empty if nothing is drawn."""
        return self.picture.svg if self.picture else ""


def contents_of(figures: Iterable[ReportFigure]) -> dict[str, bytes]:
    """Return the files of all figures that have a picture, by name: SVG, PNG, and the data as CSV."""
    contents = {}
    for figure in figures:
        if figure.picture is None:
            continue
        contents[f"{figure.name}.svg"] = f"{figure.picture.svg}\n".encode()
        contents[f"{figure.name}.png"] = figure.picture.png
        if figure.data is not None:
            contents[f"{figure.name}.csv"] = figure.data.csv().encode()
    return contents


def write_files(figures: Iterable[ReportFigure], run_dir: Path, folder: str, force: bool = False) -> None:
    """Write each figure as SVG, PNG and CSV, and remove unchanged files of an earlier report.

    Args:
        figures: figures without a picture are left out.
        run_dir: holds the record of our files.
        folder: name of the folder in `run_dir`.
        force: also replace files that pepr_edge did not write.
    Raises:
        OutputError: pepr_edge did not write a file that has one of these names; nothing was written.
    """
    contents = {f"{folder}/{name}": content for name, content in contents_of(figures).items()}
    write_all_owned(run_dir, contents, recognise, force)
    stale = [name for name in owned_names(run_dir, f"{folder}/") if name not in contents]
    remove_owned(run_dir, stale)


def recognise(content: bytes, path: Path) -> bool:
    """True if a file looks like a figure from version 0.1, which kept no record of its files.

    Args:
        content: the bytes to be written; a CSV file is ours if it has the same header.
        path: the existing file.
    """
    with open_regular(path) as file:
        head = file.read(4096)
    if path.suffix == ".svg":
        return head.startswith(b'<svg role="img" aria-label=')
    if path.suffix == ".png":
        return head.startswith(b"\x89PNG\r\n\x1a\n") and b"Description\0" in head
    return head.split(b"\n")[0] == content.split(b"\n")[0]
