"""The figures of the training: learning curves, PePR along them, and the energy that they took."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from pepr_edge.records import Bound, Ranking, TrainResult
from pepr_edge.report import plots
from pepr_edge.report.figure import Figure, FigureData
from pepr_edge.scoring.pepr import curve
from pepr_edge.text.sentences import ranked_rows
from pepr_edge.text.units import energy, metric, printable, score, significant


def learning_curves(ranking: Ranking, trained: Sequence[TrainResult]) -> Figure:
    """Validation performance per epoch, the best-ranked candidates named."""
    title = "Learning curves"
    shown = [result for result in _best_first(ranking, trained) if result.epochs]
    if not shown:
        return Figure("curves", title, "Not drawn: no training was found.")
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
    caption = (
        f"{name.capitalize()} after each epoch. The marker is the epoch that was kept, chosen on validation."
    )
    if len(curves) > plots.NAMED_CURVES:
        caption += f" In colour: the {plots.NAMED_CURVES} best-ranked candidates."
    best = curves[0]
    alt = f"Line plot of {len(curves)} candidates. {caption} {best.label} ends at {score(best.values[-1])} after {best.epochs[-1]} epochs."
    picture = plots.learning_curves(curves, "curves", alt, name)
    return Figure("curves", title, caption, picture, _by_epoch(curves, f"val_{shown[0].performance_metric}"))


def _best_first(ranking: Ranking, trained: Sequence[TrainResult]) -> list[TrainResult]:
    """Trainings by the rank of the best of their files; those without a rank last."""
    order = {row.candidate: number for number, row in reversed(list(enumerate(ranked_rows(ranking))))}
    return sorted(trained, key=lambda result: order.get(result.candidate.id, len(order)))


def _by_epoch(curves: Sequence[plots.Curve], column: str) -> FigureData:
    rows = (
        (one.label, epoch, value, epoch == one.best)
        for one in curves
        for epoch, value in zip(one.epochs, one.values, strict=True)
    )
    return FigureData(("candidate", "epoch", column, "marked"), tuple(rows))


def pepr_curves(ranking: Ranking, trained: Sequence[TrainResult]) -> Figure:
    """PePR-E after each epoch, over what had been spent until then; the marker at its greatest, P*."""
    title = "PePR along the training"
    spent = {result.candidate.id: _spent_j(result) for result in trained}
    known = [
        (result, joules) for result in _best_first(ranking, trained) if (joules := spent[result.candidate.id])
    ]
    if not known or len({result.cost.energy_j.method for result, _ in known}) > 1:
        why = (
            "energies were obtained in different ways"
            if known
            else "the energy of the epochs was not measured"
        )
        return Figure("pepr_curves", title, f"Not drawn: {why}.")
    bound = Bound(
        lo=min(joules[0] for _, joules in known), hi=max(joules[-1] for _, joules in known), unit="J"
    )
    curves = []
    for result, joules in known:
        found = curve([epoch.val_performance for epoch in result.epochs], joules, bound, ranking.alpha)
        epochs = tuple(epoch.epoch for epoch in result.epochs)
        curves.append(
            plots.Curve(
                printable(result.candidate.id), epochs, tuple(found.values.tolist()), epochs[found.best]
            )
        )
    name = metric(known[0][0].performance_metric)
    caption = (
        f"Validation {name} per unit of training energy, had the training stopped there. Energy is that of the epochs, without "
        f"start-up and probing, scaled from the cheapest first epoch ({energy(bound.lo)}) to the dearest training ({energy(bound.hi)}). "
        "The marker is the greatest, P*: where a curve falls after it, the later epochs cost more than they brought."
    )
    best = max(curves, key=lambda one: max(one.values))
    alt = f"Line plot of PePR-E by epoch of {len(curves)} candidates. {caption} Greatest: {best.label}, {score(max(best.values))}."
    picture = plots.learning_curves(curves, "pepr_curves", alt, "PePR-E so far")
    return Figure("pepr_curves", title, caption, picture, _by_epoch(curves, "pepr_E"))


def _spent_j(result: TrainResult) -> list[float]:
    """Energy from the start of the training to the end of each epoch, joules; empty where one is not known."""
    each = [epoch.energy_j for epoch in result.epochs]
    return list(accumulate(joules for joules in each if joules is not None)) if None not in each else []


def training_energy(trained: Sequence[TrainResult]) -> Figure:
    """Energy of training by candidate, greatest first."""
    title = "Training energy"
    known = [
        (result, result.cost.energy_j.value) for result in trained if result.cost.energy_j.value is not None
    ]
    if not known:
        return Figure("energy", title, "Not drawn: training energy was not measured.")
    known.sort(key=lambda item: -item[1])
    bars = []
    for result, joules in known:
        extra = result.cost.evaluation_energy_j.value
        bars.append(
            plots.Bar(
                printable(result.candidate.id),
                joules / 3600,
                None if extra is None else extra / 3600,
                result.cost.energy_j.method,
            )
        )
    caption = "All epochs; the lighter part is evaluation on validation and test."
    if left_out := len(trained) - len(bars):
        caption += f" Not measured, so not drawn: {left_out}."
    total = sum(joules for _, joules in known) / 3600
    alt = f"Bar plot of training energy of {len(bars)} candidates, {significant(total)} Wh in all. Greatest: {bars[0].label}. {caption}"
    data = FigureData(
        ("candidate", "training_wh", "evaluation_wh", "method"),
        tuple((bar.label, bar.value, bar.evaluation, bar.method) for bar in bars),
    )
    return Figure(
        "energy",
        title,
        caption,
        plots.energy_bars(bars, "energy", alt, ("training ({})", "evaluation ({})")),
        data,
    )
