"""The figures of performance and score: their data out of the records, their captions, and what is said where there is nothing to draw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pepr_edge.records import DataInfo, Ranking, RankingRow, Split
from pepr_edge.report import plots
from pepr_edge.report.figure import Figure, FigureData
from pepr_edge.report.isoclines import isoclines
from pepr_edge.scoring.pepr import pareto_front, shares
from pepr_edge.text.sentences import entry, guessing, ranked_rows, short_names
from pepr_edge.text.units import MIB, SPLIT_NAMES, metric, printable, significant


class Against(NamedTuple):
    """A resource that performance is drawn against: its column in the CSV, its unit in SI, the budget on it."""

    resource: str
    title: str
    x_label: str
    column: str
    unit: float
    budget: str | None


AGAINST = (
    Against(
        "latency",
        "Performance against latency",
        "latency at p90 (ms)",
        "latency_p90_ms",
        1e-3,
        "latency_p90_s",
    ),
    Against(
        "peak_memory",
        "Performance against memory on the device",
        "peak memory (MiB)",
        "peak_memory_mib",
        MIB,
        "peak_memory_bytes",
    ),
    Against(
        "train_energy",
        "Performance against training energy",
        "training energy (Wh)",
        "train_energy_wh",
        3600.0,
        None,
    ),
)
NAMED_SCORES = 5


def against_resources(ranking: Ranking, data: DataInfo, budgets: dict[str, float]) -> tuple[Figure, ...]:
    """Performance against latency, memory on the device and training energy."""
    return tuple(_against(one, ranking, data, budgets) for one in AGAINST)


def _against(one: Against, ranking: Ranking, data: DataInfo, budgets: dict[str, float]) -> Figure:
    rows = [
        row
        for row in ranking.rows
        if row.performance is not None and row.resources.get(one.resource) is not None
    ]
    if not rows:
        return Figure(one.resource, one.title, "Not drawn: no model has both figures measured.")
    name = performance_name(ranking)
    points = _points(rows, one)
    budget = budgets.get(one.budget) if one.budget else None
    front = ", ".join(
        f"{point.label} {point.variant}" for point in sorted(points, key=lambda point: point.x) if point.front
    )
    caption = (
        f"Bars: 95 % intervals. Dashed: the Pareto front, no model is better in both: {front or 'none'}."
    )
    if any(point.ci is None for point in points):
        caption += " A point without a bar has no interval."
    if budget:
        caption += f" Dotted: the budget, {significant(budget / one.unit)} {one.x_label[one.x_label.index('(') + 1 : -1]}."
    if any(not point.ranked for point in points):
        caption += " Hollow: over a budget."
    alt = f"Scatter plot of {name} against {one.x_label} of {len(points)} models. {caption}"
    baseline = _baseline(ranking, data, points)
    picture = plots.scatter(
        points, one.resource, alt, one.x_label, name, budget / one.unit if budget else None, baseline
    )
    table = _data(rows, points, one.column, performance_name(ranking, "_"))
    return Figure(one.resource, one.title, caption + " A number alone is a rank.", picture, table)


def performance_name(ranking: Ranking, separator: str = " ") -> str:
    """`validation accuracy`, what the ranking rests on."""
    name = metric(ranking.performance_metric) if separator == " " else ranking.performance_metric
    return f"{SPLIT_NAMES[ranking.performance_split]}{separator}{name}"


def _points(rows: Sequence[RankingRow], one: Against) -> list[plots.Point]:
    costs = [(row.resources[one.resource] or 0.0) / one.unit for row in rows]
    ranked = [(row, x) for row, x in zip(rows, costs, strict=True) if row.rank is not None]
    front = (
        pareto_front([row.performance or 0.0 for row, _ in ranked], [x for _, x in ranked]) if ranked else ()
    )
    best = {entry(row) for (row, _), on_front in zip(ranked, front, strict=True) if on_front}
    names, _ = short_names([row.candidate for row in rows])
    return [
        plots.Point(
            label=names[row.candidate],
            short="" if row.rank is None else str(row.rank),
            variant=printable(row.variant or ""),
            x=x,
            y=row.performance or 0.0,
            ci=row.performance_ci,
            ranked=row.rank is not None,
            named=entry(row) in best,
            front=entry(row) in best,
        )
        for row, x in zip(rows, costs, strict=True)
    ]


def _data(
    rows: Sequence[RankingRow], points: Sequence[plots.Point], x_column: str, y_column: str
) -> FigureData:
    """The points of a scatter plot as a table."""
    header = (
        "candidate",
        "variant",
        "rank",
        "status",
        x_column,
        y_column,
        "ci_low",
        "ci_high",
        "pareto_front",
    )
    return FigureData(
        header,
        tuple(
            (
                row.candidate,
                row.variant,
                row.rank,
                row.status,
                point.x,
                point.y,
                *(point.ci or (None, None)),
                point.front,
            )
            for row, point in zip(rows, points, strict=True)
        ),
    )


def _baseline(ranking: Ranking, data: DataInfo, points: Sequence[plots.Point]) -> tuple[float, str] | None:
    """What a model without skill reaches on the split that is drawn; None where that is far below all points."""
    found = guessing(ranking.performance_metric, _majority(data, ranking.performance_split), len(data.labels))
    low, high = min(point.y for point in points), max(point.y for point in points)
    if found is None or found[0] < low - max(high - low, 0.05):
        return None
    return found[0], "commonest class" if ranking.performance_metric != "auroc" else "guessing"


def _majority(data: DataInfo, split: Split) -> float:
    """Accuracy on a split of always saying the commonest class of the training split."""
    train, shown = data.splits.get("train"), data.splits.get(split)
    if split == "test" or train is None or shown is None or not shown.images or not train.class_counts:
        return data.majority_baseline
    return shown.class_counts[train.class_counts.index(max(train.class_counts))] / shown.images


def against_parameters(ranking: Ranking) -> Figure:
    """PePR edge against the number of parameters."""
    title = "PePR edge against number of parameters"
    rows = [row for row in ranked_rows(ranking) if row.num_params and row.pepr.get("edge") is not None]
    if not rows:
        return Figure("parameters", title, "Not drawn: no model has a PePR edge score.")
    points = _named_first(
        rows, [((row.num_params or 0) / 1e6, row.pepr["edge"] or 0.0) for row in rows], interval=False
    )
    caption = f"PePR edge is performance per unit of {_weights(ranking)}; higher is better. {_first(rows)}"
    alt = f"Scatter plot of PePR edge against millions of parameters of {len(rows)} models. {caption} Best: {entry(rows[0])}."
    picture = plots.scatter(points, "parameters", alt, "parameters (million)", "PePR edge", log=True)
    return Figure(
        "parameters", title, caption, picture, _data(rows, points, "parameters_millions", "pepr_edge")
    )


def on_isoclines(ranking: Ranking) -> Figure:
    """Performance against the combined resource that PePR edge is over, with lines of equal score."""
    title = "Where the score comes from"
    rows = [
        row
        for row in ranked_rows(ranking)
        if row.performance is not None and _combined(ranking, row) is not None
    ]
    if not rows:
        return Figure("isoclines", title, "Not drawn: no model has a PePR edge score.")
    points = _named_first(rows, [(_combined(ranking, row) or 0.0, row.performance or 0.0) for row in rows])
    name = performance_name(ranking)
    caption = f"Each line holds what has the same PePR edge, the figure at its end; up and to the left is better. R: {_weights(ranking)}"
    caption += f", each scaled to 0 for the least and 1 for the most of the set. Bars: 95 % intervals. {_first(rows)}"
    best = f"Best: {entry(rows[0])}, at R {significant(points[0].x, 2)} and {significant(points[0].y)}."
    alt = f"Scatter plot of {name} against the combined resource R of {len(rows)} models, on lines of equal PePR edge. {caption} {best}"
    picture = isoclines(points, "isoclines", alt, "combined resource, R", name, ranking.alpha)
    return Figure(
        "isoclines",
        title,
        caption,
        picture,
        _data(rows, points, "combined_resource", performance_name(ranking, "_")),
    )


def _named_first(
    rows: Sequence[RankingRow], at: Sequence[tuple[float, float]], interval: bool = True
) -> list[plots.Point]:
    """Ranked rows as points, the first few with their names."""
    names, _ = short_names([row.candidate for row in rows])
    return [
        plots.Point(
            label=names[row.candidate],
            short=str(row.rank),
            variant=printable(row.variant or ""),
            x=x,
            y=y,
            ci=row.performance_ci if interval else None,
            ranked=True,
            named=(row.rank or 0) <= NAMED_SCORES,
            front=False,
        )
        for row, (x, y) in zip(rows, at, strict=True)
    ]


def _first(rows: Sequence[RankingRow]) -> str:
    return f"The first {min(NAMED_SCORES, len(rows))} are named."


def _combined(ranking: Ranking, row: RankingRow) -> float | None:
    """The weighted mean of a row's normalised resources; None where one of them has no figure."""
    parts = [(weight, row.normalised.get(name)) for name, weight in shares(ranking.weights).items()]
    known = [weight * value for weight, value in parts if value is not None]
    return sum(known) if len(known) == len(parts) else None


def _weights(ranking: Ranking) -> str:
    weights = {name: weight for name, weight in ranking.weights.items() if weight > 0}
    total = sum(weights.values()) or 1.0
    return ", ".join(
        f"{name.replace('_', ' ')} ({100 * weight / total:.0f} %)" for name, weight in weights.items()
    )
