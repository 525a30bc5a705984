"""Candidates on the isoclines of PePR: the lines on which performance and resource make the same score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pepr_edge.report import labels, plots
from pepr_edge.report.svg import INK, Picture, open_figure, picture, settle

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LINES = 9
NOTE: Any = {"textcoords": "offset points", "fontsize": 7.5, "color": INK, "alpha": 0.75}


def isoclines(
    points: Sequence[plots.Point], name: str, alt: str, x_label: str, y_label: str, alpha: float
) -> Picture:
    """Performance against the normalised resource R, with lines of equal alpha * P / (alpha + R).

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
        _lines(axes, alpha)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        plots.draw_legend(axes)
        settle(figure)
        labels.place(
            axes, [(p.x, p.y, p.label, p.short) for p in points if p.named], [(p.x, p.y) for p in points], []
        )
        return picture(figure, name, alt)


def _lines(axes: Axes, alpha: float) -> None:
    """For one score P = score * (alpha + R) / alpha, which is straight; each with its score where it leaves the axes."""
    from matplotlib.ticker import MaxNLocator

    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    style: Any = {"color": INK, "alpha": 0.28, "linewidth": 0.9, "zorder": 1}
    for score in MaxNLocator(LINES).tick_values(
        max(0.0, low) * alpha / (alpha + right), high * alpha / (alpha + left)
    ):
        ends = [score * (alpha + x) / alpha for x in (left, right)]
        axes.plot((left, right), ends, **style)
        if low < ends[1] <= high:
            axes.annotate(f"{score:.3g}", (right, ends[1]), (3, 0), va="center", **NOTE)
        elif ends[0] < high < ends[1]:
            axes.annotate(
                f"{score:.3g}", (alpha * (high / score - 1), high), (0, 2), ha="center", va="bottom", **NOTE
            )
    axes.set_xlim(left, right)
    axes.set_ylim(low, high)
