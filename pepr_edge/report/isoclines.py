"""Candidates on isoclines of PePR: lines on which performance and resource give the same score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pepr_edge.report import labels, plots
from pepr_edge.report.svg import INK, Picture, open_figure, picture, settle

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LINES = 9
NOTE: Any = {"textcoords": "offset points", "fontsize": 7.5, "color": INK, "alpha": 0.75}
LINE: Any = {"color": INK, "alpha": 0.28, "linewidth": 0.9, "zorder": 1}


def isoclines(
    points: Sequence[plots.Point], name: str, alt: str, x_label: str, y_label: str, alpha: float
) -> Picture:
    """Draw performance against the normalised resource R, with lines of equal alpha * P / (alpha + R).

    Args:
        points: at least one; x is R, in [0, 1].
        name, alt, x_label, y_label: see `plots.scatter`.
        alpha: of the score.
    """
    with open_figure() as (figure, axes):
        plots.draw_points(axes, points)
        axes.margins(y=0.09)
        axes.set_xlim(-0.03, max(0.25, 1.12 * max(point.x for point in points)))
        low, high = axes.get_ylim()
        axes.set_ylim(max(low, -0.02), min(high, 1.02))
        axes.grid(visible=False)
        _draw_lines(axes, alpha)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        plots.draw_legend(axes)
        settle(figure)
        labels.place(axes, plots.point_labels(points), [(point.x, point.y) for point in points], [])
        return picture(figure, name, alt)


def _draw_lines(axes: Axes, alpha: float) -> None:
    """Draw P = score * (alpha + R) / alpha, a straight line per score, with the score at its end."""
    from matplotlib.ticker import MaxNLocator

    left, right = axes.get_xlim()
    low, high = axes.get_ylim()
    lowest_score = max(0.0, low) * alpha / (alpha + right)
    highest_score = high * alpha / (alpha + left)
    for score in MaxNLocator(LINES).tick_values(lowest_score, highest_score):
        start = score * (alpha + left) / alpha
        end = score * (alpha + right) / alpha
        axes.plot((left, right), (start, end), **LINE)
        if low < end <= high:
            axes.annotate(f"{score:.3g}", (right, end), (3, 0), va="center", **NOTE)
        elif start < high < end:
            x_at_top = alpha * (high / score - 1)
            axes.annotate(f"{score:.3g}", (x_at_top, high), (0, 2), ha="center", va="bottom", **NOTE)
    axes.set_xlim(left, right)
    axes.set_ylim(low, high)
