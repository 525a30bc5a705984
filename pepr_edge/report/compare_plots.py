"""Plots of a comparison: each architecture in A and in B, and both sides against their parameters.

Plain data in, one picture out, as SVG for a page and as PNG. Colours of Okabe and Ito: A is blue and round,
B orange and square.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pepr_edge.report import labels
from pepr_edge.report.labels import Label
from pepr_edge.report.plots import MARKERS, PALETTE, x_scale
from pepr_edge.report.svg import INK, Picture, open_figure, picture, settle
from pepr_edge.text.tables import clip_middle

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_NAMED = 14  # architectures; with more, distributions are drawn instead of names
MIN_FOR_DENSITY = 10
ROW_PX = 11.0  # height of a name at the figure's own 100 dpi
SIDE_WIDTH = 24  # characters
RINGS: Any = {"facecolors": "none", "edgecolors": INK, "linewidths": 1.0}
LEADER: Any = labels.LEADER | {"alpha": 0.35, "shrinkB": 4}


@dataclass(frozen=True)
class SlopeLine:
    """One architecture: its value in A and in B."""

    name: str
    a: float
    b: float


@dataclass(frozen=True)
class Dot:
    """One architecture on one side (0 is A, 1 is B): parameters in millions and its value."""

    name: str
    side: int
    x: float
    y: float
    efficient: bool


def slopes(lines: Sequence[SlopeLine], name: str, alt: str, sides: tuple[str, str], y_label: str) -> Picture:
    """Join each architecture's values in A and in B by a line, and the means by a bold line.

    Up to MAX_NAMED architectures are named; of more, the distributions are drawn.

    Args:
        lines: at least one.
        name: of the picture, unique on a page.
        alt: description for readers who cannot see it.
        sides: names of A and B.
        y_label: name of the values.
    """
    few = len(lines) <= MAX_NAMED
    with open_figure() as (figure, axes):
        for line in lines:
            axes.plot(
                [0, 1], [line.a, line.b], color=INK, alpha=0.35 if few else 0.16, linewidth=0.9, zorder=1
            )
        both = ([line.a for line in lines], [line.b for line in lines])
        for side, values in enumerate(both):
            axes.scatter(
                [side] * len(values),
                values,
                24 if few else 14,
                color=PALETTE[side],
                marker=MARKERS[side],
                zorder=3,
            )
            if not few:
                _draw_density(axes, side, values)
        means = [float(np.mean(values)) for values in both]
        axes.plot([0, 1], means, color=INK, linewidth=2.2, marker="D", markersize=6, label="mean", zorder=4)
        axes.set_xticks([0, 1], [clip_middle(side, SIDE_WIDTH) for side in sides])
        axes.set_xlim(-0.45, 1.75 if few else 1.45)
        axes.grid(visible=False, axis="x")
        axes.set_ylabel(y_label)
        axes.margins(y=0.06)
        _draw_legend(axes)
        if few:
            _write_names_at_right(figure, axes, lines)
        return picture(figure, name, alt)


def against_parameters(
    dots: Sequence[Dot],
    name: str,
    alt: str,
    sides: tuple[str, str],
    y_label: str,
    medians: tuple[float, float],
) -> Picture:
    """Draw both sides against their parameters, with rings around efficient models and lines at the medians.

    Args:
        dots: at least one.
        name, alt, sides, y_label: see `slopes`.
        medians: of the parameters of A and of B, in millions; they separate small from large models.
    """
    with open_figure() as (figure, axes):
        x_scale(axes, [dot.x for dot in dots], log=True)
        for side, label in enumerate(sides):
            own = [dot for dot in dots if dot.side == side]
            axes.scatter(
                [dot.x for dot in own],
                [dot.y for dot in own],
                26,
                color=PALETTE[side],
                marker=MARKERS[side],
                label=clip_middle(label, SIDE_WIDTH),
                zorder=3,
            )
        efficient = [dot for dot in dots if dot.efficient]
        if efficient:
            x = [dot.x for dot in efficient]
            y = [dot.y for dot in efficient]
            axes.scatter(x, y, 62, label="efficient", zorder=2, **RINGS)
        _draw_medians(axes, medians)
        axes.set_xlabel("parameters (million)")
        axes.set_ylabel(y_label)
        _draw_legend(axes)
        if len({dot.name for dot in dots}) <= MAX_NAMED:
            _write_names(figure, axes, dots, medians)
        return picture(figure, name, alt)


def _write_names(figure: Figure, axes: Axes, dots: Sequence[Dot], medians: tuple[float, float]) -> None:
    """Write each architecture's name once, beside the higher of its two points."""
    settle(figure)
    low, high = axes.get_ylim()
    median_lines = [(medians[0], low), (medians[0], high), (medians[1], high), (medians[1], low)]
    highest: dict[str, Dot] = {}
    for dot in dots:
        if dot.name not in highest or dot.y > highest[dot.name].y:
            highest[dot.name] = dot
    names = [Label(dot.x, dot.y, dot.name, "") for dot in highest.values()]
    labels.place(axes, names, [(dot.x, dot.y) for dot in dots], median_lines)


