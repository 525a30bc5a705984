"""The test figures of the first row that its task is judged by, for the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

from pepr_edge.errors import RunError
from pepr_edge.records import AnswerFigures, Estimate, Figure, RankingRow
from pepr_edge.run_dir.decisions import decide_for
from pepr_edge.run_dir.reader import Results, VariantState

OF_TWO_CLASSES = ("sensitivity_at_decision", "specificity_at_decision")
# Kind of task -> its metrics.
OF_TASK = {
    "ordinal": ("quadratic_kappa", "mean_absolute_error"),
    "multilabel": ("mean_auroc", "mean_average_precision"),
}


def answer_figures(rows: Sequence[RankingRow], results: Results) -> AnswerFigures | None:
    """Return the figures of the first row; None for more than two classes, and where none is known.

    Args:
        rows: of a ranking, best first.
        results: of the run, as they are stored.
    """
    first = (rows[0].candidate, rows[0].variant) if rows and rows[0].rank is not None else None
    entry = next((entry for entry in results.entries if (entry.candidate.id, entry.variant) == first), None)
    if entry is None or entry.artifact is None:
        return None
    if results.info.data.positive_label is not None:
        return _at_decision(entry, results)
    figures = _figures(entry.artifact.performance, OF_TASK.get(results.info.data.kind, ()))
    return AnswerFigures(figures=figures) if figures else None


def _at_decision(entry: VariantState, results: Results) -> AnswerFigures | None:
    with suppress(RunError):  # the predictions are missing; the ranking stands without them
        decision, performance, _ = decide_for(results, entry)
        figures = _figures(performance, OF_TWO_CLASSES)
        if decision is not None and figures:
            return AnswerFigures(figures=figures, target=decision.target, threshold=decision.threshold)
    return None


def _figures(performance: Mapping[str, Estimate], names: Sequence[str]) -> dict[str, Figure]:
    known = {name: performance[name] for name in names if name in performance}
    return {name: Figure(value=estimate.value, ci=estimate.ci) for name, estimate in known.items()}
