"""The files of a figure beside the page."""

from __future__ import annotations

import csv
from pathlib import Path

from pepr_edge.report.figure import Figure, FigureData, write_files
from pepr_edge.report.svg import open_figure, picture


def drawn(name: str) -> Figure:
    with open_figure() as (figure, axes):
        axes.plot([0, 1], [0, 1])
        return Figure(
            name, "title", "caption", picture(figure, name, "a line"), FigureData(("name", "x_ms"), (('a, "b"', 0.1), ("c", None)))
        )


def test_each_figure_is_there_as_a_picture_and_as_data(tmp_path: Path) -> None:
    write_files([drawn("one"), Figure("two", "title", "Not drawn.")], tmp_path / "report")
    folder = tmp_path / "report"
    assert sorted(path.name for path in folder.iterdir()) == ["one.csv", "one.png", "one.svg"]
    assert (folder / "one.png").read_bytes().startswith(b"\x89PNG")
    assert 'aria-label="a line"' in (folder / "one.svg").read_text(encoding="utf-8")
    rows = list(csv.reader((folder / "one.csv").read_text(encoding="utf-8").splitlines()))
    assert rows == [["name", "x_ms"], ['a, "b"', "0.1"], ["c", ""]]


def test_figures_of_an_earlier_report_go_and_other_files_stay(tmp_path: Path) -> None:
    for name in ("old.svg", "old.csv", "notes.txt"):
        (tmp_path / name).write_text("x")
    write_files([], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
