"""The figure of energy over a life: what a model's training took, and each answer on top of it, against the number of patients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pepr_edge.errors import ScoreError
from pepr_edge.records import Ranking, Stretch
from pepr_edge.report import plots
from pepr_edge.report.figure import Figure, FigureData
from pepr_edge.report.svg import INK, Picture, open_figure, picture
from pepr_edge.scoring.lifetime import Consumer, cheapest, consumer
from pepr_edge.scoring.pepr import only_method
from pepr_edge.text.robustness import images
from pepr_edge.text.sentences import ranked_rows
from pepr_edge.text.units import plural, printable

LEAST_PATIENTS = 1e5  # that the axis reaches
POINTS = 61
FROM_SPAN = 8  # of energies: then their axis is logarithmic
PARTS = {"train_energy": "training", "inference_energy": "answers"}
WATTS = "Declare workstation.watts_per_core and device.watts_per_core in the recipe to have it"


@dataclass(frozen=True)
class EnergyLine:
    """One model's energy; `cheapest`: it needs the least for some number of patients."""

    consumer: Consumer
    cheapest: bool


def over_patients(ranking: Ranking) -> Figure:
    """Energy in all against the number of patients, one image each."""
    title = "Energy over a life"
    rows = [row for row in ranked_rows(ranking) if consumer(row) is not None]
    if not rows:
        return Figure(
            "life", title, f"Not drawn: the energy of training or of an answer is not known. {WATTS}."
        )
    try:
        how = ", ".join(
            f"{words} {only_method([row.methods.get(name, '') for row in rows])}"
            for name, words in PARTS.items()
        )
    except ScoreError as fault:
        return Figure("life", title, f"Not drawn: energies were {str(fault).partition(', which')[0]}.")
    consumers = [one for row in rows if (one := consumer(row)) is not None]
    stretches = cheapest(consumers)
    best = {one.name for one in stretches}
    lines = sorted(
        (EnergyLine(one, one.name in best) for one in consumers), key=lambda line: not line.cheapest
    )
    caption = f"Training and answers together, one image a patient ({how}). Least in all: {'; '.join(map(_stretch, stretches))}."
    if left_out := len(ranked_rows(ranking)) - len(rows):
        caption += f" Not drawn, since an energy of theirs is not known: {left_out}."
    alt = f"Line plot of energy in all against the number of patients of {len(lines)} models. {caption}"
    patients = _patients(stretches)
    data = tuple(
        (line.consumer.name, float(n), _wh(line.consumer, float(n)), line.cheapest)
        for line in lines
        for n in patients
    )
    return Figure(
        "life",
        title,
        caption,
        _draw(lines, patients, alt),
        FigureData(("model", "patients", "energy_wh", "least_somewhere"), data),
    )


def _stretch(one: Stretch) -> str:
    if one.until is None:
        return f"{printable(one.name)} {f'from {images(one.start)} on' if one.start > 1 else 'whatever their number'}"
    return f"{printable(one.name)} up to {images(one.until)}"


def _patients(stretches: Sequence[Stretch]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.geomspace(1, max(LEAST_PATIENTS, 10 * stretches[-1].start), POINTS)


def _wh(one: Consumer, patients: float) -> float:
    return (one.training_j + patients * one.inference_j) / 3600


def _draw(
    lines: Sequence[EnergyLine], patients: np.ndarray[tuple[int], np.dtype[np.float64]], alt: str
) -> Picture:
    with open_figure() as (figure, axes):
        axes.set_xscale("log")
        plots.plain_log(axes.xaxis, float(patients[-1]))
        ends = [_wh(line.consumer, float(n)) for line in lines for n in (patients[0], patients[-1])]
        if min(ends) > 0 and max(ends) / min(ends) >= FROM_SPAN:
            axes.set_yscale("log")
            plots.plain_log(axes.yaxis, max(ends) / min(ends))
        others = sum(not line.cheapest for line in lines)
        for number, line in enumerate(lines):
            y = [_wh(line.consumer, float(n)) for n in patients]
            if line.cheapest:
                colour, marker = (
                    plots.PALETTE[number % len(plots.PALETTE)],
                    plots.MARKERS[number % len(plots.MARKERS)],
                )
                name = plots.legend_name(printable(line.consumer.name))
                axes.plot(
                    patients,
                    y,
                    color=colour,
                    linewidth=1.7,
                    marker=marker,
                    markersize=5,
                    markevery=12,
                    label=name,
                    zorder=3,
                )
            else:
                axes.plot(patients, y, color=INK, alpha=0.25, linewidth=0.9)
        if others:
            axes.plot([], [], color=INK, alpha=0.35, linewidth=0.9, label=plural(others, "other"))
        axes.set_xlabel("patients, one image each")
        axes.set_ylabel("energy in all (Wh)")
        plots.draw_legend(axes)
        return picture(figure, "life", alt)
