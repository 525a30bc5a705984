"""The report's plots, one function each: plain data in, one picture out. matplotlib is imported on drawing.

Each variant, method or candidate has a colour and a marker. Colour-blind readers can tell the colours apart.
Source: Okabe & Ito 2008, Color Universal Design.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pepr_edge.report import labels
from pepr_edge.report.labels import MAX_NAME, Label
from pepr_edge.report.svg import INK, Picture, open_figure, picture, settle
from pepr_edge.text.tables import clip_middle

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P")
NAMED_CURVES = 6
MARGIN = 0.09  # free space on each side of an axis, as a share of its length
LEGEND_CHARACTERS = 88  # that fit in a line of the legend at 8 points
HANDLE_CHARACTERS = 7  # of these, taken by the symbol of each entry
BAR_HEIGHT = 0.68
# A horizontal axis is logarithmic from this ratio of its values: if asked for, and by itself.
LOG_SPAN = 3
AUTO_LOG_SPAN = 8


@dataclass(frozen=True)
class Point:
    """One artifact in a scatter plot. `ranked` False: drawn hollow. `front`: on the Pareto front."""

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
    """Performance per epoch of one candidate; `best` is the selected epoch."""

    label: str
    epochs: tuple[int, ...]
    values: tuple[float, ...]
    best: int


@dataclass(frozen=True)
class Bar:
    """Energy of one candidate, Wh. `extra` is added in a lighter colour; None if not measured."""

    label: str
    value: float
    extra: float | None
    group: str


@dataclass(frozen=True)
class VariantPerformance:
    """Performance of a candidate's variants, with intervals; `note` is written beside its row."""

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
    """Draw performance (or a score) against a resource, with Pareto front, budget and baseline as lines.

    Args:
        points: at least one.
        name: unique on the page; the SVG's ids begin with it.
        alt: description for readers who cannot see it.
        x_label, y_label: with the unit.
        budget: in the unit of the x axis.
        baseline: a performance and its name.
        log: prefer a logarithmic x axis; see `x_scale`.
    """
    with open_figure() as (figure, axes):
        x_scale(axes, [point.x for point in points] + ([budget] if budget else []), log)
        draw_points(axes, points)
        front = sorted((point.x, point.y) for point in points if point.front)
        if len(front) > 1:
            xs, ys = zip(*front, strict=True)
            axes.plot(
                xs, ys, color=INK, alpha=0.55, linewidth=1, linestyle="--", label="Pareto front", zorder=1
            )
        if budget is not None:
            axes.axvline(budget, color=PALETTE[1], linewidth=1.4, linestyle=":", label="budget")
        if baseline is not None:
            axes.axhline(baseline[0], color=INK, alpha=0.45, linewidth=1, linestyle=":", label=baseline[1])
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        draw_legend(axes)
        settle(figure)
        labels.place(axes, point_labels(points), [(point.x, point.y) for point in points], front)
        return picture(figure, name, alt)


def point_labels(points: Sequence[Point]) -> list[Label]:
    """Return the labels of the named points; variants of a candidate at the same position share a label."""
    by_position: dict[tuple[float, float, str], Label] = {}
    for point in points:
        if point.named:
            label = Label(point.x, point.y, point.label, point.short)
            by_position.setdefault((point.x, point.y, point.label), label)
    return list(by_position.values())


