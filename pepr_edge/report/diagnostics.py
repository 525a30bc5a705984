"""What a classifier's answers look like: ROC curves, reliability, confusion. Plain arrays in, one picture out.

Before quantisation is dashed in the page's ink; each file has a colour and a marker.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pepr_edge.report import labels
from pepr_edge.report.plots import PALETTE, draw_legend, styles
from pepr_edge.report.svg import INK, Picture, open_figure, open_panels, picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]
MOST_NAMED_CLASSES = 9


@dataclass(frozen=True)
class DiagnosticLine:
    """One model's line with its summary; `low` and `high` are intervals where there are any. `before`: of the model as trained."""

    variant: str
    summary: str
    x: Floats
    y: Floats
    before: bool
    low: Floats | None = None
    high: Floats | None = None


def roc(lines: Sequence[DiagnosticLine], name: str, alt: str, y_label: str, x_label: str) -> Picture:
    """Sensitivity against the share of false alarms; the diagonal is guessing."""
    with open_figure() as (figure, axes):
        axes.plot([0, 1], [0, 1], color=INK, alpha=0.35, linewidth=1, linestyle=":", label="guessing")
        for line, style in zip(lines, _styles(lines), strict=True):
            axes.plot(line.x, line.y, linewidth=1.4, **{**style, "marker": None})
        _unit_square(axes)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        draw_legend(axes)
        return picture(figure, name, alt)


def reliability(lines: Sequence[DiagnosticLine], name: str, alt: str) -> Picture:
    """How often the predicted class is right against its probability; on the diagonal a model is right as often as it says."""
    with open_figure() as (figure, axes):
        axes.plot(
            [0, 1],
            [0, 1],
            color=INK,
            alpha=0.35,
            linewidth=1,
            linestyle=":",
            label="as often right as it says",
        )
        for line, style in zip(lines, _styles(lines), strict=True):
            if line.low is not None and line.high is not None:
                bars = [np.maximum(line.y - line.low, 0), np.maximum(line.high - line.y, 0)]
                axes.errorbar(
                    line.x, line.y, yerr=bars, fmt="none", ecolor=style["color"], alpha=0.35, elinewidth=1
                )
            axes.plot(line.x, line.y, linewidth=1.4, markersize=4.5, **style)
        axes.set_xlim(max(0.0, min(float(line.x.min()) for line in lines) - 0.05), 1.02)
        axes.set_ylim(-0.03, 1.03)
        axes.set_xlabel("probability of the predicted class")
        axes.set_ylabel("share that is right")
        draw_legend(axes)
        return picture(figure, name, alt)


def confusion(
    tables: Sequence[tuple[str, NDArray[np.int64]]], classes: Sequence[str], name: str, alt: str
) -> Picture:
    """Images by true class (rows) and decision (columns), side by side; shaded by the share of the row."""
    count = len(classes)
    few = count <= MOST_NAMED_CLASSES
    with open_panels(len(tables), height_in=2.9 if count <= 5 else 3.4) as (figure, panels):
        for number, (axes, (title, table)) in enumerate(zip(panels, tables, strict=True)):
            shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
            _cells(axes, shares)
            axes.set_title(labels.cut(title, 30), fontsize=8.5, color=INK)
            axes.set_xlabel("decision")
            if few:
                names = [labels.cut(one, 14) for one in classes]
                axes.set_xticks(range(count), names, rotation=90 if count > 3 else 0)
                axes.set_yticks(range(count), names if number == 0 else [])
                for row, column in np.ndindex(count, count):
                    axes.text(
                        column, row, str(table[row, column]), ha="center", va="center", fontsize=8, color=INK
                    )
        panels[0].set_ylabel("true class")
        return picture(figure, name, alt)


def _cells(axes: Axes, shares: Floats) -> None:
    """One square a cell, its opacity the share: an image in an SVG would be shut out by the page's own policy."""
    from matplotlib.collections import PatchCollection
    from matplotlib.colors import to_rgba
    from matplotlib.patches import Rectangle

    count = len(shares)
    cells = [(row, column) for row, column in np.ndindex(count, count) if shares[row, column] > 0]
    patches = [Rectangle((column - 0.5, row - 0.5), 1, 1) for row, column in cells]
    colours = [to_rgba(PALETTE[0], 0.05 + 0.5 * float(shares[cell])) for cell in cells]
    axes.add_collection(PatchCollection(patches, facecolors=colours, linewidths=0))
    axes.set_xlim(-0.5, count - 0.5)
    axes.set_ylim(count - 0.5, -0.5)
    axes.set_aspect("equal")
    axes.grid(visible=False)


def _styles(lines: Sequence[DiagnosticLine]) -> list[dict[str, Any]]:
    """How each line looks: a file as its variant does elsewhere, what was before dashed and on top, so that both show where they agree."""
    looks = styles(line.variant for line in lines if not line.before)
    before = {"color": INK, "alpha": 0.85, "linestyle": (0, (3, 3)), "zorder": 4, "marker": "x"}
    own = [
        before if line.before else dict(zip(("color", "marker"), looks[line.variant], strict=True))
        for line in lines
    ]
    return [
        {"label": labels.cut(f"{line.variant}, {line.summary}"), **look}
        for line, look in zip(lines, own, strict=True)
    ]


def _unit_square(axes: Axes) -> None:
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
