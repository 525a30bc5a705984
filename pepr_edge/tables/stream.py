"""Both passes over a table, and the file of the result."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import BinaryIO

import numpy as np

from pepr_edge.errors import ScoreError
from pepr_edge.run_dir.store import written
from pepr_edge.scoring.pepr import pepr
from pepr_edge.tables.bounds_pass import Rows, Scored, ScoreTask, first_pass, read, score_rows
from pepr_edge.tables.csv_rows import CHUNK_ROWS, Progress, lines, texts
from pepr_edge.tables.score_pass import Group, ScorePass

BASELINE = "majority baseline"


def score_table(
    task: ScoreTask, progress: Progress = lambda done, total: None, chunk_rows: int = CHUNK_ROWS
) -> tuple[Group, ...]:
    """Score a table, and write it with its scores where the task says so.

    Args:
        task: what to score.
        progress: is told how far it is, in bytes of both passes together.
        chunk_rows: rows that are held at a time.
    Raises:
        ScoreError: a cell that is no number or out of its range, a torn table, methods that differ within a group, ...
    """
    pepr(0.0, 0.0, task.alpha)  # refuses a bad alpha before a long table is read
    for performance in task.baselines.values():
        if not 0 <= performance <= 1:
            raise ScoreError(
                f"--baseline {performance}, expected a performance in [0, 1]. If it is in percent, divide it by 100."
            )
    if task.reference is not None and (task.group is None or task.reference.unnamed):
        task.reference.of(
            None, task.resources
        )  # refuses one that lacks a resource before a long table is read
    with _uncollected():
        bounds_pass = first_pass(task, lambda done, total: progress(done, 2 * total), chunk_rows)
        score_pass = ScorePass(task, bounds_pass)
        with written(task.out) if task.out else nullcontext() as out:
            if out:
                out.write(
                    lines(
                        task.table, [[name] for name in (*task.table.columns, *added_columns(task.resources))]
                    ).encode()
                )
            for rows in read(
                task, score_pass.codes, lambda done, total: progress(total + done, 2 * total), chunk_rows
            ):
                if len(score_pass.codes) > len(bounds_pass.names):
                    raise task.table.changed()
                scored = score_rows(
                    task, rows, bounds_pass.views.lo[:, rows.codes], bounds_pass.views.hi[:, rows.codes]
                )
                score_pass.add(rows, scored)
                if out:
                    _write(out, task, rows, scored)
            if not task.table.unchanged():
                raise task.table.changed()
            if out:
                _write_baselines(out, task, score_pass)
        return score_pass.groups()


@contextmanager
def _uncollected() -> Iterator[None]:
    """Millions of small lists without a cycle among them: looking for cycles takes a quarter of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def added_columns(resources: Mapping[str, int]) -> list[str]:
    """The columns that `--out` adds, in their order."""
    combined = ["pepr_combined"] if len(resources) > 1 else []
    return [f"{what}_{name}" for name in resources for what in ("r", "pepr")] + combined + ["pepr_reason"]


def _write(out: BinaryIO, task: ScoreTask, rows: Rows, scored: Scored) -> None:
    """A chunk with its scores."""
    added = [column for pair in zip(scored.r, scored.pepr, strict=True) for column in pair]
    added += [scored.combined] if len(task.resources) > 1 else []
    out.write(
        lines(
            task.table, rows.chunk.cells, [texts(column) for column in added], [_reasons(task, rows)]
        ).encode()
    )


def _reasons(task: ScoreTask, rows: Rows) -> list[str]:
    """Why a row lacks a score, (n,); empty where it lacks none."""
    found = [""] * len(rows.chunk)
    for place in np.flatnonzero(np.isnan(rows.known).any(axis=0)).tolist():
        why = ["performance not measured"] if np.isnan(rows.performance[place]) else []
        for name, value in zip(task.resources, rows.raw[:, place].tolist(), strict=True):
            if not np.isfinite(value):
                why.append(f"{name} {'not measured' if np.isnan(value) else 'infinite'}")
        found[place] = "; ".join(why)
    return found


def _write_baselines(out: BinaryIO, task: ScoreTask, score_pass: ScorePass) -> None:
    """A row for each group that has a baseline."""
    used = {
        task.group,
        task.performance,
        task.images_column,
        *task.resources.values(),
        *task.methods.values(),
    }
    name = (
        task.name
        if task.name is not None
        else next((at for at in range(len(task.table.columns)) if at not in used), None)
    )
    for group, performance in zip(score_pass.bounds_pass.names, score_pass.baselines.tolist(), strict=True):
        if np.isnan(performance):
            continue
        cells = [""] * len(task.table.columns)
        for at, text in ((name, BASELINE), (task.group, group or ""), (task.performance, repr(performance))):
            if at is not None:
                cells[at] = text
        scores = ["0.0", repr(performance)] * len(task.resources) + [repr(performance)] * (
            len(task.resources) > 1
        )
        out.write(lines(task.table, [[cell] for cell in (*cells, *scores, "")]).encode())
