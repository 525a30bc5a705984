"""A figure of the report: a picture, what is said about it, the data that it was drawn from, and its files."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pepr_edge.report.svg import Picture
from pepr_edge.run_dir.store import write_bytes, write_text

SUFFIXES = (".svg", ".png", ".csv")
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


def write_files(figures: Iterable[Figure], folder: Path) -> None:
    """Write each figure as SVG, PNG and CSV into a folder of its own, and take away those of an earlier report."""
    drawn = {figure.name: figure for figure in figures if figure.picture is not None}
    for name, figure in drawn.items():
        assert figure.picture is not None
        write_text(folder / f"{name}.svg", figure.picture.svg + "\n")
        write_bytes(folder / f"{name}.png", figure.picture.png)
        if figure.data is not None:
            write_text(folder / f"{name}.csv", figure.data.csv())
    for path in folder.glob("*"):
        if path.suffix in SUFFIXES and path.stem not in drawn:
            path.unlink()