def learning_curves(curves: Sequence[Curve], name: str, alt: str, y_label: str) -> Picture:
    """Draw performance per epoch, with a marker at the selected epoch; only the first curves have colours."""
    from matplotlib.ticker import MaxNLocator

    with open_figure() as (figure, axes):
        for curve in curves[NAMED_CURVES:]:
            axes.plot(curve.epochs, curve.values, color=INK, alpha=0.22, linewidth=0.9)
        for number, curve in enumerate(curves[:NAMED_CURVES]):
            colour, marker = style(number)
            axes.plot(
                curve.epochs,
                curve.values,
                color=colour,
                linewidth=1.5,
                marker=marker,
                markersize=6,
                markevery=[index for index, epoch in enumerate(curve.epochs) if epoch == curve.best],
                label=legend_name(curve.label),
            )
        others = len(curves) - NAMED_CURVES
        if others > 0:
            axes.plot([], [], color=INK, alpha=0.35, linewidth=0.9, label=f"{others} others")
        axes.set_xlabel("epoch")
        axes.set_ylabel(y_label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        draw_legend(axes)
        return picture(figure, name, alt)


def energy_bars(bars: Sequence[Bar], name: str, alt: str, parts: tuple[str, str]) -> Picture:
    """Draw energy by candidate, Wh, with the extra part added in a lighter colour; one colour per group.

    Args:
        bars: at least one.
        name, alt: see `scatter`.
        parts: names of the two parts in the legend; {} is the group, "" omits the part.
    """
    with open_figure(rows=len(bars)) as (figure, axes):
        for group, (colour, _) in styles(bar.group for bar in bars).items():
            rows = [row for row, bar in enumerate(bars) if bar.group == group]
            values = [bars[row].value for row in rows]
            extras = [bars[row].extra or 0.0 for row in rows]
            axes.barh(rows, values, BAR_HEIGHT, color=colour, label=parts[0].format(group))
            lighter: Any = {"left": values, "alpha": 0.4, "linewidth": 0}
            axes.barh(rows, extras, BAR_HEIGHT, color=colour, label=parts[1].format(group) or None, **lighter)
        name_rows(axes, [bar.label for bar in bars])
        axes.set_xlim(left=0)
        axes.set_xlabel("energy (Wh)")
        draw_legend(axes)
        return picture(figure, name, alt)


def variants(candidates: Sequence[VariantPerformance], name: str, alt: str, x_label: str) -> Picture:
    """Draw performance by variant, one row per candidate, with its note at the right."""
    from matplotlib.ticker import MaxNLocator

    with open_figure(rows=len(candidates)) as (figure, axes):
        for row, candidate in enumerate(candidates):
            values = [value for value, _ in candidate.values.values()]
            axes.plot([min(values), max(values)], [row, row], color=INK, alpha=0.4, linewidth=1.2, zorder=1)
            axes.annotate(
                candidate.note,
                (1.01, row),
                xycoords=("axes fraction", "data"),
                va="center",
                fontsize=7.5,
                color=INK,
            )
        by_variant = styles(variant for candidate in candidates for variant in candidate.values)
        for number, variant in enumerate(by_variant):
            shift = 0.16 * (number - (len(by_variant) - 1) / 2)
            _draw_variant_rows(axes, candidates, variant, by_variant[variant], shift)
        name_rows(axes, [candidate.label for candidate in candidates])
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.set_xlabel(x_label)
        draw_legend(axes)
        return picture(figure, name, alt)


def _draw_variant_rows(
    axes: Axes,
    candidates: Sequence[VariantPerformance],
    variant: str,
    colour_and_marker: tuple[str, str],
    shift: float,
) -> None:
    """Draw one variant of each candidate that has it, `shift` below the candidate's row."""
    colour, marker = colour_and_marker
    x = []
    y = []
    low = []
    high = []
    for row, candidate in enumerate(candidates):
        if variant in candidate.values:
            value, ci = candidate.values[variant]
            x.append(value)
            y.append(row + shift)
            low.append(value - ci[0])
            high.append(ci[1] - value)
    axes.errorbar(x, y, xerr=[low, high], fmt="none", ecolor=colour, alpha=0.45, elinewidth=1)
    axes.scatter(x, y, 26, color=colour, marker=marker, label=legend_name(variant), zorder=3)


def draw_points(axes: Axes, points: Sequence[Point]) -> None:
    """Draw points with their intervals, a colour and a marker for each variant."""
    for variant, (colour, marker) in styles(point.variant for point in points).items():
        own = [point for point in points if point.variant == variant]
        _draw_intervals(axes, own, colour)
        ranked = [point for point in own if point.ranked]
        unranked = [point for point in own if not point.ranked]
        name = legend_name(variant)
        axes.scatter(
            [point.x for point in ranked],
            [point.y for point in ranked],
            30,
            color=colour,
            marker=marker,
            label=name,
            zorder=3,
        )
        if unranked:
            hollow: Any = {"facecolors": "none", "edgecolors": colour, "linewidths": 1.3}
            axes.scatter(
                [point.x for point in unranked],
                [point.y for point in unranked],
                30,
                marker=marker,
                label=f"{name}, not ranked",
                zorder=3,
                **hollow,
            )


def _draw_intervals(axes: Axes, points: Sequence[Point], colour: str) -> None:
    x = []
    y = []
    low = []
    high = []
    for point in points:
        if point.ci is not None:
            x.append(point.x)
            y.append(point.y)
            low.append(max(0.0, point.y - point.ci[0]))
            high.append(max(0.0, point.ci[1] - point.y))
    if x:
        axes.errorbar(x, y, yerr=[low, high], fmt="none", ecolor=colour, alpha=0.35, elinewidth=1, zorder=2)


def style(number: int) -> tuple[str, str]:
    """Return the colour and the marker of the n-th series; they repeat after the last."""
    return PALETTE[number % len(PALETTE)], MARKERS[number % len(MARKERS)]


def styles(names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Return a colour and a marker by name, in alphabetical order: figures of the same variants agree."""
    return {name: style(number) for number, name in enumerate(sorted(set(names)))}


def x_scale(axes: Axes, values: Sequence[float], log: bool) -> None:
    """Scale the horizontal axis so that it holds all values.

    It is logarithmic if the largest value is at least 8 times the smallest; with `log`, at least 3 times.
    """
    low = min(values)
    high = max(values)
    span = high / low if low > 0 else 0.0
    if span >= (LOG_SPAN if log else AUTO_LOG_SPAN):
        axes.set_xscale("log")
        plain_log(axes.xaxis, span)
        axes.set_xlim(low * span**-MARGIN, high * span**MARGIN)
    else:  # matplotlib alone makes an axis of width 0 from values that differ by a rounding error
        room = MARGIN * max(high - low, 1e-3 * abs(high)) or 1.0
        axes.set_xlim(low - room, high + room)
    axes.margins(y=MARGIN)


def plain_log(axis: Axis, span: float) -> None:
    """Write plain numbers on a logarithmic axis; fewer if `span`, the ratio of its values, is large."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if span < 300 else (1,)))
    axis.set_major_formatter(StrMethodFormatter("{x:,.10g}"))
    axis.set_minor_formatter(NullFormatter())


def name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Make the vertical axis a list of names, the first on top."""
    axes.set_yticks(range(len(names)), [clip_middle(name, MAX_NAME) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")


def legend_name(text: str) -> str:
    """Return a name for the legend; matplotlib would omit a name that begins with an underscore."""
    name = clip_middle(text, MAX_NAME)
    return f" {name}" if name.startswith("_") else name


def draw_legend(axes: Axes) -> None:
    """Draw the legend above the axes, where it covers nothing, in as many columns as there is room for."""
    handles, names = axes.get_legend_handles_labels()
    if not handles:
        return
    width = max(len(name) for name in names) + HANDLE_CHARACTERS
    axes.figure.legend(
        handles,
        names,
        loc="outside upper left",
        ncols=max(1, LEGEND_CHARACTERS // width),
        frameon=False,
        borderaxespad=0.2,
        handlelength=1.6,
        columnspacing=1.2,
    )
