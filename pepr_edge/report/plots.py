"""The report's figures, one function each: plain data in, one picture out. matplotlib is imported when a figure is drawn.

Each variant, method or candidate has a colour and a marker. Colours of Okabe and Ito, which the colour-blind can tell apart.
Source: Okabe & Ito 2008, Color Universal Design.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pepr_edge.report import labels
from pepr_edge.report.svg import INK, Picture, open_figure, picture, settle

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P")
NAMED_CURVES = 6
MARGIN = 0.09  # left free on each side of an axis, as a share of it
# What a line of a legend holds, its letters 8 points high, and what of that each colour takes.
LEGEND_CHARACTERS, HANDLE_CHARACTERS = 88, 7


@dataclass(frozen=True)
class Point:
    """One artifact in a scatter plot. `ranked` False: it broke a budget, and is drawn hollow. `front`: on the Pareto front."""

    label: str
    short: str
    variant: str
    x: float
    y: float
    ci: tuple[float, float] | None
    ranked: bool
    named: bool
    front: bool


@dataclass(frozen=True)
class Curve:
    """Performance per epoch of one candidate; `best` is the epoch that was kept."""

    label: str
    epochs: tuple[int, ...]
    values: tuple[float, ...]
    best: int


@dataclass(frozen=True)
class Bar:
    """One candidate's bar: what its training took and, None where it was not measured, its evaluation; of `method` one colour."""

    label: str
    value: float
    evaluation: float | None
    method: str


@dataclass(frozen=True)
class Change:
    """A candidate's performance by variant, with the decisions that differ from PyTorch's in words."""

    label: str
    values: dict[str, tuple[float, tuple[float, float]]]
    note: str


def scatter(
    points: Sequence[Point],
    name: str,
    alt: str,
    x_label: str,
    y_label: str,
    budget: float | None = None,
    baseline: tuple[float, str] | None = None,
    log: bool = False,
) -> Picture:
    """Performance (or a score) against a resource, the Pareto front joined, a budget and a baseline as lines.

    Args:
        points: at least one.
        name: unique on the page; the SVG's ids begin with it.
        alt: what a reader who cannot see it is told.
        x_label, y_label: with the unit.
        budget: in the x axis' unit.
        baseline: a performance and its name.
        log: a logarithmic x axis, unless the values lie close together; without it, one where they span an order of magnitude.
    """
    with open_figure() as (figure, axes):
        x_scale(axes, [point.x for point in points] + ([budget] if budget else []), log)
        draw_points(axes, points)
        front = sorted((point for point in points if point.front), key=lambda point: point.x)
        if len(front) > 1:
            axes.plot(
                [p.x for p in front],
                [p.y for p in front],
                color=INK,
                alpha=0.55,
                linewidth=1,
                linestyle="--",
                label="Pareto front",
                zorder=1,
            )
        if budget is not None:
            axes.axvline(budget, color=PALETTE[1], linewidth=1.4, linestyle=":", label="budget")
        if baseline is not None:
            axes.axhline(baseline[0], color=INK, alpha=0.45, linewidth=1, linestyle=":", label=baseline[1])
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        draw_legend(axes)
        settle(figure)
        # Variants of a candidate may lie upon each other: one name is enough.
        named = {(p.x, p.y, p.label): p.short for p in reversed(points) if p.named}
        labels.place(
            axes,
            [(*key, short) for key, short in reversed(named.items())],
            [(p.x, p.y) for p in points],
            [(p.x, p.y) for p in front],
        )
        return picture(figure, name, alt)


