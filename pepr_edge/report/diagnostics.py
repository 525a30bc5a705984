"""Plots of a classifier's predictions: ROC curves, reliability, confusion. Plain arrays in, one picture out.

The model before quantisation is dashed in the page's text colour; each file has a colour and a marker.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pepr_edge.report.labels import MAX_NAME
from pepr_edge.report.plots import PALETTE, draw_legend, styles
from pepr_edge.report.svg import INK, Picture, open_figure, open_panels, picture
from pepr_edge.text.tables import clip_middle

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]
MAX_NAMED_CLASSES = 9
DIAGONAL: Any = {"color": INK, "alpha": 0.35, "linewidth": 1, "linestyle": ":"}
BEFORE: Any = {"color": INK, "alpha": 0.85, "linestyle": (0, (3, 3)), "zorder": 4, "marker": "x"}


@dataclass(frozen=True)
class DiagnosticLine:
    """One model's line and its summary.

    `before`: it is the model as trained. `low` and `high`: intervals, if there are any.
    """

    variant: str
    summary: str
    x: Floats
    y: Floats
    before: bool
    low: Floats | None = None
    high: Floats | None = None


def roc(lines: Sequence[DiagnosticLine], name: str, alt: str, y_label: str, x_label: str) -> Picture:
    """Draw sensitivity against the false-alarm rate; guessing lies on the diagonal."""
    with open_figure() as (figure, axes):
        axes.plot([0, 1], [0, 1], label="guessing", **DIAGONAL)
        for line, style in zip(lines, _styles(lines), strict=True):
            axes.plot(line.x, line.y, linewidth=1.4, **(style | {"marker": None}))
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        draw_legend(axes)
        return picture(figure, name, alt)


def reliability(
    lines: Sequence[DiagnosticLine],
    name: str,
    alt: str,
    x_label: str = "probability of the predicted class",
    y_label: str = "share of correct predictions",
) -> Picture:
    """Draw the share of correct predictions against probability; a calibrated model lies on the diagonal."""
    with open_figure() as (figure, axes):
        axes.plot([0, 1], [0, 1], label="perfectly calibrated", **DIAGONAL)
        for line, style in zip(lines, _styles(lines), strict=True):
            if line.low is not None and line.high is not None:
                low = np.minimum(line.low, line.y)
                high = np.maximum(line.high, line.y)
                axes.vlines(line.x, low, high, colors=style["color"], alpha=0.35, linewidth=1)
            axes.plot(line.x, line.y, linewidth=1.4, markersize=4.5, **style)
        axes.set_xlim(max(0.0, min(float(line.x.min()) for line in lines) - 0.05), 1.02)
        axes.set_ylim(-0.03, 1.03)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        draw_legend(axes)
        return picture(figure, name, alt)


def confusion(
    tables: Sequence[tuple[str, NDArray[np.int64]]], classes: Sequence[str], name: str, alt: str
) -> Picture:
    """Draw confusion matrices side by side: true class (rows), predicted class (columns).

    A cell is the darker, the larger its share of the row.
    """
    # More than three classes have their names upright, below the squares.
    height_in = 2.9 if len(classes) <= 3 else 3.8
    with open_panels(len(tables), height_in=height_in) as (figure, panels):
        for number, (axes, (title, table)) in enumerate(zip(panels, tables, strict=True)):
            _shade(axes, table / np.maximum(table.sum(axis=1, keepdims=True), 1))
            axes.set_title(clip_middle(title, 30), fontsize=8.5, color=INK)
            axes.set_xlabel("predicted class")
            if len(classes) <= MAX_NAMED_CLASSES:
                _write_counts(axes, table, classes, names_at_left=number == 0)
        panels[0].set_ylabel("true class")
        return picture(figure, name, alt)


def _write_counts(axes: Axes, table: NDArray[np.int64], classes: Sequence[str], names_at_left: bool) -> None:
    count = len(classes)
    names = [clip_middle(label, 14) for label in classes]
    axes.set_xticks(range(count), names, rotation=90 if count > 3 else 0)
    axes.set_yticks(range(count), names if names_at_left else [])
    for row, column in np.ndindex(count, count):
        number = str(table[row, column])
        axes.text(column, row, number, ha="center", va="center", fontsize=8, color=INK)


def _shade(axes: Axes, shares: Floats) -> None:
    """Draw one square per cell with the share as its opacity.

    No image is used: the page's security policy blocks images inside an SVG.
    """
    from matplotlib.collections import PatchCollection
    from matplotlib.colors import to_rgba
    from matplotlib.patches import Rectangle

    count = len(shares)
    patches = []
    colours = []
    for row, column in np.argwhere(shares > 0):
        patches.append(Rectangle((column - 0.5, row - 0.5), 1, 1))
        colours.append(to_rgba(PALETTE[0], 0.05 + 0.5 * float(shares[row, column])))
    axes.add_collection(PatchCollection(patches, facecolors=colours, linewidths=0))
    axes.set_xlim(-0.5, count - 0.5)
    axes.set_ylim(count - 0.5, -0.5)
    axes.set_aspect("equal")
    axes.grid(visible=False)


def _styles(lines: Sequence[DiagnosticLine]) -> list[dict[str, Any]]:
    """Return the style of each line: a file like its variant in other plots, the model as trained dashed."""
    by_variant = styles(line.variant for line in lines if not line.before)
    line_styles = []
    for line in lines:
        label = clip_middle(f"{line.variant}, {line.summary}", MAX_NAME)
        if line.before:
            line_styles.append({"label": label, **BEFORE})
        else:
            colour, marker = by_variant[line.variant]
            line_styles.append({"label": label, "color": colour, "marker": marker})
    return line_styles
