"""The figures of training: learning curves, PePR along them, and the energy."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from pepr_edge.records import Bound, Ranking, TrainResult
from pepr_edge.report import plots
from pepr_edge.report.figure import FigureData, ReportFigure
from pepr_edge.scoring.pepr import pepr_curve
from pepr_edge.text.rows import ranked_rows, training_names
from pepr_edge.text.units import capitalised, energy, metric, plural, printable, score, significant
from pepr_edge.train.cost import total_energy


def learning_curves(ranking: Ranking, trained: Sequence[TrainResult]) -> ReportFigure:
    """Return the validation performance per epoch; the best-ranked candidates are named."""
    title = "Learning curves"
    results = [result for result in _best_first(ranking, trained) if result.epochs]
    if not results:
        return ReportFigure("curves", title, "Not drawn: there is no training.")
    curves = [_learning_curve(result) for result in results]
    metric_name = results[0].performance_metric
    name = f"validation {metric(metric_name)}"
    caption = f"{capitalised(name)} after each epoch. The marker is the selected epoch."
    if len(curves) > plots.NAMED_CURVES:
        caption += f" In colour: the {plots.NAMED_CURVES} best-ranked candidates."
    best = curves[0]
    end = f"{best.label} ends at {score(best.values[-1])} after {plural(best.epochs[-1], 'epoch')}"
    alt = f"Line plot of {plural(len(curves), 'candidate')}. {caption} {end}."
    picture = plots.learning_curves(curves, "curves", alt, name)
    return ReportFigure("curves", title, caption, picture, _by_epoch(curves, f"val_{metric_name}"))


def _learning_curve(result: TrainResult) -> plots.Curve:
    numbers = tuple(epoch.epoch for epoch in result.epochs)
    performances = tuple(epoch.val_performance for epoch in result.epochs)
    return plots.Curve(printable(result.candidate.id), numbers, performances, result.best_epoch)


def _best_first(ranking: Ranking, trained: Sequence[TrainResult]) -> list[TrainResult]:
    """Sort trainings by the rank of the best of their files; those without a rank last."""
    ranked = ranked_rows(ranking)
    order: dict[str, int] = {}
    for number, row in enumerate(ranked):
        order.setdefault(row.candidate, number)
    return sorted(trained, key=lambda result: order.get(result.candidate.id, len(ranked)))


def _by_epoch(curves: Sequence[plots.Curve], column: str) -> FigureData:
    rows = []
    for curve in curves:
        for epoch, value in zip(curve.epochs, curve.values, strict=True):
            rows.append((curve.label, epoch, value, epoch == curve.best))
    return FigureData(("candidate", "epoch", column, "marked"), tuple(rows))


def pepr_curves(ranking: Ranking, trained: Sequence[TrainResult]) -> ReportFigure:
    """Return PePR-E after each epoch, from the energy spent until then; the marker is its maximum, P*."""
    title = "PePR during training"
    known = [(result, _spent_j(result)) for result in _best_first(ranking, trained)]
    known = [(result, spent_j) for result, spent_j in known if spent_j]
    if not known:
        reason = "the energy of the epochs was not measured"
        return ReportFigure("pepr_curves", title, f"Not drawn: {reason}.")
    if len({result.cost.energy_j.method for result, _ in known}) > 1:
        reason = "energies were obtained in different ways"
        return ReportFigure("pepr_curves", title, f"Not drawn: {reason}.")
    lowest_j = min(spent_j[0] for _, spent_j in known)
    highest_j = max(spent_j[-1] for _, spent_j in known)
    bound = Bound(lo=lowest_j, hi=highest_j, unit="J")
    curves = []
    for result, spent_j in known:
        performances = [epoch.val_performance for epoch in result.epochs]
        curve = pepr_curve(performances, spent_j, bound, ranking.alpha)
        epochs = tuple(epoch.epoch for epoch in result.epochs)
        name = printable(result.candidate.id)
        curves.append(plots.Curve(name, epochs, tuple(curve.values.tolist()), epochs[curve.best]))
    metric_name = metric(known[0][0].performance_metric)
    caption = (
        f"Validation {metric_name} per unit of training energy, if the training had stopped after that "
        "epoch. The energy is that of the epochs without start-up and probing. It is scaled between the "
        f"lowest energy of a first epoch ({energy(bound.lo)}) and the highest of a whole training "
        f"({energy(bound.hi)}). The marker is "
        "the maximum, P*: if a curve falls after it, the later epochs cost more than they gained."
    )
    best = max(curves, key=lambda item: max(item.values))
    alt = (
        f"Line plot of PePR-E by epoch of {plural(len(curves), 'candidate')}. {caption} "
        f"Maximum: {best.label}, {score(max(best.values))}."
    )
    picture = plots.learning_curves(curves, "pepr_curves", alt, "PePR-E so far")
    return ReportFigure("pepr_curves", title, caption, picture, _by_epoch(curves, "pepr_E"))


def _spent_j(result: TrainResult) -> list[float]:
    """Return the energy from the start of training to the end of each epoch, J; empty if one is not known."""
    known = [epoch.energy_j for epoch in result.epochs if epoch.energy_j is not None]
    return list(accumulate(known)) if len(known) == len(result.epochs) else []


def training_energy(trained: Sequence[TrainResult]) -> ReportFigure:
    """Return the energy of each training, highest first."""
    title = "Training energy"
    bars = []
    for name, result in zip(training_names(trained), trained, strict=True):
        training = result.cost.energy_j
        total_j = total_energy(result.cost).value
        if training.value is not None:
            beside_wh = None if total_j is None else (total_j - training.value) / 3600
            bars.append(plots.Bar(name, training.value / 3600, beside_wh, training.method))
    if not bars:
        return ReportFigure("energy", title, "Not drawn: training energy was not measured.")
    bars.sort(key=lambda bar: -bar.value)
    caption = (
        "All epochs. The lighter part is the setup (building the model, probes, warm-up) and the evaluation "
        "on validation and test images."
    )
    left_out = len(trained) - len(bars)
    if left_out:
        caption += f" Not drawn, because not measured: {plural(left_out, 'training')}."
    total_wh = significant(sum(bar.value for bar in bars))
    alt = (
        f"Bar plot of the energy of {plural(len(bars), 'training')}, {total_wh} Wh in total. "
        f"Highest: {bars[0].label}. {caption}"
    )
    header = ("candidate", "training_wh", "evaluation_wh", "method")
    data = FigureData(header, tuple((bar.label, bar.value, bar.extra, bar.group) for bar in bars))
    picture = plots.energy_bars(bars, "energy", alt, ("training ({})", "evaluation ({})"))
    return ReportFigure("energy", title, caption, picture, data)
