"""The published results of the PePR paper as arrays, and statistical tests on them.

They come from a CSV file in our format or the authors', or are downloaded. `pepr_edge.compare.published`
reads the same format, but one set after its last epoch; this module reads all sets and all epochs.
"""

from __future__ import annotations

import csv
import hashlib
import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr, ttest_ind

from pepr_edge.compare import published as published_table
from pepr_edge.errors import ScoreError
from pepr_edge.scoring.pepr import Array, Models, Normalise, Scoring, scores

COMMIT = "a0d152d83a1da6f27fa2a2231f742674ef2ca10f"
URL = f"https://raw.githubusercontent.com/saintslab/PePR/{COMMIT}/data/all_results.csv"
MODELS = 131
EPOCHS = 10
PLAUSIBLE_W = 1000.0  # a workstation with one GPU of 24 GB, as the paper used, draws less
# The authors' experiments, and the training in each.
# Source: the groups of paper_plots.py and make_pepr_data.py in the authors' repository; the paper's Table 1
# calls derma DermaNPT.
EXPERIMENTS = {
    "derma_pt": "DermaMNIST, pretrained, all images",
    "derma": "DermaMNIST, from scratch, all images",
    "derma_small": "DermaMNIST, pretrained, a tenth of the images",
    "derma_smallest": "DermaMNIST, fewer images still",
    "lidc": "LIDC, pretrained, all images",
    "lidc_small": "LIDC, pretrained, a tenth of the images",
    "pneumonia": "PneumoniaMNIST, pretrained, all images",
    "pneumonia_small": "PneumoniaMNIST, pretrained, a tenth of the images",
}
# Our column -> the authors'.
COLUMNS = {
    "dataset": "dataset",
    "model": "model",
    "type": "type",
    "efficient": "efficient",
    "num_params": "num_param",
    "gpu_memory_gb": "memR",
    "energy_kwh": "energy",
    "co2eq_g": "co2",
    "last_epoch_s": "train_time",
    **{f"test_{epoch:02d}": f"test_{epoch:02d}" for epoch in range(EPOCHS)},
}


@dataclass(frozen=True)
class Experiment:
    """One experiment: the same models trained on one set of images, in order of their names.

    Resources are in J, g, s and B, shape (n,); `performance` is the test accuracy after each epoch, shape (n,
    epochs).
    """

    name: str
    names: tuple[str, ...]
    cnn: NDArray[np.bool_]
    efficient: NDArray[np.bool_]
    num_params: Array
    resources: dict[str, Array]
    performance: Array

    @property
    def models(self) -> Models:
        """The set to score: the performance after the last epoch."""
        return Models(self.names, self.performance[:, -1], self.resources)

    @property
    def energy_wh(self) -> Array:
        """Energy of the training, in the paper's unit."""
        return self.resources["train_energy"] / 3600

    @property
    def small(self) -> NDArray[np.bool_]:
        """True for models up to the median number of parameters, as in `pepr_edge.compare.groups`."""
        return self.num_params <= np.median(self.num_params)

    @property
    def power_w(self) -> Array:
        """Mean power of the training, if all epochs took as long as the last."""
        return self.resources["train_energy"] / (EPOCHS * self.resources["train_time"])

    @property
    def implausible(self) -> NDArray[np.bool_]:
        """True for models whose training would have needed more power than a workstation draws."""
        return self.power_w > PLAUSIBLE_W

    def scores(self, resource: str = "train_energy", normalise: Normalise = "minmax") -> Array:
        """Return PePR over one resource, shape (n,)."""
        return scores(self.models, Scoring({resource: 1.0}, normalise))


@dataclass(frozen=True)
class Test:
    """Student's t-test of two independent groups: their means and sizes, t and p."""

    means: tuple[float, float]
    sizes: tuple[int, int]
    t: float
    p: float

    def __str__(self) -> str:
        means = f"{self.means[0]:.3f} against {self.means[1]:.3f}"
        return f"{means}, n = {self.sizes[0]} and {self.sizes[1]}, t = {self.t:.2f}, {p_value(self.p)}"


