"""Score a table, and write it again with its scores."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import BinaryIO

import numpy as np

from pepr_edge.errors import ScoreError
from pepr_edge.run_dir.store import atomic_writer
from pepr_edge.scoring.pepr import pepr
from pepr_edge.tables.columns import Columns, ScoreTask, read_columns
from pepr_edge.tables.csv_rows import CHUNK_ROWS, Progress, chunks, lines, no_progress, texts
from pepr_edge.tables.group_result import Group
from pepr_edge.tables.groups import NO_SKILL, RowScores, score_groups

BASELINE = "majority baseline"


def score_table(
    task: ScoreTask, progress: Progress = no_progress, chunk_rows: int = CHUNK_ROWS
) -> tuple[Group, ...]:
    """Score a table, and write it with its scores if the task asks for it.

    Args:
        task: what to score.
        progress: called with the bytes handled so far and in total; a table that is written counts twice.
        chunk_rows: rows that are parsed or written at a time.
    Raises:
        ScoreError: a cell is no number or out of range, the file is not a whole CSV table, methods differ
            within a group, ...
    """
    _check(task)
    readings = 1 if task.out is None else 2
    with _gc_disabled():
        columns = read_columns(task, lambda done, total: progress(done, readings * total), chunk_rows)
        groups, scores = score_groups(task, columns)
        if task.out is not None:
            with atomic_writer(task.out) as out:
                _write(out, task, columns, scores, progress, chunk_rows)
                _write_baselines(out, task, groups)
                _check_unchanged(task)
        _check_unchanged(task)
    return groups


def _check(task: ScoreTask) -> None:
    """Refuse a faulty task before a long table is read."""
    pepr(0.0, 0.0, task.alpha)
    for performance in task.baselines.values():
        if not 0 <= performance <= 1:
            advice = "If it is in percent, divide it by 100."
            raise ScoreError(f"--baseline {performance}, expected a performance in [0, 1]. {advice}")
    if task.reference is not None and (task.group is None or task.reference.unnamed):
        task.reference.bounds_of(None, task.resources)


def _check_unchanged(task: ScoreTask) -> None:
    if not task.table.unchanged():
        raise task.table.changed()


@contextmanager
def _gc_disabled() -> Iterator[None]:
    """Disable garbage collection: parsing makes millions of small lists, none of them in a cycle.

    Searching them for cycles takes a quarter of the time.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def added_columns(resources: Mapping[str, int]) -> list[str]:
    """Return the columns that `--out` adds, in their order."""
    added = []
    for name in resources:
        added += [f"r_{name}", f"pepr_{name}"]
    if len(resources) > 1:
        added.append("pepr_combined")
    return [*added, "pepr_reason"]


def _write(
    out: BinaryIO, task: ScoreTask, columns: Columns, scores: RowScores, progress: Progress, chunk_rows: int
) -> None:
    """Write the table with the added columns."""
    header = [*task.table.columns, *added_columns(task.resources)]
    out.write(lines(task.table, [[name] for name in header]).encode())
    added = []
    for r, score in zip(scores.r, scores.pepr, strict=True):
        added += [r, score]
    if len(task.resources) > 1:
        added.append(scores.combined)
    for chunk in chunks(task.table, lambda done, total: progress(total + done, 2 * total), chunk_rows):
        rows = slice(chunk.start, chunk.start + len(chunk))
        if rows.stop > len(columns):
            raise task.table.changed()
        figures = [texts(column[rows]) for column in added]
        reasons = _reasons(task, columns, scores, rows)
        out.write(lines(task.table, chunk.cells, figures, [reasons]).encode())


def _reasons(task: ScoreTask, columns: Columns, scores: RowScores, rows: slice) -> list[str]:
    """Return why each row lacks a score, (n,); empty if it lacks none."""
    performance = columns.performance[rows]
    resources = columns.resources[:, rows]
    reasons = [""] * len(performance)
    no_skill = scores.no_skill[rows]
    lacking = np.isnan(performance) | no_skill | ~np.isfinite(resources).all(axis=0)
    for row in np.flatnonzero(lacking).tolist():
        parts = ["performance not measured"] if np.isnan(performance[row]) else []
        if no_skill[row]:
            parts.append(NO_SKILL)
        for name, value in zip(task.resources, resources[:, row].tolist(), strict=True):
            if np.isnan(value):
                parts.append(f"{name} not measured")
            elif np.isinf(value):
                parts.append(f"{name} infinite")
        reasons[row] = "; ".join(parts)
    return reasons


def _write_baselines(out: BinaryIO, task: ScoreTask, groups: tuple[Group, ...]) -> None:
    """Write a row for each group that has a baseline."""
    name_column = _name_column(task)
    for group in groups:
        if group.baseline is None:
            continue
        performance = repr(group.baseline.performance)
        cells = [""] * len(task.table.columns)
        if name_column is not None:
            cells[name_column] = BASELINE
        if task.group is not None:
            cells[task.group] = group.name or ""
        cells[task.performance] = performance
        score = repr(group.baseline.score)
        scores = ["0.0", score] * len(task.resources)
        if len(task.resources) > 1:
            scores.append(score)
        out.write(lines(task.table, [[cell] for cell in (*cells, *scores, "")]).encode())


def _name_column(task: ScoreTask) -> int | None:
    """Return the column of the names, else the first column that means nothing else."""
    if task.name is not None:
        return task.name
    used = {task.group, task.performance, task.images_column}
    used |= {*task.resources.values(), *task.methods.values()}
    return next((column for column in range(len(task.table.columns)) if column not in used), None)
