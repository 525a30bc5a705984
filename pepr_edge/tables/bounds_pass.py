"""A table in numbers, and the first pass over it: Task -> Rows -> Survey, the groups with their bounds; and how a chunk is scored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pepr_edge.errors import ScoreError
from pepr_edge.scoring.bounds import Reference
from pepr_edge.scoring.pepr import Array, Normalise, only_method, pepr, proportions, scaled, weighted
from pepr_edge.tables.csv_rows import Chunk, CsvTable, Progress, chunks, numbers
from pepr_edge.tables.groups import Extremes, GroupIds, Index, Methods, Views, longer, views

EXPECTED_RESOURCE = "a number >= 0. Leave the cell empty where it was not measured."
EXPECTED_PERFORMANCE = "a number in [0, 1]. Leave the cell empty where it was not measured."
EXPECTED_PERCENT = "a number in [0, 1]. If it is in percent, divide the column by 100."
EXPECTED_IMAGES = "a number of images >= 1."


@dataclass(frozen=True)
class ScoreTask:
    """What to score, and how. Columns are positions in the table; resources, weights and methods go by the resource's name.

    images: how many each performance rests on, or the column that says so; baselines: performance of the commonest class by group,
    None for every group that is not named.
    """

    table: CsvTable
    performance: int
    resources: Mapping[str, int]
    weights: Mapping[str, float]
    group: int | None = None
    name: int | None = None
    methods: Mapping[str, int] = dataclass_field(default_factory=dict)
    normalise: Normalise = "minmax"
    reference: Reference | None = None
    alpha: float = 1.0
    top: int = 5
    images: float | None = None
    images_column: int | None = None
    baselines: Mapping[str | None, float] = dataclass_field(default_factory=dict)
    out: Path | None = None

    @property
    def spreads(self) -> bool:
        """Whether ranks get intervals."""
        return self.images is not None or self.images_column is not None

    @property
    def shares(self) -> list[float]:
        """Of each resource, in the order of `resources`; 0 where it has no weight."""
        found = proportions(self.weights)
        return [found.get(name, 0.0) for name in self.resources]


@dataclass(frozen=True)
class Rows:
    """A chunk in numbers: its place, groups (n,), performance (n,), resources (m, n) as read, and those that count, else NaN."""

    chunk: Chunk
    codes: Index
    performance: Array
    raw: Array
    known: Array

    @property
    def rows(self) -> Index:
        """Their numbers in the table."""
        return np.arange(self.chunk.start, self.chunk.start + len(self.chunk))


@dataclass(frozen=True)
class BoundsPass:
    """What the first pass found: the groups' names, their rows (g,), the method of each resource in each, and the bounds."""

    names: tuple[str | None, ...]
    models: Index
    methods: Mapping[str, tuple[str, ...]]
    views: Views


@dataclass(frozen=True)
class Scored:
    """Scores of a chunk: r and pepr (m, n) by resource, combined r and pepr (n,). NaN where there is none."""

    r: Array
    pepr: Array
    combined_r: Array
    combined: Array


def read(task: ScoreTask, codes: GroupIds, progress: Progress, chunk_rows: int) -> Iterator[Rows]:
    """The table in numbers.

    Args:
        task: which columns.
        codes: numbers the groups; new ones are added to it.
        progress: is told how many bytes were read, of how many.
        chunk_rows: rows in a chunk.
    Raises:
        ScoreError: a cell that is no number or out of its range, or a torn table.
    """
    for chunk in chunks(task.table, progress, chunk_rows):
        performance = numbers(task.table, chunk, task.performance, EXPECTED_PERFORMANCE)
        refuse(task.table, chunk, task.performance, performance > 1, EXPECTED_PERCENT)
        refuse(task.table, chunk, task.performance, performance < 0, EXPECTED_PERFORMANCE)
        raw = np.stack(
            [numbers(task.table, chunk, column, EXPECTED_RESOURCE) for column in task.resources.values()]
        )
        for values, column in zip(raw, task.resources.values(), strict=True):
            refuse(task.table, chunk, column, values < 0, EXPECTED_RESOURCE)
        group = codes.of(chunk.cells[task.group] if task.group is not None else [""] * len(chunk))
        yield Rows(
            chunk, group, performance, raw, np.where(np.isfinite(raw) & ~np.isnan(performance), raw, np.nan)
        )