def mean(
    experiments: Sequence[Experiment], values: str = "performance", resource: str = "train_energy"
) -> Array:
    """Return the mean over experiments by model, shape (n,).

    Args:
        experiments: with the same models in the same order.
        values: "performance", "energy_wh" or "scores".
        resource: of the scores.
    """
    functions = {
        "performance": lambda e: e.performance[:, -1],
        "energy_wh": lambda e: e.energy_wh,
        "scores": lambda e: e.scores(resource),
    }
    return np.asarray(np.mean([functions[values](experiment) for experiment in experiments], axis=0))


def repeated(experiments: Sequence[Experiment]) -> dict[str, dict[str, NDArray[np.bool_]]]:
    """Return, by experiment and other experiment, a mask of the models with exactly the same energy in both.

    Pairs of experiments without such a model are left out.
    """
    masks: dict[str, dict[str, NDArray[np.bool_]]] = {experiment.name: {} for experiment in experiments}
    for experiment in experiments:
        for other in experiments:
            same = experiment.resources["train_energy"] == other.resources["train_energy"]
            if experiment is not other and same.any():
                masks[experiment.name][other.name] = same
    return masks


def p_value(p: float) -> str:
    """Format a p-value."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def t_test(first: Array, second: Array) -> Test:
    """Compare two independent groups of equal variance, as the authors do."""
    result = ttest_ind(first, second)
    return Test(
        (float(first.mean()), float(second.mean())),
        (len(first), len(second)),
        float(result.statistic),
        float(result.pvalue),
    )


def split_test(values: Array, mask: NDArray[np.bool_]) -> Test:
    """Compare the models of a mask with the others."""
    return t_test(values[mask], values[~mask])


def rank_correlation(first: Array, second: Array) -> tuple[float, float]:
    """Return Spearman's rho and its p-value."""
    result = spearmanr(first, second)
    return float(result.statistic), float(result.pvalue)


def download() -> Path:
    """Return the path of the authors' table at the pinned commit; downloads it unless it is in the cache.

    Raises:
        ScoreError: no network.
    """
    import pooch

    pooch.get_logger().setLevel(logging.WARNING)
    target = Path(pooch.os_cache("pepr_edge")) / f"pepr_all_results_{COMMIT[:12]}.csv"
    try:
        # The commit pins the content. There is no sha256 because we do not know it: `published` checks the
        # content.
        return Path(pooch.retrieve(URL, known_hash=None, fname=target.name, path=target.parent))
    except (OSError, ValueError) as fault:
        raise ScoreError(
            f"the published results cannot be downloaded ({type(fault).__name__}), expected {URL}. "
            "Fetch it on a machine with internet and name it with --results."
        ) from None


def published() -> list[Experiment]:
    """Download all experiments: 131 models in each of 8 experiments.

    Raises:
        ScoreError: no network, or an incomplete table.
    """
    path = download()
    experiments = read(path)
    counts = {experiment.name: len(experiment.names) for experiment in experiments}
    if counts != dict.fromkeys(EXPERIMENTS, MODELS):
        raise ScoreError(
            f"{path}: models by experiment {counts}, expected {MODELS} in each of {len(EXPERIMENTS)}. "
            "Remove the file and try again."
        )
    return experiments


