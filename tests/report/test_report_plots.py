"""Figures as SVG, and where names stand in them."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable

import pytest
from matplotlib.text import Annotation, Text

from pepr_edge.report import labels, plots
from pepr_edge.report.isoclines import isoclines
from pepr_edge.report.svg import Picture, open_figure


def points(count: int, apart: float = 1.0) -> list[plots.Point]:
    """Points on a rising line, all on the front."""
    return [
        plots.Point(
            f"model_{i}",
            str(i),
            "fp32" if i % 2 else "int8",
            1 + i * apart,
            0.5 + 0.4 * i / max(count, 2),
            None,
            i % 3 > 0,
            True,
            True,
        )
        for i in range(count)
    ]


FIGURES: dict[str, Callable[[str], Picture]] = {
    "scatter": lambda alt: plots.scatter(points(6), "a", alt, "x (ms)", "y", 4.0, (0.5, "base")),
    "one_point": lambda alt: plots.scatter(points(1), "a", alt, "x", "y"),
    "zero": lambda alt: plots.scatter(
        [plots.Point("a", "1", "", 0.0, 0.0, (0.0, 0.1), True, True, True)], "a", alt, "x", "y", log=True
    ),
    "outside_interval": lambda alt: plots.scatter(
        [plots.Point("a", "1", "v", 1.0, 0.5, (0.6, 0.4), True, True, True)], "a", alt, "x", "y"
    ),
    "curves": lambda alt: plots.learning_curves(
        [plots.Curve(f"c{i}", (1, 2), (0.5, 0.6), 2) for i in range(9)], "a", alt, "y"
    ),
    "one_epoch": lambda alt: plots.learning_curves([plots.Curve("c", (1,), (0.5,), 7)], "a", alt, "y"),
    "energy": lambda alt: plots.energy_bars(
        [plots.Bar("a", 1.0, 0.1, "measured"), plots.Bar("b", 0.0, None, "declared")],
        "a",
        alt,
        ("training ({})", ""),
    ),
    "isoclines": lambda alt: isoclines(
        [plots.Point("a", "1", "v", 0.2, 0.5, (0.4, 0.6), True, True, True)], "a", alt, "R", "y", 1.0
    ),
    "nothing_right": lambda alt: isoclines(
        [plots.Point("a", "1", "v", 1.0, 0.0, None, True, True, True)], "a", alt, "R", "y", 1.0
    ),
    "all_cost_alike": lambda alt: isoclines(
        [plots.Point("a", "1", "v", 0.0, 1.0, None, True, True, True)], "a", alt, "R", "y", 2.0
    ),
    "variants": lambda alt: plots.variants(
        [plots.Change("a", {"v": (0.5, (0.4, 0.6)), "w": (0.4, (0.3, 0.5))}, "1/2")], "a", alt, "y"
    ),
}


@pytest.mark.parametrize("name", FIGURES)
def test_figure_is_an_svg_for_a_page(name: str) -> None:
    svg = FIGURES[name]('says "what" it <shows>').svg
    root = ET.fromstring(svg)
    assert root.get("aria-label") == 'says "what" it <shows>'
    assert root.get("role") == "img"
    assert root.get("width") is None
    assert root.get("viewBox")
    assert "currentColor" in svg
    assert "#123456" not in svg
    assert "<style" not in svg
    assert all(element.get("id", "a-").startswith("a-") for element in root.iter())


def test_figures_are_the_same_each_time_and_leave_no_settings_behind() -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    first, second = FIGURES["scatter"]("alt"), FIGURES["scatter"]("alt")
    assert first.svg == second.svg
    assert first.png == second.png
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("budget", [50.0, 0.5, None])
def test_one_point_has_an_axis_of_some_width(budget: float | None) -> None:
    """For this figure matplotlib's own limits, with a budget far away, were a rounding error apart."""
    point = plots.Point(
        "net", "1", "fp32", 0.49609899999999996, 0.6, (0.5, 0.69), ranked=True, named=True, front=True
    )
    ET.fromstring(plots.scatter([point], "one", "alt", "x", "y", budget, (0.6, "guessing")).svg)


def test_two_variants_at_one_place_have_one_name() -> None:
    one = plots.Point("net", "1", "fp32", 0.5, 0.6, None, ranked=True, named=True, front=True)
    other = plots.Point("net", "2", "int8_static", 0.5, 0.6, None, ranked=True, named=True, front=False)
    far = plots.Point("net", "3", "int8_dynamic", 0.9, 0.6, None, ranked=True, named=True, front=False)
    assert plots.scatter([one, other, far], "one", "alt", "x", "y").svg.count(">net<") == 2


@pytest.mark.parametrize(
    "values", [[3.0], [0.0], [0.1 + 0.2, 0.3], [1.0, 2.0], [4.0, 4.1], [1.0, 50.0], [0.0, 5.0], [-1.0, 1.0]]
)
@pytest.mark.parametrize("log", [True, False])
def test_an_axis_holds_its_values_with_room_to_spare(values: list[float], log: bool) -> None:
    with open_figure() as (_, axes):
        plots.x_scale(axes, values, log)
        low, high = axes.get_xlim()
        assert low < min(values) <= max(values) < high
        if max(values) - min(values) > 0.01 * max(values):
            assert high - low < 2 * (max(values) - min(values)) or axes.get_xscale() == "log"


def test_characters_without_a_glyph_and_mathematics_stay_text() -> None:
    svg = plots.learning_curves([plots.Curve("日本 $x_1$", (1, 2), (0.5, 0.6), 1)], "a", "alt", "y").svg
    assert "日本 $x_1$" in svg


@pytest.mark.parametrize(("count", "apart"), [(5, 1.0), (12, 0.05), (30, 0.01)])
def test_names_do_not_overlap(count: int, apart: float) -> None:
    with open_figure() as (figure, axes):
        shown = points(count, apart)
        axes.scatter([p.x for p in shown], [p.y for p in shown])
        figure.draw_without_rendering()
        labels.place(
            axes,
            [(p.x, p.y, p.label, p.short) for p in shown],
            [(p.x, p.y) for p in shown],
            [(p.x, p.y) for p in shown],
        )
        written = [child for child in axes.get_children() if isinstance(child, Annotation)]
        boxes = [Text.get_window_extent(item) for item in written]
        assert written
        assert not any(a.overlaps(b) for number, a in enumerate(boxes) for b in boxes[:number])


def test_cut_keeps_the_end() -> None:
    assert labels.cut("short") == "short"
    assert labels.cut("x" * 60 + "@224").endswith("@224")
    assert len(labels.cut("x" * 60)) == labels.LONGEST
