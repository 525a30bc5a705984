"""Figures of a comparison: an SVG for a page and a PNG of the same, names that do not cover each other."""

from __future__ import annotations

import io
import itertools
import struct
import xml.etree.ElementTree as ET
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pepr_edge.report import compare_plots as plots

ALT = 'says "what" it <shows>'
SIDES = ("A: few", "B: all")


def lines(count: int, apart: float = 0.01) -> list[plots.SlopeLine]:
    """Architectures that all rise by the same."""
    return [
        plots.SlopeLine(f"model_{number}", 0.5 + apart * number, 0.55 + apart * number)
        for number in range(count)
    ]


def dots(count: int) -> list[plots.Dot]:
    """The same architectures on both sides, every third efficient."""
    return [
        plots.Dot(f"model_{number}", side, 1.0 + number, 0.5 + 0.1 * side, number % 3 == 0)
        for number in range(count)
        for side in (0, 1)
    ]


FIGURES: dict[str, Callable[[], plots.Picture]] = {
    "few": lambda: plots.slopes(lines(5), "a", ALT, SIDES, "y"),
    "one": lambda: plots.slopes(lines(1), "a", ALT, SIDES, "y"),
    "many": lambda: plots.slopes(lines(40), "a", ALT, SIDES, "y"),
    "many_alike": lambda: plots.slopes(lines(40, 0.0), "a", ALT, SIDES, "y"),
    "against": lambda: plots.against_parameters(dots(6), "a", ALT, SIDES, "y", (3.0, 3.0)),
    "against_many": lambda: plots.against_parameters(dots(30), "a", ALT, SIDES, "y", (15.0, 20.0)),
    "against_one": lambda: plots.against_parameters(dots(1), "a", ALT, SIDES, "y", (1.0, 1.0)),
    "long_names": lambda: plots.slopes(
        [plots.SlopeLine("x" * 60 + "@224", 0.1, 0.2)], "a", ALT, ("A: " + "y" * 60, "B"), "y"
    ),
    "unknown_glyphs": lambda: plots.slopes([plots.SlopeLine("日本 $x_1$", 0.1, 0.2)], "a", ALT, SIDES, "y"),
}


@pytest.mark.parametrize("name", FIGURES)
def test_figure_is_an_svg_for_a_page_and_a_png(name: str) -> None:
    picture = FIGURES[name]()
    root = ET.fromstring(picture.svg)
    assert root.get("aria-label") == ALT
    assert root.get("role") == "img"
    assert root.get("viewBox")
    assert "currentColor" in picture.svg
    assert "#123456" not in picture.svg
    assert all(element.get("id", "a-").startswith("a-") for element in root.iter())
    assert struct.unpack(">II", picture.png[16:24]) == (1080, 780)
    image = Image.open(io.BytesIO(picture.png))
    assert image.info["Description"] == ALT
    # White behind it, as no page is.
    assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255)


def test_figures_are_the_same_each_time_and_leave_no_settings_behind() -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    assert FIGURES["many"]() == FIGURES["many"]()
    assert dict(matplotlib.rcParams) == before


def test_names_where_they_are_few_distributions_where_they_are_many() -> None:
    named, many = FIGURES["few"]().svg, FIGURES["many"]().svg
    assert all(f">model_{number}<" in named for number in range(5))
    assert "model_" not in many
    assert many.count("FillBetweenPolyCollection") == 2 or many.count("PolyCollection") == 2


def test_a_median_of_each_side_where_they_differ() -> None:
    assert ">median<" in FIGURES["against"]().svg
    assert ">median of A<" in FIGURES["against_many"]().svg
    assert ">median of B<" in FIGURES["against_many"]().svg


@given(st.lists(st.floats(min_value=0, max_value=100), min_size=1, max_size=9).map(sorted))
def test_positions_are_moved_apart_and_stay_inside(wanted: list[float]) -> None:
    at = plots._apart(wanted, 11.0, 0.0, 100.0)
    assert all(later - earlier >= 11.0 - 1e-9 for earlier, later in itertools.pairwise(at))
    assert at[0] >= -1e-9
    assert at[-1] <= 100.0
    assert [position for position in wanted[:1] if len(wanted) == 1] == (at if len(wanted) == 1 else [])
