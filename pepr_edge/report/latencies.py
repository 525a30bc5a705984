"""The figure of the raw latencies: how they lie, one row for each artifact on each device, and what their summaries are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pepr_edge.records import DeviceFacts, DeviceProfile, FieldReport, Ranking, RankingRow
from pepr_edge.report import labels, plots
from pepr_edge.report.figure import Figure, FigureData, Value
from pepr_edge.report.svg import INK, Picture, open_figure, picture
from pepr_edge.scoring.percentiles import early_stopping_percentile
from pepr_edge.text.sentences import ranked_rows, short_names
from pepr_edge.text.units import ms, plural, printable, significant

ROWS = 24
BINS = 64
HIGHEST = 0.82  # of a row's height
BUDGET = "latency_p90_s"
COLUMNS = ("candidate", "variant", "device", "from_ms", "to_ms", "inferences")


@dataclass(frozen=True)
class Sampled:
    """Raw latencies of one artifact on one device, ms, in the order they were taken; `p90_ms` None where they are too few for it."""

    row: RankingRow
    device: str
    latencies_ms: NDArray[np.float64]
    p90_ms: float | None


def latencies(
    ranking: Ranking,
    profiles: Sequence[DeviceProfile],
    budgets: Mapping[str, float],
    field: Mapping[str, FieldReport] | None = None,
) -> Figure:
    """The raw latencies of the first artifacts by rank, here and on each device of the field.

    Args:
        ranking: names the artifacts and their order.
        profiles: measured at home.
        budgets: in SI units; that of the latency is drawn.
        field: reports of devices, by file.
    """
    title = "How latencies are spread"
    found = [one for row in ranked_rows(ranking) for one in _sampled(row, profiles, field or {})]
    if not found:
        return Figure("latencies", title, "Not drawn: no ranked model was measured on the device.")
    shown, edges = found[:ROWS], _edges(found)
    budget = budgets[BUDGET] * 1e3 if BUDGET in budgets else None
    visible = budget if budget is not None and budget < 3 * edges[-1] else None
    caption = "Every inference after warm-up, not only its percentiles: the higher, the more took so long. Bar: p90. Dot: the slowest."
    if len(found) > len(shown):
        caption += f" The first {len(shown)} of {len(found)} by rank; the CSV file holds all."
    if budget is not None:
        caption += f" {'Dotted: the budget' if visible else 'The budget lies far to the right'}, {significant(budget)} ms."
    slowest = max(shown, key=lambda one: one.latencies_ms.max())
    alt = f"Histograms of raw latencies of {len(shown)} measurements. {caption} {_said(shown[0])} The slowest inference of all took "
    alt += f"{significant(float(slowest.latencies_ms.max()))} ms."
    return Figure(
        "latencies",
        title,
        caption,
        _draw(shown, edges, alt, visible),
        FigureData(COLUMNS, tuple(_rows(found, edges))),
    )


def _sampled(
    row: RankingRow, profiles: Sequence[DeviceProfile], field: Mapping[str, FieldReport]
) -> list[Sampled]:
    """What was measured of one artifact, here first. The times of an emulated machine are those of no device."""
    own = [
        _sample(row, _device(profile.device, profile.settings.threads, profile.scenario), profile.latencies_s)
        for profile in profiles
        if profile.artifact_sha256 == row.artifact_sha256 and profile.latencies_s
    ]
    theirs = [
        _sample(row, _device(report.device, result.threads, result.scenario), result.latencies_s)
        for report in field.values()
        if not report.emulated
        for result in report.results
        if result.artifact_sha256 == row.artifact_sha256 and result.latencies_s
    ]
    return own + theirs


def _device(facts: DeviceFacts, threads: int, scenario: str) -> str:
    return ", ".join(
        [
            printable(facts.cpu),
            plural(threads, "thread"),
            *([] if scenario == "single_stream" else [scenario]),
        ]
    )


def _sample(row: RankingRow, device: str, values: Sequence[float]) -> Sampled:
    p90 = early_stopping_percentile(values, 0.90)
    return Sampled(row, device, 1e3 * np.asarray(values), None if p90 is None else 1e3 * p90)


def _edges(found: Sequence[Sampled]) -> NDArray[np.float64]:
    """Bins of equal ratio over all that was measured, up to the slowest that is not one in a thousand."""
    values = np.concatenate([one.latencies_ms for one in found])
    low, high = np.quantile(values[values > 0], [0, 0.999]) if (values > 0).any() else (0.1, 1.0)
    return np.geomspace(float(low) / 1.05, float(high) * 1.05, BINS + 1)


def _rows(found: Sequence[Sampled], edges: NDArray[np.float64]) -> list[tuple[Value, ...]]:
    """Inferences by bin; the last one is open upwards."""
    rows: list[tuple[Value, ...]] = []
    for one in found:
        counts = _counts(one, edges)
        for number in np.flatnonzero(counts):
            upper = None if number == BINS else float(edges[number + 1])
            name = (one.row.candidate, one.row.variant, one.device)
            rows.append((*name, float(edges[number]), upper, int(counts[number])))
    return rows


def _counts(one: Sampled, edges: NDArray[np.float64]) -> NDArray[np.int64]:
    """Inferences in each bin and, last, beyond all of them."""
    return np.bincount(np.searchsorted(edges, one.latencies_ms, side="right").clip(1) - 1, minlength=BINS + 1)


def _said(one: Sampled) -> str:
    p90 = "too few for p90" if one.p90_ms is None else f"p90 {ms(one.p90_ms / 1e3)}"
    return f"{_name(one)}: median {ms(float(np.median(one.latencies_ms)) / 1e3)}, {p90}."


def _name(one: Sampled) -> str:
    return f"{printable(one.row.candidate)} {printable(one.row.variant or '')}".rstrip()


def _draw(shown: Sequence[Sampled], edges: NDArray[np.float64], alt: str, budget: float | None) -> Picture:
    names, _ = short_names([one.row.candidate for one in shown])
    devices = {one.device for one in shown}
    kinds = [one.device if len(devices) > 1 else printable(one.row.variant or "") for one in shown]
    looks = plots.styles(kinds)
    with open_figure(rows=len(shown) + 1) as (figure, axes):
        slowest = max(float(one.latencies_ms.max()) for one in shown)
        axes.set_xscale("log")
        plots.plain_log(axes.xaxis, slowest / float(edges[0]))
        seen: set[str] = set()
        for number, (one, kind) in enumerate(zip(shown, kinds, strict=True)):
            colour = looks[kind][0]
            counts = _counts(one, edges)[:BINS]
            foot = number + HIGHEST / 2
            tops = np.append(foot - HIGHEST * counts / max(1, counts.max()), foot)
            label = None if kind in seen else plots.legend_name(kind)
            seen.add(kind)
            axes.fill_between(
                edges, foot, tops, step="post", color=colour, alpha=0.7, linewidth=0, label=label
            )
            if one.p90_ms is not None:
                axes.plot([one.p90_ms] * 2, [number - 0.41, number + 0.41], color=INK, linewidth=1.3)
            axes.plot(float(one.latencies_ms.max()), number + 0.3, "o", color=colour, markersize=3)
        if budget is not None:
            axes.axvline(budget, color=plots.PALETTE[1], linewidth=1.4, linestyle=":", label="budget")
        plots.name_rows(
            axes,
            [
                labels.cut(f"{names[one.row.candidate]} {printable(one.row.variant or '')}".rstrip())
                for one in shown
            ],
        )
        axes.set_xlabel("latency (ms)")
        plots.draw_legend(axes)
        return picture(figure, "latencies", alt)
