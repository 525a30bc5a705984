"""The figure of energy over a lifetime: training plus predictions, against the number of patients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pepr_edge.records import Ranking, RankingRow, Stretch
from pepr_edge.report import plots
from pepr_edge.report.figure import FigureData, ReportFigure
from pepr_edge.report.svg import INK, Picture, open_figure, picture
from pepr_edge.scoring.lifetime import Consumer, cheapest, consumer
from pepr_edge.text.robustness import stretch_text
from pepr_edge.text.rows import ranked_rows
from pepr_edge.text.units import plural, printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLE = "Energy over a lifetime"
MIN_PATIENTS = 1e5  # the axis reaches at least this number
POINTS = 61
LOG_SPAN = 8  # ratio of energies from which their axis is logarithmic
PARTS = {"train_energy": "training", "inference_energy": "predictions"}
HOW_TO_DECLARE = "Declare workstation.watts_per_core and device.watts_per_core in the recipe"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class EnergyLine:
    """One model's energy; `cheapest`: it needs the least for some number of patients."""

    consumer: Consumer
    cheapest: bool

    def energy_wh(self, patients: float) -> float:
        return self.consumer.total_j(patients) / 3600


def over_patients(ranking: Ranking) -> ReportFigure:
    """Return the total energy against the number of patients, one image each."""
    ranked = ranked_rows(ranking)
    rows = []
    consumers = []
    for row in ranked:
        energies = consumer(row)
        if energies is not None:
            rows.append(row)
            consumers.append(energies)
    if not rows:
        reason = f"the energy of training or of a prediction is not known. {HOW_TO_DECLARE}"
        return ReportFigure("life", TITLE, f"Not drawn: {reason}.")
    methods = {part: _methods(rows, name) for name, part in PARTS.items()}
    for names in methods.values():
        if len(names) > 1:
            reason = f"energies were obtained in different ways ({', '.join(names)})"
            return ReportFigure("life", TITLE, f"Not drawn: {reason}.")
    stretches = cheapest(consumers)
    cheapest_names = {stretch.name for stretch in stretches}
    lines = [EnergyLine(model, model.name in cheapest_names) for model in consumers]
    lines.sort(key=lambda line: not line.cheapest)
    caption = _caption(stretches, methods, left_out=len(ranked) - len(rows))
    models = plural(len(lines), "model")
    alt = f"Line plot of total energy against the number of patients of {models}. {caption}"
    patients = np.geomspace(1, max(MIN_PATIENTS, 10 * stretches[-1].start), POINTS)
    drawn = _draw(lines, patients, alt)
    return ReportFigure("life", TITLE, caption, drawn, _data(lines, patients))


def _methods(rows: Sequence[RankingRow], name: str) -> list[str]:
    return sorted({row.methods.get(name, "") for row in rows})


def _caption(stretches: Sequence[Stretch], methods: dict[str, list[str]], left_out: int) -> str:
    cheapest_text = "; ".join(stretch_text(stretch) for stretch in stretches)
    how = ", ".join(f"{part} {names[0]}" for part, names in methods.items())
    caption = f"Training plus predictions, one image per patient ({how}). Lowest total: {cheapest_text}."
    if left_out:
        caption += f" Not drawn, because one of their energies is not known: {plural(left_out, 'model')}."
    return caption


def _data(lines: Sequence[EnergyLine], patients: Floats) -> FigureData:
    rows = []
    for line in lines:
        for number in patients.tolist():
            rows.append((line.consumer.name, number, line.energy_wh(number), line.cheapest))
    return FigureData(("model", "patients", "energy_wh", "least_somewhere"), tuple(rows))


def _draw(lines: Sequence[EnergyLine], patients: Floats, alt: str) -> Picture:
    with open_figure() as (figure, axes):
        axes.set_xscale("log")
        plots.plain_log(axes.xaxis, float(patients[-1]))
        _scale_energies(axes, lines, patients)
        for number, line in enumerate(lines):
            energies_wh = [line.energy_wh(float(n)) for n in patients]
            if not line.cheapest:
                axes.plot(patients, energies_wh, color=INK, alpha=0.25, linewidth=0.9)
                continue
            colour, marker = plots.style(number)
            axes.plot(
                patients,
                energies_wh,
                color=colour,
                linewidth=1.7,
                marker=marker,
                markersize=5,
                markevery=12,
                label=plots.legend_name(printable(line.consumer.name)),
                zorder=3,
            )
        others = sum(not line.cheapest for line in lines)
        if others:
            axes.plot([], [], color=INK, alpha=0.35, linewidth=0.9, label=plural(others, "other"))
        axes.set_xlabel("patients, one image each")
        axes.set_ylabel("total energy (Wh)")
        plots.draw_legend(axes)
        return picture(figure, "life", alt)


def _scale_energies(axes: Axes, lines: Sequence[EnergyLine], patients: Floats) -> None:
    """Make the energy axis logarithmic if the energies differ by more than LOG_SPAN."""
    lowest = min(line.energy_wh(float(patients[0])) for line in lines)
    highest = max(line.energy_wh(float(patients[-1])) for line in lines)
    if lowest > 0 and highest / lowest >= LOG_SPAN:
        axes.set_yscale("log")
        plots.plain_log(axes.yaxis, highest / lowest)
