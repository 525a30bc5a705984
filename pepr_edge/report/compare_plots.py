"""The figures of a comparison: the same architectures in A and in B joined by lines, and both sides against their parameters.

Plain data in, one picture out, as SVG for a page and as PNG. Colours of Okabe and Ito: A is blue and round, B orange and square.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pepr_edge.report import labels
from pepr_edge.report.plots import MARKERS, PALETTE, x_scale
from pepr_edge.report.svg import INK, Picture, open_figure, picture, settle

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Of more architectures than that a distribution is drawn instead of their names.
NAMED = 14
FEWEST_FOR_DENSITY = 10
ROW_PX = 11.0  # at the figure's own 100 dpi: the height of a name


@dataclass(frozen=True)
class SlopeLine:
    """One architecture: its value in A and in B."""

    name: str
    a: float
    b: float


@dataclass(frozen=True)
class Dot:
    """One architecture on one side (0 is A): parameters in millions and its value."""

    name: str
    side: int
    x: float
    y: float
    efficient: bool


def slopes(lines: Sequence[SlopeLine], name: str, alt: str, sides: tuple[str, str], y_label: str) -> Picture:
    """Each architecture in A and in B, joined; the means as a bold line; names where few, distributions where many.

    Args:
        lines: at least one.
        name: of the picture, unique on a page.
        alt: what a reader who cannot see it is told.
        sides: what A and B are.
        y_label: what the values are.
    """
    with open_figure() as (figure, axes):
        for line in lines:
            axes.plot(
                [0, 1],
                [line.a, line.b],
                color=INK,
                alpha=0.35 if len(lines) <= NAMED else 0.16,
                linewidth=0.9,
                zorder=1,
            )
        for side, values in enumerate(([line.a for line in lines], [line.b for line in lines])):
            axes.scatter(
                [side] * len(values),
                values,
                24 if len(lines) <= NAMED else 14,
                color=PALETTE[side],
                marker=MARKERS[side],
                zorder=3,
            )
            if len(lines) > NAMED:
                _density(axes, side, values)
        means = [float(np.mean([line.a for line in lines])), float(np.mean([line.b for line in lines]))]
        axes.plot([0, 1], means, color=INK, linewidth=2.2, marker="D", markersize=6, label="mean", zorder=4)
        axes.set_xticks([0, 1], [labels.cut(side, 24) for side in sides])
        axes.set_xlim(-0.45, 1.45 if len(lines) > NAMED else 1.75)
        axes.grid(visible=False, axis="x")
        axes.set_ylabel(y_label)
        axes.margins(y=0.06)
        _legend(axes)
        if len(lines) <= NAMED:
            _names_at_right(figure, axes, lines)
        return picture(figure, name, alt)


def against_parameters(
    dots: Sequence[Dot],
    name: str,
    alt: str,
    sides: tuple[str, str],
    y_label: str,
    medians: tuple[float, float],
) -> Picture:
    """Both sides against their parameters; rings around efficient models, dashed at the median that parts small from large.

    Args:
        dots: at least one.
        name, alt, sides, y_label: see `slopes`.
        medians: of the parameters of A and of B, in millions.
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
                label=labels.cut(label, 24),
                zorder=3,
            )
        rings: Any = {"facecolors": "none", "edgecolors": INK, "linewidths": 1.0}
        efficient = [dot for dot in dots if dot.efficient]
        if efficient:
            axes.scatter(
                [dot.x for dot in efficient],
                [dot.y for dot in efficient],
                62,
                label="efficient",
                zorder=2,
                **rings,
            )
        _medians(axes, medians)
        axes.set_xlabel("parameters (million)")
        axes.set_ylabel(y_label)
        _legend(axes)
        if len({dot.name for dot in dots}) <= NAMED:
            settle(figure)
            low, high = axes.get_ylim()
            crossed = [(medians[0], low), (medians[0], high), (medians[1], high), (medians[1], low)]
            # A name once, beside the higher of its two points.
            highest = {
                dot.name: max((one for one in dots if one.name == dot.name), key=lambda one: one.y)
                for dot in dots
            }
            labels.place(
                axes,
                [(dot.x, dot.y, dot.name, "") for dot in highest.values()],
                [(dot.x, dot.y) for dot in dots],
                crossed,
            )
        return picture(figure, name, alt)


def _medians(axes: Axes, medians: tuple[float, float]) -> None:
    a, b = medians
    if abs(a - b) <= 0.02 * max(a, b):
        axes.axvline((a + b) / 2, color=INK, alpha=0.6, linewidth=1, linestyle="--", label="median", zorder=1)
        return
    for side, median in enumerate(medians):
        axes.axvline(
            median,
            color=PALETTE[side],
            linewidth=1,
            linestyle="--",
            label=f"median of {'AB'[side]}",
            zorder=1,
        )


def _density(axes: Axes, side: int, values: Sequence[float]) -> None:
    """Half a violin on the outer side; none where the values are few or all the same."""
    from matplotlib.mlab import GaussianKDE

    if len(values) < FEWEST_FOR_DENSITY or float(np.ptp(values)) == 0:
        return
    grid = np.linspace(min(values), max(values), 120)
    density = GaussianKDE(np.asarray(values, float)).evaluate(grid)
    width = 0.3 * density / density.max()
    near = side + (0.06 if side else -0.06)
    axes.fill_betweenx(
        grid, near, near + (width if side else -width), color=PALETTE[side], alpha=0.35, linewidth=0
    )


def _names_at_right(figure: Figure, axes: Axes, lines: Sequence[SlopeLine]) -> None:
    """Names in a column beside B, moved apart so that none covers another, each joined to its point."""
    settle(figure)
    frame = axes.get_window_extent()
    ordered = sorted(lines, key=lambda line: line.b)
    wanted = [float(axes.transData.transform((1, line.b))[1]) for line in ordered]
    at = _apart(wanted, ROW_PX, frame.y0 + ROW_PX / 2, frame.y1 - ROW_PX / 2)
    leader: Any = {
        "arrowstyle": "-",
        "color": INK,
        "alpha": 0.35,
        "linewidth": 0.6,
        "shrinkA": 0,
        "shrinkB": 4,
    }
    for line, y_px in zip(ordered, at, strict=True):
        y = float(axes.transData.inverted().transform((0, y_px))[1])
        text = axes.annotate(
            labels.cut(line.name, 22),
            (1, line.b),
            (1.12, y),
            textcoords="data",
            va="center",
            fontsize=labels.FONT_SIZE,
            color=INK,
            arrowprops=leader,
        )
        text.set_in_layout(False)


def _apart(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Ascending positions at least `gap` apart, each as near to its wish as going up, then down, allows."""
    at: list[float] = []
    for position in wanted:
        at.append(max(position, low, at[-1] + gap if at else low))
    limit = high
    for number in range(len(at) - 1, -1, -1):
        at[number] = min(at[number], limit)
        limit = at[number] - gap
    return at


def _legend(axes: Axes) -> None:
    """Above the axes, where it covers nothing."""
    _, names = axes.get_legend_handles_labels()
    columns = 4 if sum(map(len, names)) <= 44 else 2
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1.0),
        ncols=columns,
        frameon=False,
        borderaxespad=0.2,
        handlelength=1.6,
        columnspacing=1.2,
    )
