"""The figure of raw latencies: their distribution, one row per artifact and device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pepr_edge.records import DeviceFacts, DeviceProfile, FieldReport, Ranking, RankingRow
from pepr_edge.report import plots
from pepr_edge.report.figure import FigureData, ReportFigure, Value
from pepr_edge.report.svg import INK, Picture, open_figure, picture
from pepr_edge.scoring.percentiles import early_stopping_percentile
from pepr_edge.text.rows import ranked_rows, row_name, short_names
from pepr_edge.text.units import ms, plural, printable, significant

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_ROWS = 24
BINS = 64
ROW_HEIGHT = 0.82  # of the highest bin, as a share of a row
FAR_BUDGET = 3  # times the slowest bin: a budget beyond that is not drawn
BUDGET = "latency_p90_s"
TITLE = "Distribution of latencies"
COLUMNS = ("candidate", "variant", "device", "from_ms", "to_ms", "inferences")

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class LatencySample:
    """Raw latencies of one artifact on one device, ms, in order; `p90_ms` is None if they are too few."""

    row: RankingRow
    device: str
    latencies_ms: Floats
    p90_ms: float | None

    @property
    def max_ms(self) -> float:
        return float(self.latencies_ms.max())


def latencies(
    ranking: Ranking,
    profiles: Sequence[DeviceProfile],
    budgets: Mapping[str, float],
    field: Mapping[str, FieldReport] | None = None,
) -> ReportFigure:
    """Return the raw latencies of the first artifacts by rank, here and on each device of the field.

    Args:
        ranking: names the artifacts and their order.
        profiles: measured at home.
        budgets: in SI units; the latency budget is drawn.
        field: field reports by file.
    """
    samples = []
    for row in ranked_rows(ranking):
        samples += _samples(row, profiles, field or {})
    if not samples:
        return ReportFigure("latencies", TITLE, "Not drawn: no ranked model was measured on the device.")
    shown = samples[:MAX_ROWS]
    edges = _edges(samples)
    budget_ms = budgets[BUDGET] * 1e3 if BUDGET in budgets else None
    budget_visible = budget_ms is not None and budget_ms < FAR_BUDGET * edges[-1]
    caption = (
        "All inferences after warm-up. The higher the area, the more inferences took that long. "
        "Bar: p90. Dot: the slowest inference."
    )
    if len(samples) > len(shown):
        caption += f" Shown are the first {len(shown)} of {len(samples)} by rank; the CSV file holds all."
    if budget_ms is not None:
        where = "Dotted: the budget" if budget_visible else "The budget lies far to the right"
        caption += f" {where}, {significant(budget_ms)} ms."
    slowest_ms = significant(max(sample.max_ms for sample in shown))
    alt = (
        f"Histograms of raw latencies of {plural(len(shown), 'measurement')}. {caption} {_summary(shown[0])} "
        f"The slowest inference took {slowest_ms} ms."
    )
    drawn = _draw(shown, edges, alt, budget_ms if budget_visible else None)
    return ReportFigure("latencies", TITLE, caption, drawn, FigureData(COLUMNS, _table(samples, edges)))


def _samples(
    row: RankingRow, profiles: Sequence[DeviceProfile], field: Mapping[str, FieldReport]
) -> list[LatencySample]:
    """Return the measurements of one artifact, at home first. Times of emulated machines are left out."""
    samples = []
    for profile in profiles:
        if profile.artifact_sha256 == row.artifact_sha256 and profile.latencies_s:
            device = _device(profile.device, profile.settings.threads, profile.scenario)
            samples.append(_sample(row, device, profile.latencies_s))
    for report in field.values():
        if report.emulated:
            continue
        for result in report.results:
            if result.artifact_sha256 == row.artifact_sha256 and result.latencies_s:
                device = _device(report.device, result.threads, result.scenario)
                samples.append(_sample(row, device, result.latencies_s))
    return samples


def _device(facts: DeviceFacts, threads: int, scenario: str) -> str:
    device = f"{printable(facts.cpu)}, {plural(threads, 'thread')}"
    return device if scenario == "single_stream" else f"{device}, {scenario}"


def _sample(row: RankingRow, device: str, latencies_s: Sequence[float]) -> LatencySample:
    p90_s = early_stopping_percentile(latencies_s, 0.90)
    return LatencySample(row, device, 1e3 * np.asarray(latencies_s), None if p90_s is None else 1e3 * p90_s)


def _edges(samples: Sequence[LatencySample]) -> Floats:
    """Return the edges of bins of equal ratio, from the fastest latency to the 99.9th percentile of all."""
    values = np.concatenate([sample.latencies_ms for sample in samples])
    positive = values[values > 0]
    low, high = np.quantile(positive, [0, 0.999]) if positive.size else (0.1, 1.0)
    return np.geomspace(float(low) / 1.05, float(high) * 1.05, BINS + 1)


def _table(samples: Sequence[LatencySample], edges: Floats) -> tuple[tuple[Value, ...], ...]:
    """Return the inferences by bin; the last bin has no upper end."""
    rows: list[tuple[Value, ...]] = []
    for sample in samples:
        counts = _counts(sample, edges)
        for number in np.flatnonzero(counts):
            upper = None if number == BINS else float(edges[number + 1])
            names = (sample.row.candidate, sample.row.variant, sample.device)
            rows.append((*names, float(edges[number]), upper, int(counts[number])))
    return tuple(rows)


def _counts(sample: LatencySample, edges: Floats) -> NDArray[np.int64]:
    """Count the inferences in each bin, and last those beyond all bins."""
    bins = np.searchsorted(edges, sample.latencies_ms, side="right").clip(1) - 1
    return np.bincount(bins, minlength=BINS + 1)


def _summary(sample: LatencySample) -> str:
    p90 = "too few for p90" if sample.p90_ms is None else f"p90 {ms(sample.p90_ms / 1e3)}"
    median_s = float(np.median(sample.latencies_ms)) / 1e3
    return f"{row_name(sample.row)}: median {ms(median_s)}, {p90}."


def _draw(shown: Sequence[LatencySample], edges: Floats, alt: str, budget_ms: float | None) -> Picture:
    names, _ = short_names([sample.row.candidate for sample in shown])
    variants = [printable(sample.row.variant or "") for sample in shown]
    several_devices = len({sample.device for sample in shown}) > 1
    groups = [sample.device for sample in shown] if several_devices else variants
    by_group = plots.styles(groups)
    with open_figure(rows=len(shown) + 1) as (figure, axes):
        axes.set_xscale("log")
        plots.plain_log(axes.xaxis, max(sample.max_ms for sample in shown) / float(edges[0]))
        in_legend: set[str] = set()
        for number, (sample, group) in enumerate(zip(shown, groups, strict=True)):
            label = None if group in in_legend else plots.legend_name(group)
            in_legend.add(group)
            _draw_row(axes, number, sample, edges, by_group[group][0], label)
        if budget_ms is not None:
            axes.axvline(budget_ms, color=plots.PALETTE[1], linewidth=1.4, linestyle=":", label="budget")
        plots.name_rows(
            axes,
            [
                f"{names[sample.row.candidate]} {variant}".rstrip()
                for sample, variant in zip(shown, variants, strict=True)
            ],
        )
        axes.set_xlabel("latency (ms)")
        plots.draw_legend(axes)
        return picture(figure, "latencies", alt)


def _draw_row(
    axes: Axes, number: int, sample: LatencySample, edges: Floats, colour: str, label: str | None
) -> None:
    counts = _counts(sample, edges)[:BINS]
    bottom = number + ROW_HEIGHT / 2
    tops = np.append(bottom - ROW_HEIGHT * counts / max(1, counts.max()), bottom)
    axes.fill_between(edges, bottom, tops, step="post", color=colour, alpha=0.7, linewidth=0, label=label)
    if sample.p90_ms is not None:
        axes.plot([sample.p90_ms] * 2, [number - 0.41, number + 0.41], color=INK, linewidth=1.3)
    axes.plot(sample.max_ms, number + 0.3, "o", color=colour, markersize=3)