def read(path: Path) -> list[Experiment]:
    """Return the experiments of a table, ours or the authors', in the order of EXPERIMENTS.

    Raises:
        ScoreError: no such table, a missing column, an impossible value, or a model that an experiment lacks.
    """
    rows = read_rows(path)
    columns = _columns(path, rows[0])
    by_name: dict[str, list[tuple[str, dict[str, str]]]] = {}
    for number, row in enumerate(rows, start=2):
        named = {ours: row[theirs] or "" for ours, theirs in columns.items()}
        if named["dataset"] not in EXPERIMENTS:
            raise ScoreError(
                f"{path} row {number}: dataset = {named['dataset']!r}, expected one of "
                f"{', '.join(EXPERIMENTS)}."
            )
        by_name.setdefault(named["dataset"], []).append((f"{path} row {number}", named))
    experiments = [_experiment(name, by_name[name]) for name in EXPERIMENTS if name in by_name]
    for experiment in experiments[1:]:
        differ = sorted(set(experiments[0].names) ^ set(experiment.names))
        if differ:
            raise ScoreError(
                f"{path}: {differ[0]} is not in both {experiments[0].name} and {experiment.name}, "
                "expected the same models in every experiment. Add its row."
            )
    return experiments


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file, by column."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as fault:
        reason = fault.strerror if isinstance(fault, OSError) else "not a CSV file in UTF-8"
        raise ScoreError(
            f"{path}: cannot be read ({reason}), expected a CSV file. Correct the path."
        ) from None
    if not rows:
        raise ScoreError(
            f"{path}: no rows, expected a header and a row for each model of an experiment. Fetch it again."
        )
    return rows


def _columns(path: Path, row: dict[str, str]) -> dict[str, str]:
    """Return the table's name of each of our columns: ours, or the authors'."""
    if "num_params" in row:
        columns = {ours: ours for ours in COLUMNS}
    elif "num_param" in row:
        columns = COLUMNS
    else:
        raise ScoreError(
            f"{path}: neither num_params (our format) nor num_param (the authors') is a column. "
            "Give a table of results."
        )
    require(path, row, columns.values())
    return columns


def require(path: Path, row: dict[str, str], columns: Iterable[str]) -> None:
    """Raise ScoreError if a table lacks a column."""
    missing = [name for name in columns if name not in row]
    if missing:
        raise ScoreError(f"{path}: no column {', '.join(missing)}. Add it, or fetch the table again.")


def _experiment(name: str, rows: Sequence[tuple[str, dict[str, str]]]) -> Experiment:
    ordered = sorted(rows, key=lambda item: item[1]["model"])
    names = tuple(row["model"] for _, row in ordered)
    for (_, row), (where, after) in pairwise(ordered):
        if row["model"] == after["model"]:
            raise ScoreError(
                f"{where}: {name} has {row['model']} twice, expected one row for a model. Remove one."
            )

    def column(title: str, maximum: float = math.inf) -> Array:
        return np.array([number(where, row, title, maximum) for where, row in ordered])

    return Experiment(
        name,
        names,
        np.array([row["type"] == "CNN" for _, row in ordered]),
        column("efficient", 1.0) == 1,
        column("num_params"),
        {name: column(title) * unit for name, (title, unit) in published_table.RESOURCE_COLUMNS.items()},
        np.stack([column(f"test_{epoch:02d}", 1.0) for epoch in range(EPOCHS)], axis=1),
    )


def number(where: str, row: dict[str, str], name: str, maximum: float = math.inf) -> float:
    """Return a finite number from 0 to `maximum`; ScoreError for anything else."""
    try:
        value = float(row[name])
    except (TypeError, ValueError):
        value = math.nan
    if not (math.isfinite(value) and 0 <= value <= maximum):
        range_ = f"in [0, {maximum:g}]" if math.isfinite(maximum) else ">= 0"
        raise ScoreError(f"{where}: {name} = {row[name]!r}, expected a finite number {range_}. Correct it.")
    return value


def content_hash(experiments: Sequence[Experiment]) -> str:
    """Hash the values that the page uses; the same for our format and the authors'."""
    digest = hashlib.sha256()
    for experiment in experiments:
        digest.update(repr((experiment.name, experiment.names)).encode())
        for values in (experiment.num_params, *experiment.resources.values(), experiment.performance):
            digest.update(values.tobytes())
    return digest.hexdigest()[:16]