def learning_curves(curves: Sequence[Curve], name: str, alt: str, y_label: str) -> Picture:
    """Validation performance per epoch; the first few in colour with their names, the others grey; a marker at the epoch that was kept."""
    from matplotlib.ticker import MaxNLocator

    with open_figure() as (figure, axes):
        for curve in curves[NAMED_CURVES:]:
            axes.plot(curve.epochs, curve.values, color=INK, alpha=0.22, linewidth=0.9)
        for index, curve in enumerate(curves[:NAMED_CURVES]):
            colour, marker = PALETTE[index % len(PALETTE)], MARKERS[index % len(MARKERS)]
            axes.plot(
                curve.epochs,
                curve.values,
                color=colour,
                linewidth=1.5,
                marker=marker,
                markersize=6,
                markevery=[number for number, epoch in enumerate(curve.epochs) if epoch == curve.best],
                label=legend_name(curve.label),
            )
        if len(curves) > NAMED_CURVES:
            axes.plot(
                [], [], color=INK, alpha=0.35, linewidth=0.9, label=f"{len(curves) - NAMED_CURVES} others"
            )
        axes.set_xlabel("epoch")
        axes.set_ylabel(y_label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        draw_legend(axes)
        return picture(figure, name, alt)


def energy_bars(bars: Sequence[Bar], name: str, alt: str, parts: tuple[str, str]) -> Picture:
    """Energy by candidate, Wh, a second part added to it and lighter; one colour for each method.

    Args:
        bars: at least one.
        name, alt: see `scatter`.
        parts: how the legend names the two, {} is the method; "" leaves one out.
    """
    with open_figure(rows=len(bars)) as (figure, axes):
        for method, (colour, _) in styles(bar.method for bar in bars).items():
            chosen = [(number, bar) for number, bar in enumerate(bars) if bar.method == method]
            at = [number for number, _ in chosen]
            axes.barh(at, [bar.value for _, bar in chosen], 0.68, color=colour, label=parts[0].format(method))
            extra = [bar.evaluation or 0.0 for _, bar in chosen]
            after: Any = {
                "left": [bar.value for _, bar in chosen],
                "alpha": 0.4,
                "linewidth": 0,
                "label": parts[1].format(method) or None,
            }
            axes.barh(at, extra, 0.68, color=colour, **after)
        name_rows(axes, [bar.label for bar in bars])
        axes.set_xlim(left=0)
        axes.set_xlabel("energy (Wh)")
        draw_legend(axes)
        return picture(figure, name, alt)


def variants(changes: Sequence[Change], name: str, alt: str, x_label: str) -> Picture:
    """Performance by variant, one row a candidate, its variants joined by a line; the flips of decisions at the right."""
    from matplotlib.ticker import MaxNLocator

    with open_figure(rows=len(changes)) as (figure, axes):
        for row, change in enumerate(changes):
            values = [value for value, _ in change.values.values()]
            axes.plot([min(values), max(values)], [row, row], color=INK, alpha=0.4, linewidth=1.2, zorder=1)
            axes.annotate(
                change.note,
                (1.01, row),
                xycoords=("axes fraction", "data"),
                va="center",
                fontsize=7.5,
                color=INK,
            )
        looks = styles(variant for change in changes for variant in change.values)
        for number, (variant, (colour, marker)) in enumerate(looks.items()):
            chosen = [
                (row, *change.values[variant])
                for row, change in enumerate(changes)
                if variant in change.values
            ]
            shift = 0.16 * (number - (len(looks) - 1) / 2)
            x, low, high = (
                [item[1] for item in chosen],
                [v - ci[0] for _, v, ci in chosen],
                [ci[1] - v for _, v, ci in chosen],
            )
            y = [row + shift for row, _, _ in chosen]
            axes.errorbar(x, y, xerr=[low, high], fmt="none", ecolor=colour, alpha=0.45, elinewidth=1)
            axes.scatter(x, y, 26, color=colour, marker=marker, label=legend_name(variant), zorder=3)
        name_rows(axes, [change.label for change in changes])
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.set_xlabel(x_label)
        draw_legend(axes)
        return picture(figure, name, alt)


def draw_points(axes: Axes, points: Sequence[Point]) -> None:
    """Points with their intervals, a colour and a marker for each variant."""
    for variant, (colour, marker) in styles(point.variant for point in points).items():
        _draw_variant(axes, [point for point in points if point.variant == variant], variant, colour, marker)


def _draw_variant(axes: Axes, points: Sequence[Point], variant: str, colour: str, marker: str) -> None:
    bars = [point for point in points if point.ci is not None]
    low = [max(0.0, p.y - p.ci[0]) for p in bars if p.ci]
    high = [max(0.0, p.ci[1] - p.y) for p in bars if p.ci]
    if bars:
        axes.errorbar(
            [p.x for p in bars],
            [p.y for p in bars],
            yerr=[low, high],
            fmt="none",
            ecolor=colour,
            alpha=0.35,
            elinewidth=1,
            zorder=2,
        )
    ranked = [point for point in points if point.ranked]
    over = [point for point in points if not point.ranked]
    axes.scatter(
        [p.x for p in ranked],
        [p.y for p in ranked],
        30,
        color=colour,
        marker=marker,
        label=legend_name(variant),
        zorder=3,
    )
    if over:
        hollow: Any = {"facecolors": "none", "edgecolors": colour, "linewidths": 1.3}
        axes.scatter(
            [p.x for p in over],
            [p.y for p in over],
            30,
            marker=marker,
            label=f"{legend_name(variant)}, over budget",
            zorder=3,
            **hollow,
        )


def styles(names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """A colour and a marker by name, in the order of the names, so that figures of the same variants agree."""
    unique = sorted(set(names))
    return {
        name: (PALETTE[number % len(PALETTE)], MARKERS[number % len(MARKERS)])
        for number, name in enumerate(unique)
    }


def x_scale(axes: Axes, values: Sequence[float], log: bool) -> None:
    """A horizontal axis that holds all values: logarithmic where they span an order of magnitude; if asked for, unless they lie close."""
    low, high = min(values), max(values)
    span = high / low if low > 0 else 0.0
    if span >= (3 if log else 8):
        axes.set_xscale("log")
        plain_log(axes.xaxis, span)
        axes.set_xlim(low * span**-MARGIN, high * span**MARGIN)
    else:  # left to itself, matplotlib makes an axis of no width of two values that differ by a rounding error
        room = MARGIN * max(high - low, 1e-3 * abs(high)) or 1.0
        axes.set_xlim(low - room, high + room)
    axes.margins(y=MARGIN)


def plain_log(axis: Axis, span: float) -> None:
    """Plain figures on a logarithmic axis, not too many for values whose greatest is `span` times the least."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if span < 300 else (1,)))
    axis.set_major_formatter(StrMethodFormatter("{x:,.10g}"))
    axis.set_minor_formatter(NullFormatter())


def name_rows(axes: Axes, names: Sequence[str]) -> None:
    """The vertical axis as a list of names, the first on top."""
    axes.set_yticks(range(len(names)), [labels.cut(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")


def legend_name(text: str) -> str:
    """A name for the legend, which would leave out one that begins with an underscore."""
    return f" {labels.cut(text)}" if text.startswith("_") else labels.cut(text)


def draw_legend(axes: Axes) -> None:
    """Above the axes and from the figure's left on, where it covers nothing, in as many columns as there is room for."""
    handles, names = axes.get_legend_handles_labels()
    if handles:
        columns = max(1, int(LEGEND_CHARACTERS / (max(map(len, names)) + HANDLE_CHARACTERS)))
        axes.figure.legend(
            handles,
            names,
            loc="outside upper left",
            ncols=columns,
            frameon=False,
            borderaxespad=0.2,
            handlelength=1.6,
            columnspacing=1.2,
        )
