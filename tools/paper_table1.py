"""Table 1 of the PePR paper: its printed rows beside its published results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from paper_data import Experiment, number, read_rows, require

from pepr_edge.scoring.pepr import Normalise

TOLERANCE = 1e-4  # one unit of the last digit that is printed
BEST_EPOCH = "the printed value is that of its best epoch"
COLUMNS = (
    "dataset",
    "architecture",
    "timm_name",
    "efficient",
    "num_params_m",
    "gpu_memory_gb",
    "energy_wh",
    "last_epoch_s",
    "performance",
    "pepr_e",
)


@dataclass(frozen=True)
class Printed:
    """A printed row of the paper's Table 1."""

    dataset: str
    architecture: str
    model: str
    efficient: float
    num_params_m: float
    gpu_memory_gb: float
    energy_wh: float
    last_epoch_s: float
    performance: float
    pepr_e: float


@dataclass(frozen=True)
class Slip:
    """A value of Table 1 that differs from the published results; `remark` names its probable origin."""

    column: str
    printed: str
    computed: str
    remark: str


@dataclass(frozen=True)
class Row:
    """A row of Table 1 beside the scores of the published results."""

    printed: Printed
    score_max: float
    score_minmax: float
    slips: tuple[Slip, ...]

    @property
    def agrees(self) -> bool:
        """True if PePR-E is as printed with R = E / Emax."""
        return abs(self.score_max - self.printed.pepr_e) <= TOLERANCE

    @property
    def agrees_minmax(self) -> bool:
        """True if PePR-E is as printed with equation 1 and the paper's normalisation."""
        return abs(self.score_minmax - self.printed.pepr_e) <= TOLERANCE


def read_table1(path: Path) -> list[Printed]:
    """Return the rows of the paper's Table 1.

    Raises:
        ScoreError: no such table, a missing column, or an impossible value.
    """
    rows = read_rows(path)
    require(path, rows[0], COLUMNS)
    numbers = COLUMNS[3:]
    return [
        Printed(
            row["dataset"],
            row["architecture"],
            row["timm_name"],
            *(number(f"{path} row {n}", row, name) for name in numbers),
        )
        for n, row in enumerate(rows, start=2)
    ]


def table1(experiments: Sequence[Experiment], printed: Sequence[Printed]) -> list[Row]:
    """Return the rows of Table 1 whose experiment and model are present."""
    by_name = {experiment.name: experiment for experiment in experiments}
    return [
        _row(by_name[row.dataset], row)
        for row in printed
        if row.dataset in by_name and row.model in by_name[row.dataset].names
    ]


def same_order(rows: Sequence[Row], dataset: str) -> bool:
    """True if max and min-max rank an experiment's rows in the same order."""
    chosen = [row for row in rows if row.printed.dataset == dataset]
    return sorted(chosen, key=lambda row: -row.score_max) == sorted(chosen, key=lambda row: -row.score_minmax)


def _row(experiment: Experiment, printed: Printed) -> Row:
    index = experiment.names.index(printed.model)
    performance = float(experiment.performance[index, -1])
    energy_wh = float(experiment.energy_wh[index])

    def score(normalise: Normalise) -> float:
        return float(experiment.scores(normalise=normalise)[index])

    best = float(experiment.performance[index].max())
    is_best_epoch = round(best, 4) == printed.performance
    ours_fits = abs(score("max") - printed.pepr_e) <= TOLERANCE
    # Column, printed value, our value, decimals, remark.
    compared = (
        ("parameters (M)", printed.num_params_m, experiment.num_params[index] / 1e6, 1, ""),
        ("memory (GB)", printed.gpu_memory_gb, experiment.resources["train_memory"][index] / 1e9, 1, ""),
        ("energy (Wh)", printed.energy_wh, energy_wh, 1, "the printed PePR-E fits ours" if ours_fits else ""),
        ("last epoch (s)", printed.last_epoch_s, experiment.resources["train_time"][index], 1, ""),
        ("P", printed.performance, performance, 4, BEST_EPOCH if is_best_epoch else ""),
    )
    slips = tuple(
        Slip(
            name,
            f"{shown:.{digits}f}",
            f"{value:.{digits}f}",
            remark or f"a difference of {abs(shown - value) * 10**digits:.1f} units of the last digit",
        )
        for name, shown, value, digits, remark in compared
        if f"{shown:.{digits}f}" != f"{value:.{digits}f}"
    )
    return Row(printed, score("max"), score("minmax"), slips)
