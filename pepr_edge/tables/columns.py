"""The task of scoring a table, and the table's columns as numpy arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pepr_edge.scoring.bounds import Reference
from pepr_edge.scoring.pepr import Array, Normalise, proportions
from pepr_edge.tables.csv_rows import Chunk, CsvTable, Progress, chunks, numbers, performances, resources

# Beyond it, whole numbers are not exact.
MAX_IMAGES = 1e15
EXPECTED_IMAGES = f"a number of images >= 1, at most {MAX_IMAGES:g}."

Index = NDArray[np.int64]


@dataclass(frozen=True)
class ScoreTask:
    """What to score, and how. Columns are positions in the table; mappings are by the resource's name.

    images: number of images that every performance was measured on; `images_column` has one for each model.
    baselines: performance of the majority-class baseline by group; the key None is for all other groups.
    floor: models with a lower performance have no score; None: no such limit.
    only_skilled: models whose interval contains the baseline have no score; needs baselines and images.
    by_skill: score (P - P0) / (1 - P0) in place of the performance P, with the baseline P0.
    """

    table: CsvTable
    performance: int
    resources: Mapping[str, int]
    weights: Mapping[str, float]
    group: int | None = None
    name: int | None = None
    methods: Mapping[str, int] = field(default_factory=dict)
    normalise: Normalise = "minmax"
    reference: Reference | None = None
    alpha: float = 1.0
    top: int = 5
    images: float | None = None
    images_column: int | None = None
    baselines: Mapping[str | None, float] = field(default_factory=dict)
    floor: float | None = None
    only_skilled: bool = False
    by_skill: bool = False
    out: Path | None = None

    @property
    def has_intervals(self) -> bool:
        """True if ranks get intervals."""
        return self.images is not None or self.images_column is not None

    @property
    def shares(self) -> list[float]:
        """Share of each resource in the combined score, in the order of `resources`; 0 without a weight."""
        share = proportions(self.weights)
        return [share.get(name, 0.0) for name in self.resources]


@dataclass(frozen=True)
class TextColumn:
    """A column of texts.

    texts: the distinct texts, in the order in which they appear.
    ids: for each row, the index of its text in `texts`; shape (n,).
    """

    texts: tuple[str, ...]
    ids: Index


@dataclass(frozen=True)
class Columns:
    """A table of n models and m resources as columns.

    group: the group of each model.
    names: the name of each model.
    performance: shape (n,), NaN where not measured.
    resources: shape (m, n), NaN where not measured, infinite for a training that never ended.
    methods: by the resource's name, how each of its values was obtained.
    images: shape (n,), number of images that each performance was measured on; NaN where not known.
    """

    group: TextColumn
    names: Sequence[str]
    performance: Array
    resources: Array
    methods: Mapping[str, TextColumn]
    images: Array

    def __len__(self) -> int:
        return len(self.performance)


class _TextReader:
    """Collects a column of texts chunk by chunk."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}
        self._chunks: list[Index] = []

    def add(self, texts: Sequence[str]) -> None:
        """Add the texts of a chunk."""
        ids = (self._ids.setdefault(text, len(self._ids)) for text in texts)
        self._chunks.append(np.fromiter(ids, np.int64, len(texts)))

    def column(self) -> TextColumn:
        """Return the whole column."""
        return TextColumn(tuple(self._ids), np.concatenate(self._chunks))


def read_columns(task: ScoreTask, progress: Progress, chunk_rows: int) -> Columns:
    """Read the columns of a table from which its scores are computed.

    Args:
        task: says which columns these are.
        progress: called with the bytes read so far and in total.
        chunk_rows: number of rows that are parsed at a time.
    Raises:
        ScoreError: a cell is no number or out of range, or the file is not a whole CSV table.
    """
    table = task.table
    group = _TextReader()
    names: list[str] = []
    performance: list[Array] = []
    resource: list[Array] = []
    methods = {name: _TextReader() for name in task.methods}
    images: list[Array] = []
    for chunk in chunks(table, progress, chunk_rows):
        group.add(chunk.column(task.group))
        names += _names(task, chunk)
        performance.append(performances(table, chunk, task.performance))
        resource.append(np.stack([resources(table, chunk, column) for column in task.resources.values()]))
        for name, column in task.methods.items():
            methods[name].add([cell.strip() for cell in chunk.column(column)])
        images.append(_images(task, chunk))
    return Columns(
        group=group.column(),
        names=names,
        performance=np.concatenate(performance),
        resources=np.concatenate(resource, axis=1),
        methods={name: reader.column() for name, reader in methods.items()},
        images=np.concatenate(images),
    )


def _names(task: ScoreTask, chunk: Chunk) -> list[str]:
    """Return the models' names, or "row N" without a name."""
    cells = chunk.column(task.name)
    return [cell or f"row {row}" for row, cell in enumerate(cells, start=chunk.start + 1)]


def _images(task: ScoreTask, chunk: Chunk) -> Array:
    column = task.images_column
    if column is not None:
        images = numbers(task.table, chunk, column, EXPECTED_IMAGES)
        for row in np.flatnonzero(images > MAX_IMAGES).tolist():
            raise task.table.fault(chunk.start + row, column, chunk.cells[column][row], EXPECTED_IMAGES)
        return images
    return np.full(len(chunk), np.nan if task.images is None else task.images)
