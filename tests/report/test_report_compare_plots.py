"""Plots of a comparison: an SVG for a page and a PNG of it, with names that do not cover each other."""

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
LONG_SIDES = ("A: " + "y" * 60, "B")


def lines(count: int, distance: float = 0.01) -> list[plots.SlopeLine]:
    """Return architectures that all rise by the same amount."""
    return [
        plots.SlopeLine(f"model_{number}", 0.5 + distance * number, 0.55 + distance * number)
        for number in range(count)
    ]


def dots(count: int) -> list[plots.Dot]:
    """Return the same architectures on both sides, every third efficient."""
    return [
        plots.Dot(f"model_{number}", side, 1.0 + number, 0.5 + 0.1 * side, number % 3 == 0)
        for number in range(count)
        for side in (0, 1)
    ]


def slopes(shown: list[plots.SlopeLine], sides: tuple[str, str] = SIDES) -> plots.Picture:
    return plots.slopes(shown, "a", ALT, sides, "y")


def against(count: int, medians: tuple[float, float]) -> plots.Picture:
    return plots.against_parameters(dots(count), "a", ALT, SIDES, "y", medians)


FIGURES: dict[str, Callable[[], plots.Picture]] = {
    "few": lambda: slopes(lines(5)),
    "one": lambda: slopes(lines(1)),
    "many": lambda: slopes(lines(40)),
    "many_alike": lambda: slopes(lines(40, 0.0)),
    "against": lambda: against(6, (3.0, 3.0)),
    "against_many": lambda: against(30, (15.0, 20.0)),
    "against_one": lambda: against(1, (1.0, 1.0)),
    "long_names": lambda: slopes([plots.SlopeLine("x" * 60 + "@224", 0.1, 0.2)], LONG_SIDES),
    "unknown_glyphs": lambda: slopes([plots.SlopeLine("日本 $x_1$", 0.1, 0.2)]),
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_plot_is_an_svg_for_a_page_and_a_png(name: str) -> None:
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
    # A PNG has no page behind it, so its background is white.
    assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255)


def test_plots_are_reproducible_and_leave_no_settings_behind() -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    assert FIGURES["many"]() == FIGURES["many"]()
    assert dict(matplotlib.rcParams) == before


def test_few_architectures_are_named_and_many_are_distributions() -> None:
    few = FIGURES["few"]().svg
    many = FIGURES["many"]().svg
    assert all(f">model_{number}<" in few for number in range(5))
    assert "model_" not in many
    assert many.count("FillBetweenPolyCollection") == 2 or many.count("PolyCollection") == 2


def test_medians_that_differ_are_drawn_for_each_side() -> None:
    assert ">median<" in FIGURES["against"]().svg
    assert ">median of A<" in FIGURES["against_many"]().svg
    assert ">median of B<" in FIGURES["against_many"]().svg


@given(st.lists(st.floats(min_value=0, max_value=100), min_size=1, max_size=9).map(sorted))
def test_positions_are_spread_out_and_stay_inside(wanted: list[float]) -> None:
    positions = plots._spread_out(wanted, 11.0, 0.0, 100.0)
    assert all(later - earlier >= 11.0 - 1e-9 for earlier, later in itertools.pairwise(positions))
    assert positions[0] >= -1e-9
    assert positions[-1] <= 100.0
    if len(wanted) == 1:
        assert positions == wanted
