"""Published runs: a table with the performance after each epoch and the energy of the whole training, one row a model, in sets."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pepr_edge.errors import ScoreError
from pepr_edge.scoring.pepr import Array, bounds, normalised
from pepr_edge.tables import open_table
from pepr_edge.tables.bounds_pass import EXPECTED_PERCENT, EXPECTED_PERFORMANCE, EXPECTED_RESOURCE, refuse
from pepr_edge.tables.csv_rows import CsvTable, chunks, numbers, on_one_line

NAMES = ("model", "name", "candidate", "architecture")
# What choices should rest on comes first.
PREFIXES = ("val_", "test_")


@dataclass(frozen=True)
class Columns:
    """Where the table holds what: columns of the curve in order, energy of the whole training, set and name."""

    curve: tuple[int, ...]
    energy: int
    name: int
    group: int | None
    prefix: str


@dataclass(frozen=True)
class Runs:
    """A set of published runs: names (n,), energy of the whole training (n,), performance after each epoch (n, epochs).

    left_out: how many rows of the table lack something.
    """

    name: str
    models: tuple[str, ...]
    energy: Array
    curves: Array
    left_out: int = 0

    @property
    def r(self) -> Array:
        """Energy normalised over the set, in [0, 1], shape (n,)."""
        return normalised(self.energy, bounds(self.energy.tolist()))

    def only(self, members: list[int]) -> Runs:
        """A part of the set, which is normalised by itself."""
        return replace(
            self,
            models=tuple(self.models[at] for at in members),
            energy=self.energy[members],
            curves=self.curves[members],
        )


def find_columns(
    table: CsvTable, performance: str | None, energy: str, group: str | None, name: str | None
) -> Columns:
    """Which columns hold what.

    Args:
        table: of `open_table`.
        performance: how the names of the curve's columns begin; a number follows. Not given: what there is of `PREFIXES`.
        energy: name of the column.
        group: that of the sets; not given: "dataset", where there is one.
        name: that of the models; not given: what there is of `NAMES`.
    Raises:
        ScoreError: a column is missing, or the numbers of the curve's are not consecutive.
    """
    prefix, curve = _curve(table, performance)
    names = [name] if name else [one for one in NAMES if one in table.columns]
    if not names:
        raise ScoreError(
            f"{table.path}: no column of names, expected one of {', '.join(NAMES)}. Name it with --name."
        )
    sets = group or ("dataset" if "dataset" in table.columns else None)
    at = table.position
    return Columns(curve, at(energy), at(names[0]), None if sets is None else at(sets), prefix)


def _curve(table: CsvTable, performance: str | None) -> tuple[str, tuple[int, ...]]:
    """The beginning of the names of a curve's columns, and their places in the order of their numbers."""
    for prefix in (performance,) if performance else PREFIXES:
        found = {
            int(column[len(prefix) :]): column
            for column in table.columns
            if re.fullmatch(re.escape(prefix) + r"\d{1,6}", column)
        }
        if not found:
            continue
        first, last = min(found), max(found)
        if missing := [
            number for number in range(first, min(last, first + len(found)) + 1) if number not in found
        ]:
            raise ScoreError(
                f"{table.path}: columns {found[first]} to {found[last]} lack epoch {missing[0]}, expected one for each epoch."
            )
        return prefix, tuple(table.position(found[number]) for number in sorted(found))
    wanted = " or ".join(
        f"{prefix}00, {prefix}01, ..." for prefix in ((performance,) if performance else PREFIXES)
    )
    hint = "Name how they begin with --performance."
    raise ScoreError(f"{table.path}: no columns {wanted}, expected the performance after each epoch. {hint}")


def read_runs(
    path: Path, performance: str | None, energy: str, group: str | None, name: str | None
) -> tuple[list[Runs], Columns]:
    """The sets of a table, in the order of their first rows; see `find_columns`.

    Rows that lack an epoch or the energy, or whose energy is infinite, are left out and counted.

    Raises:
        ScoreError: no such columns, a cell that is no number or out of its range, a model twice in a set, or a set of no model.
    """
    table = open_table(path)
    columns = find_columns(table, performance, energy, group, name)
    rows: dict[str, list[tuple[str, float, Array]]] = {}
    for chunk in chunks(table, lambda done, total: None):
        curve = np.stack(
            [numbers(table, chunk, column, EXPECTED_PERFORMANCE) for column in columns.curve], axis=1
        )
        for place, column in enumerate(columns.curve):
            refuse(table, chunk, column, curve[:, place] > 1, EXPECTED_PERCENT)
            refuse(table, chunk, column, curve[:, place] < 0, EXPECTED_PERFORMANCE)
        spent = numbers(table, chunk, columns.energy, EXPECTED_RESOURCE)
        refuse(table, chunk, columns.energy, spent < 0, EXPECTED_RESOURCE)
        sets = chunk.cells[columns.group] if columns.group is not None else [""] * len(chunk)
        for of, model, joules, values in zip(
            sets, chunk.cells[columns.name], spent.tolist(), curve, strict=True
        ):
            rows.setdefault(of, []).append((model, joules, values))
    return [_runs(path, of, found) for of, found in rows.items()], columns


def _runs(path: Path, name: str, rows: list[tuple[str, float, Array]]) -> Runs:
    """One set of a table."""
    where = f"{path}: set {on_one_line(name)!r}" if name else str(path)
    whole = [row for row in rows if np.isfinite(row[1]) and np.isfinite(row[2]).all()]
    if not whole:
        raise ScoreError(
            f"{where}: no model has its energy and all epochs. Fill them in, or leave the set out."
        )
    models = tuple(row[0] for row in whole)
    if len(set(models)) < len(models):
        twice = next(model for model in models if models.count(model) > 1)
        raise ScoreError(
            f"{where}: model {on_one_line(twice)!r} is there twice. Name the sets with --group, the models with --name."
        )
    energy = np.array([row[1] for row in whole])
    if not energy.sum() > 0:
        raise ScoreError(f"{where}: no model has an energy above 0, expected what each training took.")
    return Runs(
        name or path.stem, models, energy, np.stack([row[2] for row in whole]), len(rows) - len(whole)
    )
