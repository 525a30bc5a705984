"""Which figures the report shows: their data out of the records, their captions, and what is said where there is nothing to draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from pepr_edge.records import Artifact, Bound, DataInfo, Ranking, Split, TrainResult
from pepr_edge.report import plots
from pepr_edge.report.units import MIB, SPLIT_NAMES, energy, metric, printable, score, significant
from pepr_edge.report.words import entry, guessing, ranked_rows, short_names
from pepr_edge.score import curve, pareto_front

# Resource -> heading, x axis, its unit in SI, the budget on it.
AGAINST = (
    ("latency", "Performance against latency", "latency at p90 (ms)", 1e-3, "latency_p90_s"),
    ("peak_memory", "Performance against memory on the device", "peak memory (MiB)", MIB, "peak_memory_bytes"),
    ("train_energy", "Performance against training energy", "training energy (Wh)", 3600.0, None),
)
NAMED_SCORES = 5


@dataclass(frozen=True)
class Figure:
    """One figure of the page. `svg` is empty where there is nothing to draw; the caption says why."""

    name: str
    title: str
    svg: str
    caption: str


def against_resources(ranking: Ranking, data: DataInfo, budgets: dict[str, float]) -> tuple[Figure, ...]:
    """Performance against latency, memory on the device and training energy."""
    name = f"{SPLIT_NAMES[ranking.performance_split]} {metric(ranking.performance_metric)}"
    figures = []
    for resource, title, x_label, unit, budget_name in AGAINST:
        points = _points(ranking, resource, unit)
        if not points:
            figures.append(Figure(resource, title, "", "Not drawn: no model has both figures measured."))
            continue
        budget = budgets.get(budget_name) if budget_name else None
        front = ", ".join(f"{point.label} {point.variant}" for point in sorted(points, key=lambda point: point.x) if point.front)
        caption = f"Bars: 95 % intervals. Dashed: the Pareto front, no model is better in both: {front or 'none'}."
        if any(point.ci is None for point in points):
            caption += " A point without a bar has no interval."
        if budget:
            caption += f" Dotted: the budget, {significant(budget / unit)} {x_label[x_label.index('(') + 1 : -1]}."
        if any(not point.ranked for point in points):
            caption += " Hollow: over a budget."
        alt = f"Scatter plot of {name} against {x_label} of {len(points)} models. {caption}"
        baseline = _baseline(ranking, data, points)
        svg = plots.scatter(points, resource, alt, x_label, name, budget / unit if budget else None, baseline)
        figures.append(Figure(resource, title, svg, caption + " A number alone is a rank."))
    return tuple(figures)


def _points(ranking: Ranking, resource: str, unit: float) -> list[plots.Point]:
    rows = [row for row in ranking.rows if row.performance is not None and row.resources.get(resource) is not None]
    ranked = [row for row in rows if row.rank is not None]
    front = pareto_front([row.performance or 0.0 for row in ranked], [row.resources[resource] or 0.0 for row in ranked]) if ranked else ()
    best = {entry(row) for row, on_front in zip(ranked, front, strict=True) if on_front}
    names, _ = short_names([row.candidate for row in rows])
    return [
        plots.Point(
            label=names[row.candidate],
            short="" if row.rank is None else str(row.rank),
            variant=printable(row.variant or ""),
            x=(row.resources[resource] or 0.0) / unit,
            y=row.performance or 0.0,
            ci=row.performance_ci,
            ranked=row.rank is not None,
            named=entry(row) in best,
            front=entry(row) in best,
        )
        for row in rows
    ]


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
        return Figure("parameters", title, "", "Not drawn: no model has a PePR edge score.")
    names, _ = short_names([row.candidate for row in rows])
    points = [
        plots.Point(
            label=names[row.candidate],
            short=str(row.rank),
            variant=printable(row.variant or ""),
            x=(row.num_params or 0) / 1e6,
            y=row.pepr["edge"] or 0.0,
            ci=None,
            ranked=True,
            named=(row.rank or 0) <= NAMED_SCORES,
            front=False,
        )
        for row in rows
    ]
    caption = (
        f"PePR edge is performance per unit of {_weights(ranking)}; higher is better. The first {min(NAMED_SCORES, len(rows))} are named."
    )
    alt = f"Scatter plot of PePR edge against millions of parameters of {len(rows)} models. {caption} Best: {entry(rows[0])}."
    svg = plots.scatter(points, "parameters", alt, "parameters (million)", "PePR edge", log_x=True)
    return Figure("parameters", title, svg, caption)


def _weights(ranking: Ranking) -> str:
    weights = {name: weight for name, weight in ranking.weights.items() if weight > 0}
    total = sum(weights.values()) or 1.0
    return ", ".join(f"{name.replace('_', ' ')} ({100 * weight / total:.0f} %)" for name, weight in weights.items())


def learning_curves(ranking: Ranking, trained: Sequence[TrainResult]) -> Figure:
    """Validation performance per epoch, the best-ranked candidates named."""
    title = "Learning curves"
    order = {row.candidate: number for number, row in reversed(list(enumerate(ranked_rows(ranking))))}
    shown = sorted((result for result in trained if result.epochs), key=lambda result: order.get(result.candidate.id, len(order)))
    if not shown:
        return Figure("curves", title, "", "Not drawn: no candidate was trained.")
    curves = [
        plots.Curve(
            printable(result.candidate.id),
            tuple(epoch.epoch for epoch in result.epochs),
            tuple(epoch.val_performance for epoch in result.epochs),
            result.best_epoch,
        )
        for result in shown
    ]
    name = f"validation {metric(shown[0].performance_metric)}"
    caption = f"{name.capitalize()} after each epoch. The marker is the epoch that was kept, chosen on validation."
    if len(curves) > plots.NAMED_CURVES:
        caption += f" In colour: the {plots.NAMED_CURVES} best-ranked candidates."
    best = curves[0]
    alt = f"Line plot of {len(curves)} candidates. {caption} {best.label} ends at {score(best.values[-1])} after {best.epochs[-1]} epochs."
    return Figure("curves", title, plots.learning_curves(curves, "curves", alt, name), caption)


def pepr_curves(ranking: Ranking, trained: Sequence[TrainResult]) -> Figure:
    """PePR-E after each epoch, over what had been spent until then; the marker at its greatest, P*."""
    title = "PePR along the training"
    order = {row.candidate: number for number, row in reversed(list(enumerate(ranked_rows(ranking))))}
    spent = {result.candidate.id: _spent_j(result) for result in trained}
    known = [(result, joules) for result in trained if (joules := spent[result.candidate.id])]
    if not known or len({result.cost.energy_j.method for result, _ in known}) > 1:
        why = "energies were obtained in different ways" if known else "the energy of the epochs was not measured"
        return Figure("pepr_curves", title, "", f"Not drawn: {why}.")
    known.sort(key=lambda item: order.get(item[0].candidate.id, len(order)))
    bound = Bound(lo=min(joules[0] for _, joules in known), hi=max(joules[-1] for _, joules in known), unit="J")
    curves = []
    for result, joules in known:
        found = curve([epoch.val_performance for epoch in result.epochs], joules, bound, ranking.alpha)
        epochs = tuple(epoch.epoch for epoch in result.epochs)
        curves.append(plots.Curve(printable(result.candidate.id), epochs, tuple(found.values.tolist()), epochs[found.best]))
    name = metric(known[0][0].performance_metric)
    caption = (
        f"Validation {name} per unit of training energy, had the training stopped there. Energy is that of the epochs, without "
        f"start-up and probing, scaled from the cheapest first epoch ({energy(bound.lo)}) to the dearest training ({energy(bound.hi)}). "
        "The marker is the greatest, P*: where a curve falls after it, the later epochs cost more than they brought."
    )
    best = max(curves, key=lambda one: max(one.values))
    alt = f"Line plot of PePR-E by epoch of {len(curves)} candidates. {caption} Greatest: {best.label}, {score(max(best.values))}."
    return Figure("pepr_curves", title, plots.learning_curves(curves, "pepr_curves", alt, "PePR-E so far"), caption)


def _spent_j(result: TrainResult) -> list[float]:
    """Energy from the start of the training to the end of each epoch, joules; empty where one is not known."""
    each = [epoch.energy_j for epoch in result.epochs]
    return list(accumulate(joules for joules in each if joules is not None)) if None not in each else []


def training_energy(trained: Sequence[TrainResult]) -> Figure:
    """Energy of training by candidate, greatest first."""
    title = "Training energy"
    known = [(result, result.cost.energy_j.value) for result in trained if result.cost.energy_j.value is not None]
    if not known:
        return Figure("energy", title, "", "Not drawn: training energy was not measured.")
    known.sort(key=lambda item: -item[1])
    bars = []
    for result, joules in known:
        extra = result.cost.evaluation_energy_j.value
        bars.append(
            plots.Bar(printable(result.candidate.id), joules / 3600, None if extra is None else extra / 3600, result.cost.energy_j.method)
        )
    caption = "All epochs; the lighter part is evaluation on validation and test."
    if left_out := len(trained) - len(bars):
        caption += f" Not measured, so not drawn: {left_out}."
    total = sum(joules for _, joules in known) / 3600
    alt = f"Bar plot of training energy of {len(bars)} candidates, {significant(total)} Wh in all. Greatest: {bars[0].label}. {caption}"
    return Figure("energy", title, plots.training_energy(bars, "energy", alt), caption)


def variants(ranking: Ranking, artifacts: Sequence[Artifact]) -> Figure:
    """Test performance of each candidate's variants, with the decisions that changed."""
    title = "What quantisation changed"
    name = ranking.performance_metric
    changes: dict[str, plots.Change] = {}
    for artifact in artifacts:
        if (found := artifact.performance.get(name)) is None:
            continue
        label = printable(artifact.candidate.id)
        before = changes.get(label, plots.Change(label, {}, ""))
        flips = f"{artifact.flips.count}/{artifact.flips.n}" if artifact.variant != "fp32" else ""
        note = ", ".join(part for part in (before.note, flips) if part)
        changes[label] = plots.Change(label, {**before.values, printable(artifact.variant): (found.value, found.ci)}, note)
    if not any(len(change.values) > 1 for change in changes.values()):
        return Figure("variants", title, "", "Not drawn: no candidate has more than one variant with a test performance.")
    caption = (
        f"Test {metric(name)} of each ONNX file, with 95 % intervals. Right: decisions on the test split that differ from PyTorch's, "
        "fp32 left out."
    )
    alt = f"Dot plot of test {metric(name)} by variant of {len(changes)} candidates. {caption} The table below holds the same figures."
    return Figure("variants", title, plots.variants(list(changes.values()), "variants", alt, f"test {metric(name)}"), caption)