def _draw_medians(axes: Axes, medians: tuple[float, float]) -> None:
    a, b = medians
    if abs(a - b) <= 0.02 * max(a, b):
        axes.axvline((a + b) / 2, color=INK, alpha=0.6, linewidth=1, linestyle="--", label="median", zorder=1)
        return
    for side, median in enumerate(medians):
        label = f"median of {'AB'[side]}"
        axes.axvline(median, color=PALETTE[side], linewidth=1, linestyle="--", label=label, zorder=1)


def _draw_density(axes: Axes, side: int, values: Sequence[float]) -> None:
    """Draw half a violin on the outer side, unless the values are few or all the same."""
    from matplotlib.mlab import GaussianKDE

    if len(values) < MIN_FOR_DENSITY or float(np.ptp(values)) == 0:
        return
    grid = np.linspace(min(values), max(values), 120)
    density = GaussianKDE(np.asarray(values, float)).evaluate(grid)
    outward = 1 if side else -1
    inner = side + 0.06 * outward
    outer = inner + 0.3 * outward * density / density.max()
    axes.fill_betweenx(grid, inner, outer, color=PALETTE[side], alpha=0.35, linewidth=0)


def _write_names_at_right(figure: Figure, axes: Axes, lines: Sequence[SlopeLine]) -> None:
    """Write the names in a column beside B, without overlap, each joined to its point."""
    settle(figure)
    frame = axes.get_window_extent()
    ordered = sorted(lines, key=lambda line: line.b)
    wanted = [float(axes.transData.transform((1, line.b))[1]) for line in ordered]
    positions = _spread_out(wanted, ROW_PX, frame.y0 + ROW_PX / 2, frame.y1 - ROW_PX / 2)
    for line, y_px in zip(ordered, positions, strict=True):
        y = float(axes.transData.inverted().transform((0, y_px))[1])
        text = axes.annotate(
            clip_middle(line.name, 22),
            (1, line.b),
            (1.12, y),
            textcoords="data",
            va="center",
            fontsize=labels.FONT_SIZE,
            color=INK,
            arrowprops=LEADER,
        )
        text.set_in_layout(False)


def _spread_out(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move ascending positions at least `gap` apart: upwards from `low`, then downwards from `high`."""
    positions: list[float] = []
    for position in wanted:
        limit = positions[-1] + gap if positions else low
        positions.append(max(position, low, limit))
    limit = high
    for number in reversed(range(len(positions))):
        positions[number] = min(positions[number], limit)
        limit = positions[number] - gap
    return positions


def _draw_legend(axes: Axes) -> None:
    """Draw the legend above the axes, where it covers nothing."""
    _, names = axes.get_legend_handles_labels()
    short = sum(len(name) for name in names) <= 44
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1.0),
        ncols=4 if short else 2,
        frameon=False,
        borderaxespad=0.2,
        handlelength=1.6,
        columnspacing=1.2,
    )
