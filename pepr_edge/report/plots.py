"""The report's figures, one function each: plain data in, one SVG string out. matplotlib is imported when a figure is drawn.

Each variant, method or candidate has a colour and a marker. Colours of Okabe and Ito, which the colour-blind can tell apart.
Source: Okabe & Ito 2008, Color Universal Design.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pepr_edge.report import labels
from pepr_edge.report.svg import INK, open_figure, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P")
NAMED_CURVES = 6


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
    """One candidate's bar: what its training took and, None where it was not measured, its evaluation."""

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
    log_x: bool = False,
) -> str:
    """Performance (or a score) against a resource, the Pareto front joined, a budget and a baseline as lines.

    Args:
        points: at least one.
        name: unique on the page; the SVG's ids begin with it.
        alt: what a reader who cannot see it is told.
        x_label, y_label: with the unit.
        budget: in the x axis' unit.
        baseline: a performance and its name.
        log_x: a logarithmic x axis; without it, one where the values span an order of magnitude.
    """
    with open_figure() as (figure, axes):
        _x_scale(axes, [point.x for point in points] + ([budget] if budget else []), log_x)
        for variant, (colour, marker) in _styles(point.variant for point in points).items():
            _draw_variant(axes, [point for point in points if point.variant == variant], variant, colour, marker)
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
        _legend(axes)
        figure.draw_without_rendering()
        labels.place(
            axes, [(p.x, p.y, p.label, p.short) for p in points if p.named], [(p.x, p.y) for p in points], [(p.x, p.y) for p in front]
        )
        return to_svg(figure, name, alt)


def learning_curves(curves: Sequence[Curve], name: str, alt: str, y_label: str) -> str:
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
                label=_legend_name(curve.label),
            )
        if len(curves) > NAMED_CURVES:
            axes.plot([], [], color=INK, alpha=0.35, linewidth=0.9, label=f"{len(curves) - NAMED_CURVES} others")
        axes.set_xlabel("epoch")
        axes.set_ylabel(y_label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _legend(axes)
        return to_svg(figure, name, alt)


def training_energy(bars: Sequence[Bar], name: str, alt: str) -> str:
    """Energy of training by candidate, Wh, evaluation added in a lighter part; one colour for each method."""
    with open_figure(rows=len(bars)) as (figure, axes):
        for method, (colour, _) in _styles(bar.method for bar in bars).items():
            chosen = [(number, bar) for number, bar in enumerate(bars) if bar.method == method]
            at = [number for number, _ in chosen]
            axes.barh(at, [bar.value for _, bar in chosen], 0.68, color=colour, label=f"training ({method})")
            extra = [bar.evaluation or 0.0 for _, bar in chosen]
            axes.barh(
                at, extra, 0.68, left=[bar.value for _, bar in chosen], color=colour, alpha=0.4, linewidth=0, label=f"evaluation ({method})"
            )
        _named_rows(axes, [bar.label for bar in bars])
        axes.set_xlim(left=0)
        axes.set_xlabel("energy (Wh)")
        _legend(axes)
        return to_svg(figure, name, alt)


def variants(changes: Sequence[Change], name: str, alt: str, x_label: str) -> str:
    """Performance by variant, one row a candidate, its variants joined by a line; the flips of decisions at the right."""
    from matplotlib.ticker import MaxNLocator

    with open_figure(rows=len(changes)) as (figure, axes):
        for row, change in enumerate(changes):
            values = [value for value, _ in change.values.values()]
            axes.plot([min(values), max(values)], [row, row], color=INK, alpha=0.4, linewidth=1.2, zorder=1)
            axes.annotate(change.note, (1.01, row), xycoords=("axes fraction", "data"), va="center", fontsize=7.5, color=INK)
        styles = _styles(variant for change in changes for variant in change.values)
        for number, (variant, (colour, marker)) in enumerate(styles.items()):
            chosen = [(row, *change.values[variant]) for row, change in enumerate(changes) if variant in change.values]
            shift = 0.16 * (number - (len(styles) - 1) / 2)
            x, low, high = ([item[1] for item in chosen], [v - ci[0] for _, v, ci in chosen], [ci[1] - v for _, v, ci in chosen])
            y = [row + shift for row, _, _ in chosen]
            axes.errorbar(x, y, xerr=[low, high], fmt="none", ecolor=colour, alpha=0.45, elinewidth=1)
            axes.scatter(x, y, 26, color=colour, marker=marker, label=_legend_name(variant), zorder=3)
        _named_rows(axes, [change.label for change in changes])
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.set_xlabel(x_label)
        _legend(axes)
        return to_svg(figure, name, alt)


def _draw_variant(axes: Axes, points: Sequence[Point], variant: str, colour: str, marker: str) -> None:
    bars = [point for point in points if point.ci is not None]
    low = [max(0.0, p.y - p.ci[0]) for p in bars if p.ci]
    high = [max(0.0, p.ci[1] - p.y) for p in bars if p.ci]
    if bars:
        axes.errorbar(
            [p.x for p in bars], [p.y for p in bars], yerr=[low, high], fmt="none", ecolor=colour, alpha=0.35, elinewidth=1, zorder=2
        )
    ranked = [point for point in points if point.ranked]
    over = [point for point in points if not point.ranked]
    axes.scatter([p.x for p in ranked], [p.y for p in ranked], 30, color=colour, marker=marker, label=_legend_name(variant), zorder=3)
    if over:
        hollow: Any = {"facecolors": "none", "edgecolors": colour, "linewidths": 1.3}
        axes.scatter(
            [p.x for p in over], [p.y for p in over], 30, marker=marker, label=f"{_legend_name(variant)}, over budget", zorder=3, **hollow
        )


def _styles(names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """A colour and a marker by name: in the order of the names, so that figures of the same variants agree."""
    unique = sorted(set(names))
    return {name: (PALETTE[number % len(PALETTE)], MARKERS[number % len(MARKERS)]) for number, name in enumerate(unique)}


def _x_scale(axes: Axes, values: Sequence[float], log: bool) -> None:
    """A logarithmic axis with plain figures, if asked for or where the values span an order of magnitude."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    if min(values) > 0 and (log or max(values) / min(values) >= 8):
        axes.set_xscale("log")
        decades = max(values) / min(values)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 300 else (1,)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(x=0.09, y=0.09)


def _named_rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), [labels.cut(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")


def _legend_name(text: str) -> str:
    """A name for the legend, which would leave out one that begins with an underscore."""
    return f" {labels.cut(text)}" if text.startswith("_") else labels.cut(text)


def _legend(axes: Axes) -> None:
    """Above the axes, where it covers nothing."""
    handles, names = axes.get_legend_handles_labels()
    if handles:
        columns = 3 if max(map(len, names)) <= 22 else 2
        axes.legend(
            loc="lower left", bbox_to_anchor=(0, 1.0), ncols=columns, frameon=False, borderaxespad=0.2, handlelength=1.6, columnspacing=1.2
        )
