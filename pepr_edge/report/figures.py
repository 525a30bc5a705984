"""The figures of performance and score: their data from the records, and their captions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pepr_edge.records import DataInfo, Ranking, RankingRow, Split
from pepr_edge.report import plots
from pepr_edge.report.figure import FigureData, ReportFigure
from pepr_edge.report.isoclines import isoclines
from pepr_edge.scoring.pepr import pareto_front
from pepr_edge.tasks import task_of
from pepr_edge.text.robustness import combined_resource
from pepr_edge.text.rows import ranked_rows, row_name, short_names
from pepr_edge.text.sentences import chance_level
from pepr_edge.text.units import MIB, SPLIT_NAMES, metric, plural, printable, significant

NAMED_SCORES = 5
BASELINE_REACH = 0.05  # a baseline is drawn at most this far below the points, or as far as they spread


@dataclass(frozen=True)
class ResourceAxis:
    """A resource on the x axis: its column in the CSV file, its unit in SI, and the name of its budget."""

    resource: str
    title: str
    name: str
    unit_name: str
    column: str
    unit: float
    budget: str | None

    @property
    def label(self) -> str:
        return f"{self.name} ({self.unit_name})"


AXES = (
    ResourceAxis(
        resource="latency",
        title="Performance against latency",
        name="latency at p90",
        unit_name="ms",
        column="latency_p90_ms",
        unit=1e-3,
        budget="latency_p90_s",
    ),
    ResourceAxis(
        resource="peak_memory",
        title="Performance against memory on the device",
        name="peak memory",
        unit_name="MiB",
        column="peak_memory_mib",
        unit=MIB,
        budget="peak_memory_bytes",
    ),
    ResourceAxis(
        resource="train_energy",
        title="Performance against training energy",
        name="training energy",
        unit_name="Wh",
        column="train_energy_wh",
        unit=3600.0,
        budget=None,
    ),
)


def against_resources(
    ranking: Ranking, data: DataInfo, budgets: dict[str, float]
) -> tuple[ReportFigure, ...]:
    """Return performance against latency, memory on the device and training energy."""
    return tuple(_against(axis, ranking, data, budgets) for axis in AXES)


def _against(axis: ResourceAxis, ranking: Ranking, data: DataInfo, budgets: dict[str, float]) -> ReportFigure:
    rows = [
        row
        for row in ranking.rows
        if row.performance is not None and row.resources.get(axis.resource) is not None
    ]
    if not rows:
        return ReportFigure(axis.resource, axis.title, "Not drawn: no model has both figures measured.")
    name = performance_name(ranking)
    points = _points(rows, axis)
    budget = budgets[axis.budget] / axis.unit if axis.budget in budgets else None
    caption = _caption(points, axis, budget)
    alt = f"Scatter plot of {name} against {axis.label} of {plural(len(points), 'model')}. {caption}"
    baseline = _baseline(ranking, data, points)
    picture = plots.scatter(points, axis.resource, alt, axis.label, name, budget, baseline)
    table = _data(rows, points, axis.column, performance_column(ranking))
    caption += " A number without a name is a rank."
    return ReportFigure(axis.resource, axis.title, caption, picture, table)


def _caption(points: Sequence[plots.Point], axis: ResourceAxis, budget: float | None) -> str:
    by_cost = sorted(points, key=lambda point: point.x)
    front = ", ".join(f"{point.label} {point.variant}" for point in by_cost if point.front) or "none"
    caption = (
        f"Bars: 95 % intervals. Dashed: the Pareto front, where no other model is better in both: {front}."
    )
    if any(point.ci is None for point in points):
        caption += " A point without a bar has no interval."
    if budget is not None:
        caption += f" Dotted: the budget, {significant(budget)} {axis.unit_name}."
    if not all(point.ranked for point in points):
        caption += " Hollow: models without a rank."
    return caption


def performance_name(ranking: Ranking) -> str:
    """Return the name of the performance that the ranking rests on: `validation accuracy`."""
    return f"{SPLIT_NAMES[ranking.performance_split]} {metric(ranking.performance_metric)}"


def performance_column(ranking: Ranking) -> str:
    """Return the column of that performance: `validation_accuracy`."""
    return f"{SPLIT_NAMES[ranking.performance_split]}_{ranking.performance_metric}"


def _points(rows: Sequence[RankingRow], axis: ResourceAxis) -> list[plots.Point]:
    costs = [(row.resources[axis.resource] or 0.0) / axis.unit for row in rows]
    front = _front_names(rows, costs)
    names, _ = short_names([row.candidate for row in rows])
    return [
        plots.Point(
            label=names[row.candidate],
            short="" if row.rank is None else str(row.rank),
            variant=printable(row.variant or ""),
            x=cost,
            y=row.performance or 0.0,
            ci=row.performance_ci,
            ranked=row.rank is not None,
            named=row_name(row) in front,
            front=row_name(row) in front,
        )
        for row, cost in zip(rows, costs, strict=True)
    ]


def _front_names(rows: Sequence[RankingRow], costs: Sequence[float]) -> set[str]:
    """Return the names of the ranked rows on the Pareto front."""
    ranked = [(row, cost) for row, cost in zip(rows, costs, strict=True) if row.rank is not None]
    if not ranked:
        return set()
    on_front = pareto_front([row.performance or 0.0 for row, _ in ranked], [cost for _, cost in ranked])
    return {row_name(row) for (row, _), best in zip(ranked, on_front, strict=True) if best}


def _data(
    rows: Sequence[RankingRow], points: Sequence[plots.Point], x_column: str, y_column: str
) -> FigureData:
    """Return the points of a scatter plot as a table."""
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
    table = []
    for row, point in zip(rows, points, strict=True):
        low, high = point.ci or (None, None)
        names = (row.candidate, row.variant, row.rank, row.status)
        table.append((*names, point.x, point.y, low, high, point.front))
    return FigureData(header, tuple(table))


def _baseline(ranking: Ranking, data: DataInfo, points: Sequence[plots.Point]) -> tuple[float, str] | None:
    """Return the performance without skill on the drawn split, and its name; None if far below all points."""
    majority = _majority_accuracy(data, ranking.performance_split)
    chance = chance_level(ranking.performance_metric, majority, len(data.labels))
    if chance is None:
        return None
    low = min(point.y for point in points)
    high = max(point.y for point in points)
    if chance[0] < low - max(high - low, BASELINE_REACH):
        return None
    return chance[0], "guessing" if ranking.performance_metric == "auroc" else "most frequent class"


def _majority_accuracy(data: DataInfo, split: Split) -> float:
    """Return the accuracy on a split of always predicting the most frequent class of the training split."""
    train = data.splits.get("train")
    drawn = data.splits.get(split)
    if split == "test" or train is None or drawn is None or not drawn.images or not train.class_counts:
        return data.majority_baseline
    _, accuracy = task_of(data.kind).baseline(
        train.class_counts, drawn.class_counts, train.images, drawn.images
    )
    return accuracy


def against_parameters(ranking: Ranking) -> ReportFigure:
    """Return PePR edge against the number of parameters."""
    title = "PePR edge against number of parameters"
    rows = [row for row in ranked_rows(ranking) if row.num_params and row.pepr.get("edge") is not None]
    if not rows:
        return ReportFigure("parameters", title, "Not drawn: no model has a PePR edge score.")
    positions = [((row.num_params or 0) / 1e6, row.pepr["edge"] or 0.0) for row in rows]
    points = _named_first(rows, positions, interval=False)
    caption = f"PePR edge is performance per unit of {_weights(ranking)}; higher is better. {_named(rows)}"
    alt = (
        f"Scatter plot of PePR edge against millions of parameters of {plural(len(rows), 'model')}. "
        f"{caption} Best: {row_name(rows[0])}."
    )
    picture = plots.scatter(points, "parameters", alt, "parameters (million)", "PePR edge", log=True)
    table = _data(rows, points, "parameters_millions", "pepr_edge")
    return ReportFigure("parameters", title, caption, picture, table)


def on_isoclines(ranking: Ranking) -> ReportFigure:
    """Return performance against the combined resource of PePR edge, with lines of equal score."""
    title = "Where the score comes from"
    rows = []
    positions = []
    for row in ranked_rows(ranking):
        combined = combined_resource(ranking, row)
        if row.performance is not None and combined is not None:
            rows.append(row)
            positions.append((combined, row.performance))
    if not rows:
        return ReportFigure("isoclines", title, "Not drawn: no model has a PePR edge score.")
    points = _named_first(rows, positions)
    name = performance_name(ranking)
    caption = (
        "All points on a line have the same PePR edge, written at its end; up and to the left is better. "
        f"R combines {_weights(ranking)}, each scaled from 0 for the lowest cost to 1 for the highest of the "
        f"set. Bars: 95 % intervals. {_named(rows)}"
    )
    alt = (
        f"Scatter plot of {name} against the combined resource R of {plural(len(rows), 'model')}, with lines "
        f"of equal PePR edge. {caption} Best: {row_name(rows[0])}, at R {significant(points[0].x, 2)} and "
        f"{significant(points[0].y)}."
    )
    picture = isoclines(points, "isoclines", alt, "combined resource, R", name, ranking.alpha)
    table = _data(rows, points, "combined_resource", performance_column(ranking))
    return ReportFigure("isoclines", title, caption, picture, table)


def _named_first(
    rows: Sequence[RankingRow], positions: Sequence[tuple[float, float]], interval: bool = True
) -> list[plots.Point]:
    """Return ranked rows as points, the first few with their names."""
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
        for row, (x, y) in zip(rows, positions, strict=True)
    ]


def _named(rows: Sequence[RankingRow]) -> str:
    return f"The first {min(NAMED_SCORES, len(rows))} are named."


def _weights(ranking: Ranking) -> str:
    weights = {name: weight for name, weight in ranking.weights.items() if weight > 0}
    total = sum(weights.values()) or 1.0
    return ", ".join(
        f"{name.replace('_', ' ')} ({100 * weight / total:.0f} %)" for name, weight in weights.items()
    )
