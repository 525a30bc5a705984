"""The files of a figure beside the page."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from pepr_edge.errors import OutputError
from pepr_edge.report.figure import FigureData, ReportFigure, write_files
from pepr_edge.report.svg import open_figure, picture


def drawn(name: str) -> ReportFigure:
    with open_figure() as (figure, axes):
        axes.plot([0, 1], [0, 1])
        data = FigureData(("name", "x_ms"), (('a, "b"', 0.1), ("c", None)))
        return ReportFigure(name, "title", "caption", picture(figure, name, "a line"), data)


def test_each_figure_has_pictures_and_data(tmp_path: Path) -> None:
    write_files([drawn("one"), ReportFigure("two", "title", "Not drawn.")], tmp_path, "report")
    folder = tmp_path / "report"
    assert sorted(path.name for path in folder.iterdir()) == ["one.csv", "one.png", "one.svg"]
    assert (folder / "one.png").read_bytes().startswith(b"\x89PNG")
    assert 'aria-label="a line"' in (folder / "one.svg").read_text(encoding="utf-8")
    rows = list(csv.reader((folder / "one.csv").read_text(encoding="utf-8").splitlines()))
    assert rows == [["name", "x_ms"], ['a, "b"', "0.1"], ["c", ""]]


def test_figures_of_an_earlier_report_are_removed_and_other_files_stay(tmp_path: Path) -> None:
    write_files([drawn("old"), drawn("edited")], tmp_path, "report")
    folder = tmp_path / "report"
    for name in ("edited.svg", "own.svg", "own.png", "own.csv", "notes.txt"):
        (folder / name).write_text("precious")
    write_files([drawn("new")], tmp_path, "report")
    ours = ["new.csv", "new.png", "new.svg"]
    others = ["edited.svg", "notes.txt", "own.csv", "own.png", "own.svg"]
    assert sorted(path.name for path in folder.iterdir()) == sorted(ours + others)
    assert {(folder / name).read_text() for name in others} == {"precious"}


def test_a_figure_does_not_replace_a_foreign_file(tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()
    foreign = tmp_path / "report" / "one.png"
    foreign.write_bytes(b"\x89PNG of the user")
    with pytest.raises(OutputError, match=r"one\.png"):
        write_files([drawn("one")], tmp_path, "report")
    assert foreign.read_bytes() == b"\x89PNG of the user"
    write_files([drawn("one")], tmp_path, "report", force=True)
    assert foreign.read_bytes() != b"\x89PNG of the user"
