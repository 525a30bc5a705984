"""Plots as SVG, and the positions of names in them."""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ET
from collections.abc import Callable

import pytest
from matplotlib.text import Annotation, Text

from pepr_edge.report import labels, plots
from pepr_edge.report.isoclines import isoclines
from pepr_edge.report.svg import Picture, open_figure

ALT = 'says "what" it <shows>'


def point(x: float, y: float, label: str = "a", rank: int = 1, variant: str = "v") -> plots.Point:
    """Return a ranked point on the front, with its name."""
    return plots.Point(label, str(rank), variant, x, y, None, ranked=True, named=True, front=True)


def with_interval(x: float, y: float, ci: tuple[float, float]) -> plots.Point:
    return plots.Point("a", "1", "v", x, y, ci, ranked=True, named=True, front=True)


def points(count: int, distance: float = 1.0) -> list[plots.Point]:
    """Return points on a rising line, all on the front."""
    return [
        plots.Point(
            label=f"model_{number}",
            short=str(number),
            variant="fp32" if number % 2 else "int8",
            x=1 + number * distance,
            y=0.5 + 0.4 * number / max(count, 2),
            ci=None,
            ranked=number % 3 > 0,
            named=True,
            front=True,
        )
        for number in range(count)
    ]


BARS = [plots.Bar("a", 1.0, 0.1, "measured"), plots.Bar("b", 0.0, None, "declared")]
CURVES = [plots.Curve(f"c{number}", (1, 2), (0.5, 0.6), 2) for number in range(9)]
VARIANTS = plots.VariantPerformance("a", {"v": (0.5, (0.4, 0.6)), "w": (0.4, (0.3, 0.5))}, "1/2")
FIGURES: dict[str, Callable[[], Picture]] = {
    "scatter": lambda: plots.scatter(points(6), "a", ALT, "x (ms)", "y", 4.0, (0.5, "base")),
    "one_point": lambda: plots.scatter(points(1), "a", ALT, "x", "y"),
    "zero": lambda: plots.scatter([with_interval(0.0, 0.0, (0.0, 0.1))], "a", ALT, "x", "y", log=True),
    "outside_interval": lambda: plots.scatter([with_interval(1.0, 0.5, (0.6, 0.4))], "a", ALT, "x", "y"),
    "curves": lambda: plots.learning_curves(CURVES, "a", ALT, "y"),
    "one_epoch": lambda: plots.learning_curves([plots.Curve("c", (1,), (0.5,), 7)], "a", ALT, "y"),
    "energy": lambda: plots.energy_bars(BARS, "a", ALT, ("training ({})", "")),
    "isoclines": lambda: isoclines([with_interval(0.2, 0.5, (0.4, 0.6))], "a", ALT, "R", "y", 1.0),
    "no_hits": lambda: isoclines([point(1.0, 0.0)], "a", ALT, "R", "y", 1.0),
    "same_cost": lambda: isoclines([point(0.0, 1.0)], "a", ALT, "R", "y", 2.0),
    "variants": lambda: plots.variants([VARIANTS], "a", ALT, "y"),
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_plot_is_an_svg_for_a_page(name: str) -> None:
    svg = FIGURES[name]().svg
    root = ET.fromstring(svg)
    assert root.get("aria-label") == ALT
    assert root.get("role") == "img"
    assert root.get("width") is None
    assert root.get("viewBox")
    assert "currentColor" in svg
    assert "#123456" not in svg
    assert "<style" not in svg
    assert all(element.get("id", "a-").startswith("a-") for element in root.iter())


def test_plots_are_reproducible_and_leave_no_settings_behind() -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    first = FIGURES["scatter"]()
    second = FIGURES["scatter"]()
    assert first.svg == second.svg
    assert first.png == second.png
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("budget", [50.0, 0.5, None])
def test_the_axis_of_a_single_point_has_a_width(budget: float | None) -> None:
    """matplotlib's own limits for this figure, with a distant budget, differed only by a rounding error."""
    single = with_interval(0.49609899999999996, 0.6, (0.5, 0.69))
    ET.fromstring(plots.scatter([single], "one", "alt", "x", "y", budget, (0.6, "guessing")).svg)


def test_two_variants_at_the_same_position_share_a_name() -> None:
    three = [
        point(0.5, 0.6, "net", 1, "fp32"),
        point(0.5, 0.6, "net", 2, "int8_static"),
        point(0.9, 0.6, "net", 3, "int8_dynamic"),
    ]
    assert plots.scatter(three, "one", "alt", "x", "y").svg.count(">net<") == 2


@pytest.mark.parametrize(
    "values", [[3.0], [0.0], [0.1 + 0.2, 0.3], [1.0, 2.0], [4.0, 4.1], [1.0, 50.0], [0.0, 5.0], [-1.0, 1.0]]
)
@pytest.mark.parametrize("log", [True, False])
def test_an_axis_holds_its_values_with_a_margin(values: list[float], log: bool) -> None:
    with open_figure() as (_, axes):
        plots.x_scale(axes, values, log)
        low, high = axes.get_xlim()
        assert low < min(values) <= max(values) < high
        if max(values) - min(values) > 0.01 * max(values):
            assert high - low < 2 * (max(values) - min(values)) or axes.get_xscale() == "log"


def test_characters_without_a_glyph_and_mathematics_stay_text() -> None:
    svg = plots.learning_curves([plots.Curve("日本 $x_1$", (1, 2), (0.5, 0.6), 1)], "a", "alt", "y").svg
    assert "日本 $x_1$" in svg


@pytest.mark.parametrize(("count", "distance"), [(5, 1.0), (12, 0.05), (30, 0.01)])
def test_names_do_not_overlap(count: int, distance: float) -> None:
    with open_figure() as (figure, axes):
        shown = points(count, distance)
        positions = [(item.x, item.y) for item in shown]
        axes.scatter([item.x for item in shown], [item.y for item in shown])
        figure.draw_without_rendering()
        labels.place(axes, plots.point_labels(shown), positions, positions)
        names = [child for child in axes.get_children() if isinstance(child, Annotation)]
        boxes = [Text.get_window_extent(name) for name in names]
        assert names
        assert not any(first.overlaps(second) for first, second in itertools.combinations(boxes, 2))
