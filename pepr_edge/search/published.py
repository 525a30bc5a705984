"""Published runs: a CSV table with a model in each row, its performance by epoch and its training energy."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pepr_edge.errors import ScoreError
from pepr_edge.records import MAX_VALUE
from pepr_edge.scoring.pepr import Array, normalised, resource_bounds
from pepr_edge.tables import open_table
from pepr_edge.tables.csv_rows import CsvTable, chunks, on_one_line, performances, resources

NAMES = ("model", "name", "candidate", "architecture")
PREFIXES = ("val_", "test_")  # validation first: a choice must not depend on the test split


@dataclass(frozen=True)
class Columns:
    """Positions of the columns: the curve by epoch, energy of the whole training, name and set."""

    curve: tuple[int, ...]
    energy: int
    name: int
    group: int | None
    prefix: str


@dataclass(frozen=True)
class Runs:
    """A set of published runs: names (n,), training energy (n,) and performance by epoch (n, epochs).

    left_out: number of rows of the table that lack a value.
    """

    name: str
    models: tuple[str, ...]
    energy: Array
    curves: Array
    left_out: int = 0

    @property
    def r(self) -> Array:
        """Energy normalised over the set, in [0, 1], shape (n,)."""
        return normalised(self.energy, resource_bounds(self.energy.tolist()))

    def only(self, members: list[int]) -> Runs:
        """Return a part of the set, which is normalised by itself."""
        return replace(
            self,
            models=tuple(self.models[member] for member in members),
            energy=self.energy[members],
            curves=self.curves[members],
        )


def find_columns(
    table: CsvTable, performance: str | None, energy: str, group: str | None, name: str | None
) -> Columns:
    """Find the columns of a table of published runs.

    Args:
        table: from `open_table`.
        performance: prefix of the curve's columns, followed by the epoch; None: the first of `PREFIXES` in
            the table.
        energy: column of the energy.
        group: column of the sets; None: "dataset" if the table has it.
        name: column of the models' names; None: the first of `NAMES` in the table.
    Raises:
        ScoreError: a column is missing, or the epochs of the curve are not consecutive.
    """
    prefix, curve = _curve(table, performance)
    if name is None:
        name = next((column for column in NAMES if column in table.columns), None)
    if name is None:
        expected = ", ".join(NAMES)
        raise ScoreError(
            f"{table.path}: no column of names, expected one of {expected}. Name it with --name."
        )
    if group is None and "dataset" in table.columns:
        group = "dataset"
    return Columns(
        curve=curve,
        energy=table.position(energy),
        name=table.position(name),
        group=None if group is None else table.position(group),
        prefix=prefix,
    )


def _curve(table: CsvTable, performance: str | None) -> tuple[str, tuple[int, ...]]:
    """Return the prefix of a curve's columns, and their positions in the order of the epochs."""
    prefixes = (performance,) if performance else PREFIXES
    for prefix in prefixes:
        pattern = re.compile(re.escape(prefix) + r"\d{1,6}")
        by_epoch = {int(name[len(prefix) :]): name for name in table.columns if pattern.fullmatch(name)}
        if not by_epoch:
            continue
        first = min(by_epoch)
        for epoch in range(first, first + len(by_epoch)):
            if epoch not in by_epoch:
                span = f"{by_epoch[first]} to {by_epoch[max(by_epoch)]}"
                raise ScoreError(
                    f"{table.path}: columns {span} lack epoch {epoch}, expected a column for each epoch."
                )
        return prefix, tuple(table.position(by_epoch[epoch]) for epoch in sorted(by_epoch))
    expected = " or ".join(f"{prefix}00, {prefix}01, ..." for prefix in prefixes)
    raise ScoreError(
        f"{table.path}: no columns {expected}, expected the performance after each epoch. "
        "Give the prefix of their names with --performance."
    )


def read_runs(
    path: Path, performance: str | None, energy: str, group: str | None, name: str | None
) -> tuple[list[Runs], Columns]:
    """Read the sets of a table, in the order of their first rows. The arguments are those of `find_columns`.

    Rows without an epoch or the energy, or with infinite energy, are left out and counted.

    Raises:
        ScoreError: a column is missing, a cell is no number or out of range, a model stands twice in a set,
            or a set has no complete model.
    """
    table = open_table(path)
    columns = find_columns(table, performance, energy, group, name)
    rows: dict[str, list[tuple[str, float, Array]]] = {}
    for chunk in chunks(table):
        curves = np.stack([performances(table, chunk, column) for column in columns.curve], axis=1)
        spent = resources(table, chunk, columns.energy).tolist()
        sets = chunk.column(columns.group)
        models = chunk.column(columns.name)
        for set_name, model, model_energy, curve in zip(sets, models, spent, curves, strict=True):
            rows.setdefault(set_name, []).append((model, model_energy, curve))
    return [_runs(path, set_name, set_rows) for set_name, set_rows in rows.items()], columns


def _runs(path: Path, name: str, rows: list[tuple[str, float, Array]]) -> Runs:
    """Make one set from its rows."""
    where = f"{path}: set {on_one_line(name)!r}" if name else str(path)
    complete = [row for row in rows if np.isfinite(row[1]) and np.isfinite(row[2]).all()]
    if not complete:
        raise ScoreError(
            f"{where}: no model has its energy and all epochs. Fill them in, or leave the set out."
        )
    models = tuple(row[0] for row in complete)
    if len(set(models)) < len(models):
        repeated = next(model for model, times in Counter(models).items() if times > 1)
        raise ScoreError(
            f"{where}: model {on_one_line(repeated)!r} is there twice. "
            "Name the column of the sets with --group, that of the models with --name."
        )
    energy = np.array([row[1] for row in complete])
    if energy.max() > MAX_VALUE:
        raise ScoreError(
            f"{where}: an energy of {energy.max():g}, expected at most {MAX_VALUE:g}. Correct it."
        )
    if not energy.sum() > 0:
        raise ScoreError(f"{where}: no model has an energy above 0, expected the energy of each training.")
    curves = np.stack([row[2] for row in complete])
    return Runs(name or path.stem, models, energy, curves, left_out=len(rows) - len(complete))
