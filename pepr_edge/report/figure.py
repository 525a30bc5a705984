"""A figure of the report: a picture, what is said about it, the data that it was drawn from, and its files."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pepr_edge.report.svg import Picture
from pepr_edge.run_dir.owned import owned_names, remove_owned, write_all_owned

Value = str | int | float | bool | None


@dataclass(frozen=True)
class FigureData:
    """What was drawn, as a table; the unit of a column is in its name."""

    header: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]

    def csv(self) -> str:
        """As CSV; empty where a value is not known."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.header)
        writer.writerows(self.rows)
        return text.getvalue()


@dataclass(frozen=True)
class Figure:
    """One figure of the page. `picture` and `data` are None where there is nothing to draw; the caption says why."""

    name: str
    title: str
    caption: str
    picture: Picture | None = None
    data: FigureData | None = None

    @property
    def svg(self) -> str:
        """For the page; empty where there is nothing to draw."""
        return self.picture.svg if self.picture else ""


def contents_of(figures: Iterable[Figure]) -> dict[str, bytes]:
    """The files of figures by name: SVG, PNG, and the data as CSV; nothing of those that have no picture."""
    contents = {}
    for figure in figures:
        if figure.picture is None:
            continue
        contents[f"{figure.name}.svg"] = f"{figure.picture.svg}\n".encode()
        contents[f"{figure.name}.png"] = figure.picture.png
        if figure.data is not None:
            contents[f"{figure.name}.csv"] = figure.data.csv().encode()
    return contents


def write_files(figures: Iterable[Figure], run_dir: Path, folder: str, force: bool = False) -> None:
    """Write each figure as SVG, PNG and CSV, and remove the files of an earlier report that are still as it wrote them.

    Args:
        figures: those without a picture are left out.
        run_dir: that holds the record of files.
        folder: name of the folder in it.
        force: replace files that are not ours, too.
    Raises:
        OutputError: a name is taken by a file that is not ours; nothing was written.
    """
    contents = {f"{folder}/{name}": content for name, content in contents_of(figures).items()}
    write_all_owned(run_dir, contents, recognise, force)
    remove_owned(run_dir, [name for name in owned_names(run_dir, f"{folder}/") if name not in contents])


def recognise(content: bytes, path: Path) -> bool:
    """True if a file looks like a figure's that version 0.1 wrote, which kept no record of files.

    Args:
        content: what is going to be written: a table is ours if it has the same header.
        path: the file.
    """
    with open(path, "rb") as file:
        head = file.read(4096)
    if path.suffix == ".svg":
        return head.startswith(b'<svg role="img" aria-label=')
    if path.suffix == ".png":
        return head.startswith(b"\x89PNG\r\n\x1a\n") and b"Description\0" in head
    return head.split(b"\n")[0] == content.split(b"\n")[0]
