"""Contradictions among the figures of a report of `evaluate`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pepr_edge.records import MIN_CELL, EvaluationReport, EvaluationResult
from pepr_edge.untrusted.shown import shown

# Kappas can be below 0. A mean absolute error of grades is at most their number less 1.
BELOW_0 = "kappa"
ERROR_OF_GRADES = "mean_absolute_error"


def figures_fault(report: EvaluationReport, labels: Sequence[str]) -> str:
    """Return the first contradiction among the figures of a report; empty if there is none.

    Args:
        report: of a site.
        labels: of the run whose models were evaluated.
    """
    known: set[str] = set()
    for result in report.results:
        is_repeated = result.artifact_sha256 in known
        known.add(result.artifact_sha256)
        fault = "in the report twice" if is_repeated else next(_faults(result, labels), "")
        if fault:
            return f"{shown(result.bundle)}: {fault}."
    return ""


def _faults(result: EvaluationResult, labels: Sequence[str]) -> Iterator[str]:
    yield from _faults_of_metrics(result)
    if result.labels != tuple(labels):
        yield "its labels are not those of the run"
    elif not all(_adds_up(table, result.n) for table in _tables(result)):
        yield f"the confusion does not fit the labels and {result.n:,} images"
    if result.referred is not None and (result.referred.n or 0) > result.n:
        yield f"{result.referred.n:,} referred images, expected at most {result.n:,}"
    for column in result.subgroups:
        if any(group.n > result.n for group in column.groups):
            yield f"a subgroup of more images than all {result.n:,}"


def _faults_of_metrics(result: EvaluationResult) -> Iterator[str]:
    for name, figure in result.metrics.items():
        if figure is None:
            continue
        low = -1 if BELOW_0 in name else 0
        high = len(result.labels) - 1 if name == ERROR_OF_GRADES else 1
        if not low <= figure.value <= high:
            yield f"{shown(name)} = {figure.value:g}, expected {low} to {high}"
        if not figure.ci[0] <= figure.value <= figure.ci[1]:
            yield f"{shown(name)} is not within its interval"


def _tables(result: EvaluationResult) -> Iterator[Sequence[Sequence[int | None]]]:
    """Yield each table of the confusion, empty if it has another shape than the labels say."""
    tables = result.confusion_tables()
    is_multilabel = result.task == "multilabel"
    wanted = len(result.labels) if is_multilabel else 1
    size = 2 if is_multilabel else len(result.labels)
    if len(tables) != wanted:
        yield ()
    for _, table in tables:
        yield table if len(table) == size and all(len(row) == size for row in table) else ()


def _adds_up(table: Sequence[Sequence[int | None]], n: int) -> bool:
    """True if a table is of so many images; a hidden cell has fewer than `MIN_CELL`."""
    cells = [cell for row in table for cell in row]
    shown_images = sum(cell for cell in cells if cell is not None)
    return bool(cells) and shown_images <= n <= shown_images + (MIN_CELL - 1) * cells.count(None)
