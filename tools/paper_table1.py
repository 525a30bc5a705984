"""Table 1 of the PePR paper: its rows as printed, beside what its published results give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from paper_data import Experiment, number, read_rows, require

from pepr_edge.scoring.pepr import Normalise

TOLERANCE = 1e-4  # one unit of the last digit that is printed
BEST_EPOCH = "it is its best epoch's"
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
    """A row of the paper's Table 1, as it is printed."""

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


def read_table1(path: Path) -> list[Printed]:
    """The rows of the paper's Table 1.

    Raises:
        ScoreError: no such table, a column that is missing, a value that cannot be.
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
    """The rows of Table 1 whose experiment and model are there."""
    by_name = {experiment.name: experiment for experiment in experiments}
    return [
        _row(by_name[row.dataset], row)
        for row in printed
        if row.dataset in by_name and row.model in by_name[row.dataset].names
    ]


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
        (
            "P",
            printed.performance,
            performance,
            4,
            BEST_EPOCH if round(best, 4) == printed.performance else "",
        ),
    )
    slips = tuple(
        Slip(
            name,
            f"{shown:.{digits}f}",
            f"{value:.{digits}f}",
            why or f"{abs(shown - value) * 10**digits:.1f} units of its last digit",
        )
        for name, shown, value, digits, why in compared
        if f"{shown:.{digits}f}" != f"{value:.{digits}f}"
    )
    return Row(printed, score("max"), score("minmax"), slips)
