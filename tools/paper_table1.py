"""Table 1 of the PePR paper beside what its published results give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from paper_data import Experiment, Printed

from pepr_edge.score import Normalise

TOLERANCE = 1e-4  # one unit of the last digit that is printed
BEST_EPOCH = "it is its best epoch's"


@dataclass(frozen=True)
class Slip:
    """A value of Table 1 that is not what the published results give, with a sentence on where it may come from."""

    column: str
    printed: str
    computed: str
    remark: str


@dataclass(frozen=True)
class Row:
    """A row of Table 1 beside what the published results give."""

    printed: Printed
    score_max: float
    score_minmax: float
    slips: tuple[Slip, ...]

    @property
    def agrees(self) -> bool:
        """Whether PePR-E is as printed with R = E / Emax."""
        return abs(self.score_max - self.printed.pepr_e) <= TOLERANCE

    @property
    def agrees_minmax(self) -> bool:
        """Whether PePR-E is as printed with equation 1 and the resource normalised as the paper says."""
        return abs(self.score_minmax - self.printed.pepr_e) <= TOLERANCE


def table1(experiments: Sequence[Experiment], printed: Sequence[Printed]) -> list[Row]:
    """The rows of Table 1 whose experiment and model are there."""
    by_name = {experiment.name: experiment for experiment in experiments}
    return [_row(by_name[row.dataset], row) for row in printed if row.dataset in by_name and row.model in by_name[row.dataset].names]


def same_order(rows: Sequence[Row], dataset: str) -> bool:
    """Whether max and min-max rank an experiment's rows alike."""
    chosen = [row for row in rows if row.printed.dataset == dataset]
    return sorted(chosen, key=lambda row: -row.score_max) == sorted(chosen, key=lambda row: -row.score_minmax)


def _row(experiment: Experiment, printed: Printed) -> Row:
    index = experiment.names.index(printed.model)
    performance, energy_wh = float(experiment.performance[index, -1]), float(experiment.energy_wh[index])

    def score(normalise: Normalise) -> float:
        return float(experiment.scores(normalise=normalise)[index])

    remark = "its own PePR-E follows from ours" if abs(score("max") - printed.pepr_e) <= TOLERANCE else ""
    best = float(experiment.performance[index].max())
    compared = (
        ("parameters (M)", printed.num_params_m, experiment.num_params[index] / 1e6, 1, ""),
        ("memory (GB)", printed.gpu_memory_gb, experiment.resources["train_memory"][index] / 1e9, 1, ""),
        ("energy (Wh)", printed.energy_wh, energy_wh, 1, remark),
        ("last epoch (s)", printed.last_epoch_s, experiment.resources["train_time"][index], 1, ""),
        ("P", printed.performance, performance, 4, BEST_EPOCH if round(best, 4) == printed.performance else ""),
    )
    slips = tuple(
        Slip(name, f"{shown:.{digits}f}", f"{value:.{digits}f}", why or f"{abs(shown - value) * 10**digits:.1f} units of its last digit")
        for name, shown, value, digits, why in compared
        if f"{shown:.{digits}f}" != f"{value:.{digits}f}"
    )
    return Row(printed, score("max"), score("minmax"), slips)