def refuse(table: CsvTable, chunk: Chunk, column: int, wrong: NDArray[np.bool_], expected: str) -> None:
    """Stop at the first row, if any, whose cell in a column is wrong, (n,)."""
    if wrong.any():
        place = int(np.argmax(wrong))
        raise table.fault(chunk.start + place, column, chunk.cells[column][place], expected)


def first_pass(task: ScoreTask, progress: Progress, chunk_rows: int) -> BoundsPass:
    """Go through the table once, for the bounds of its groups.

    Raises:
        ScoreError: what `read` finds, methods that differ within a group, or a reference without bounds for one.
    """
    codes = GroupIds()
    models: Index = np.zeros(0, np.int64)
    extremes = [Extremes() for _ in task.resources]
    methods = {name: Methods() for name in task.methods}
    for rows in read(task, codes, progress, chunk_rows):
        models = longer(models, len(codes), 0)
        np.add.at(models, rows.codes, 1)
        for name, values, extreme in zip(task.resources, rows.known, extremes, strict=True):
            known = ~np.isnan(values)
            extreme.add(rows.codes[known], values[known], rows.rows[known], len(codes))
            if name in methods:
                cells = [cell.strip() for cell in rows.chunk.cells[task.methods[name]]]
                if clash := methods[name].add(rows.codes, cells, known, len(codes)):
                    _refuse_methods(task, name, list(codes)[clash[0]], clash[1])
    models = models[: len(codes)]
    names: tuple[str | None, ...] = tuple(codes) if task.group is not None else (None,)
    found = {name: tuple(method.of(group) for group in range(len(names))) for name, method in methods.items()}
    if task.normalise == "reference":
        return BoundsPass(names, models, found, _reference_views(task, names, found))
    counted = [share > 0 for share in task.shares]
    return BoundsPass(
        names, models, found, views(extremes, counted, models, task.top, from_zero=task.normalise == "max")
    )


def _refuse_methods(task: ScoreTask, resource: str, group: str, methods: set[str]) -> None:
    where = f" of group {group!r}" if task.group is not None else ""
    try:
        only_method(methods)
    except ScoreError as fault:
        raise ScoreError(f"{task.table.path}: {resource}{where} was {fault}") from None


def _reference_views(
    task: ScoreTask, names: Sequence[str | None], methods: Mapping[str, Sequence[str]]
) -> Views:
    """Bounds of the reference for each group."""
    assert task.reference is not None
    found = [task.reference.of(name, task.resources) for name in names]
    for resource, of_groups in methods.items():
        for name, bound, method in zip(names, found, of_groups, strict=True):
            if bound[resource].method and method and bound[resource].method != method:
                _refuse_methods(
                    task, resource, str(name), {method, f"{bound[resource].method} in {task.reference.path}"}
                )
    lo = np.array([[bound[resource].lo for bound in found] for resource in task.resources])
    hi = np.array([[bound[resource].hi for bound in found] for resource in task.resources])
    count = len(names)
    return Views(np.arange(count), np.full(count, -2), lo, hi, np.zeros((0, count), np.int64))


def score_rows(task: ScoreTask, rows: Rows, lo: Array, hi: Array) -> Scored:
    """Score a chunk; lo and hi are of shape (m, n)."""
    r = scaled(rows.known, lo, hi)
    each = np.stack([pepr(rows.performance, one, task.alpha) for one in r])
    combined_r = weighted(task.shares, list(r))
    return Scored(
        r, each, combined_r, each[0] if len(each) == 1 else pepr(rows.performance, combined_r, task.alpha)
    )
