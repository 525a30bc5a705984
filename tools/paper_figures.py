"""The figures of the PePR paper from its published results: one function and one SVG file for each.

Dark ink on white, for pages that show an SVG as a picture; text as outlines, so that it looks the same
everywhere.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter
from numpy.typing import NDArray
from paper_data import EXPERIMENTS, PLAUSIBLE_W, Experiment, mean

from pepr_edge.report.plots import PALETTE
from pepr_edge.report.svg import INK
from pepr_edge.scoring.pepr import Array, Scoring, combined_resource
from pepr_edge.scoring.robustness import best

BLUE, ORANGE, GREEN = PALETTE[:3]
PARAMETERS = "trainable parameters (millions)"
SETTINGS: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "svg.fonttype": "path",
    "svg.hashsalt": "pepr_edge",
    "text.parse_math": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "figure.titlesize": 11,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
}


@contextmanager
def panels(
    title: str, rows: int, columns: int, width_in: float, height_in: float, **shared: Any
) -> Iterator[tuple[Figure, list[Axes]]]:
    """Yield a figure with a title and its panels, without pyplot; settings are restored afterwards."""
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(width_in, height_in), layout="constrained", facecolor="white")
        FigureCanvasAgg(figure)
        figure.suptitle(title, x=0.01, ha="left", fontweight="bold")
        yield figure, list(figure.subplots(rows, columns, squeeze=False, **shared).flat)


def svg(figure: Figure) -> str:
    """Return the figure as SVG without a date; the same values give the same bytes."""
    buffer = io.StringIO()
    with matplotlib.rc_context(SETTINGS):
        _fix_layout(figure)
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", buffer.getvalue(), flags=re.DOTALL)
    # Two decimals are enough for coordinates, and halve the file.
    text = re.sub(r'\b([xy])="(-?\d+\.\d{3,})"', lambda found: f'{found[1]}="{float(found[2]):.2f}"', text)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    return "\n".join(line.strip() for line in text.splitlines() if line.strip()) + "\n"


def _fix_layout(figure: Figure) -> None:
    """Lay the panels out and fix them: the layout's solver moves them by rounding errors each time."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes in figure.axes:
        axes.set_position([round(value, 4) for value in axes.get_position().bounds])


def isoclines(experiment: Experiment, baseline: float | None) -> Figure:
    """Draw all models of one experiment over lines of equal PePR-E; the five best are named.

    Args:
        experiment: the one to draw.
        baseline: accuracy of always answering the most frequent class, at no cost; None if unknown.
    """
    models = experiment.models
    r = combined_resource(models, Scoring({"train_energy": 1.0}))
    p = models.performance
    with panels(f"PePR-E of {len(r)} models ({experiment.name})", 1, 1, 7.6, 5.4) as (figure, (axes,)):
        low = np.floor(p.min() * 20) / 20 - 0.02
        high = np.ceil(p.max() * 20) / 20 + 0.04
        axes.set(xlim=(-0.45, 1.06), ylim=(low, high), xticks=np.arange(0, 1.01, 0.2))
        _equal_scores(axes, low, high)
        _by_efficiency(axes, r, p, experiment.efficient)
        if baseline is not None:
            axes.scatter(
                [0],
                [baseline],
                70,
                color=GREEN,
                marker="*",
                zorder=4,
                label="always the most frequent class, at no cost",
            )
        axes.set_xlabel("energy of the training, normalised over the set: R = (E - Emin) / (Emax - Emin)")
        axes.set_ylabel("performance P (test accuracy after the last epoch)")
        _name_best(axes, experiment, r, high - 0.02, 0.05 * (high - low))
        _shared_legend(figure, [axes])
    return figure


def energy_parameters(experiments: Sequence[Experiment]) -> Figure:
    """Draw training energy against parameters, a panel by experiment; implausible energies are hollow."""
    columns = 2 if len(experiments) <= 4 else 4
    rows = -(-len(experiments) // columns)
    title = "Energy of the training against parameters"
    size_in = (3.7 * columns, 0.9 + 2.7 * rows)
    with panels(title, rows, columns, *size_in, sharex=True, sharey=True) as (figure, all_axes):
        for axes, experiment in zip(all_axes, experiments, strict=False):
            hollow = experiment.implausible
            _by_efficiency(
                axes, experiment.num_params / 1e6, experiment.energy_wh, experiment.efficient, hollow
            )
            remark = f" ({hollow.sum()} of {len(hollow)} implausible)" if hollow.any() else ""
            axes.set_title(experiment.name + remark)
            axes.set(xscale="log", yscale="log")
            _plain_log(axes.xaxis)
            _plain_log(axes.yaxis)
        for axes in all_axes[len(experiments) :]:
            axes.set_axis_off()
        for axes in all_axes[::columns]:
            axes.set_ylabel("energy (Wh)")
        for axes in all_axes[-columns:]:
            axes.set_xlabel(PARAMETERS)
        _shared_legend(figure, all_axes)
    return figure


def performance_parameters(experiments: Sequence[Experiment]) -> Figure:
    """Draw performance and PePR-E against parameters, means over the experiments."""
    return _against_parameters(
        experiments,
        f"Performance and PePR-E against parameters ({_means(experiments)})",
        "performance or score",
        {
            "a) performance P": mean(experiments),
            "b) PePR-E": mean(experiments, "scores"),
        },
    )


def pepr_ctm_parameters(experiments: Sequence[Experiment]) -> Figure:
    """Draw PePR-C, PePR-M and PePR-T against parameters, means over the experiments."""
    return _against_parameters(
        experiments,
        f"PePR over other resources against parameters ({_means(experiments)})",
        "score",
        {
            "a) PePR-C (CO2eq of the training)": mean(experiments, "scores", "train_co2eq"),
            "b) PePR-M (GPU memory)": mean(experiments, "scores", "train_memory"),
            "c) PePR-T (time of the last epoch)": mean(experiments, "scores", "train_time"),
        },
    )


def training_influence(experiments: Sequence[Experiment]) -> Figure:
    """Draw the distribution of performance in each experiment: models as points, quartiles as a box."""
    with panels("Performance of all models by experiment", 1, 1, 1.2 + 1.75 * len(experiments), 4.6) as (
        figure,
        (axes,),
    ):
        rng = np.random.default_rng(0)
        for number, experiment in enumerate(experiments):
            p = experiment.performance[:, -1]
            axes.boxplot(
                p,
                positions=[number],
                widths=0.62,
                showfliers=False,
                whis=(5, 95),
                medianprops={"color": ORANGE, "linewidth": 2},
                **{f"{part}props": {"color": INK, "linewidth": 0.9} for part in ("box", "whisker", "cap")},
            )
            axes.scatter(
                number + rng.uniform(-0.24, 0.24, len(p)),
                p,
                11,
                color=BLUE,
                alpha=0.55,
                linewidths=0,
                zorder=3,
            )
        axes.set_xticks(range(len(experiments)), [_in_words(experiment.name) for experiment in experiments])
        axes.set_xlim(-0.6, len(experiments) - 0.4)
        axes.grid(visible=False, axis="x")
        axes.set_ylabel("performance P (test accuracy after the last epoch)")
    return figure


def _in_words(name: str) -> str:
    """Return an experiment's name and training, for a tick."""
    return "\n".join([name, *EXPERIMENTS[name].split(", ")])


def _means(experiments: Sequence[Experiment]) -> str:
    return "one experiment" if len(experiments) == 1 else f"means over {len(experiments)} experiments"


def _against_parameters(
    experiments: Sequence[Experiment], title: str, y_label: str, values: dict[str, Array]
) -> Figure:
    """Draw a panel for each of the values, with the median of parameters and the mean on each side of it."""
    first = experiments[0]
    millions = first.num_params / 1e6
    median = float(np.median(millions))
    with panels(title, 1, len(values), 0.6 + 3.6 * len(values), 4.1, sharey=True) as (figure, all_axes):
        for axes, (name, scored) in zip(all_axes, values.items(), strict=True):
            _by_efficiency(axes, millions, scored, first.efficient)
            axes.axvline(median, color=INK, linewidth=1, linestyle=":", label=f"median, {median:.1f} million")
            small_mean = scored[first.small].mean()
            large_mean = scored[~first.small].mean()
            line: dict[str, Any] = {"color": GREEN, "linewidth": 2.2}
            axes.plot((millions.min(), median), [small_mean] * 2, label="mean of each side", **line)
            axes.plot((median, millions.max()), [large_mean] * 2, **line)
            axes.set(title=name, xlabel=PARAMETERS, xscale="log")
            _plain_log(axes.xaxis)
        all_axes[0].set_ylabel(y_label)
        _shared_legend(figure, all_axes)
    return figure


def _by_efficiency(
    axes: Axes, x: Array, y: Array, efficient: NDArray[np.bool_], hollow: NDArray[np.bool_] | None = None
) -> None:
    """Draw points; efficient architectures have their own colour and shape, hollow ones no filling."""
    empty = np.zeros(len(x), bool) if hollow is None else hollow
    for name, chosen, colour, marker in (
        ("other", ~efficient, BLUE, "o"),
        ("efficient", efficient, ORANGE, "^"),
    ):
        full = chosen & ~empty
        axes.scatter(
            x[full],
            y[full],
            24,
            color=colour,
            marker=marker,
            alpha=0.85,
            linewidths=0,
            label=f"{name} architectures",
            zorder=3,
        )
        if empty.any():
            shown = chosen & empty
            axes.scatter(
                x[shown],
                y[shown],
                20,
                facecolors="none",
                edgecolors=colour,
                marker=marker,
                linewidths=0.9,
                label=f"{name}, more than {PLAUSIBLE_W:.0f} W",
                zorder=3,
            )


def _name_best(axes: Axes, experiment: Experiment, r: Array, top: float, step: float) -> None:
    """Label the five best with their ranks, left of all points: lines from there cross no other point."""
    scores = experiment.scores()
    p = experiment.performance[:, -1]
    ranked = [experiment.names.index(name) for name in best(experiment.names, scores)]
    for line, i in enumerate(sorted(ranked, key=lambda i: -p[i])):
        axes.annotate(
            f"{ranked.index(i) + 1}. {experiment.names[i]} {scores[i]:.3f}",
            (r[i], p[i]),
            (-0.045, top - step * line),
            ha="right",
            va="center",
            fontsize=8,
            arrowprops={
                "arrowstyle": "-",
                "color": INK,
                "alpha": 0.6,
                "linewidth": 0.7,
                "shrinkA": 1,
                "shrinkB": 2,
                "relpos": (1, 0.5),
            },
            zorder=5,
        )


def _equal_scores(axes: Axes, low: float, high: float) -> None:
    """Draw lines of equal PePR, P = score * (1 + R), with the score at the end of each line."""
    right = 1.06
    for score in np.arange(0.3, 1.0, 0.05):
        ends = np.array([0.0, right])
        axes.plot(ends, score * (1 + ends), color="#8a96a3", linewidth=0.8, zorder=1, label="equal PePR-E")
        x = min(right, high / score - 1)
        y = score * (1 + x)
        if low + 0.02 < y and x > 0.02:
            axes.annotate(
                f"{score:.2f}",
                (x, y),
                (3, 1),
                textcoords="offset points",
                fontsize=7.5,
                color="#5b6673",
                annotation_clip=False,
            )


def _plain_log(axis: Any) -> None:
    """Show plain numbers on an axis whose scale is already logarithmic."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_locator(NullLocator())


def _shared_legend(figure: Figure, all_axes: Sequence[Axes]) -> None:
    """Draw one legend below all panels, with each name once."""
    entries = {}
    for axes in all_axes:
        handles, names = axes.get_legend_handles_labels()
        entries.update(zip(names, handles, strict=True))
    figure.legend(
        entries.values(),
        entries,
        loc="outside lower left",
        ncols=2 if len(entries) == 4 and len(all_axes) != 3 else 4,
        columnspacing=1.4,
        handletextpad=0.4,
    )


def figures(
    experiments: Sequence[Experiment], baselines: Mapping[str, float | None]
) -> dict[str, Callable[[], Figure]]:
    """Return a function that draws each figure, by file name."""
    shown = next((experiment for experiment in experiments if experiment.name == "derma"), experiments[0])
    return {
        "isoclines": lambda: isoclines(shown, baselines[shown.name]),
        "energy_parameters": lambda: energy_parameters(experiments),
        "training_influence": lambda: training_influence(experiments),
        "performance_parameters": lambda: performance_parameters(experiments),
        "pepr_ctm_parameters": lambda: pepr_ctm_parameters(experiments),
    }
