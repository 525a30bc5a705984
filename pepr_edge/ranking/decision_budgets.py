"""Budgets for the figures of a file's decisions: the lowest sensitivity and specificity on validation."""

from __future__ import annotations

from collections.abc import Mapping

from pepr_edge.records import RankingRow
from pepr_edge.run_dir.decisions import decide_for
from pepr_edge.run_dir.reader import Results, VariantState
from pepr_edge.text.units import metric, score


def decision_limits(results: Results) -> dict[str, float]:
    """Return the lowest value of each figure at the decision that the recipe sets."""
    budgets = results.recipe.budgets
    limits = {
        "sensitivity_at_decision": budgets.min_sensitivity,
        "specificity_at_decision": budgets.min_specificity,
    }
    return {name: limit for name, limit in limits.items() if limit is not None}


def with_decision_budgets(
    row: RankingRow, entry: VariantState, results: Results, limits: Mapping[str, float]
) -> RankingRow:
    """Return a measured row, over budget if a figure of its decisions is below its limit.

    Args:
        row: of the entry.
        entry: one candidate in one variant.
        results: of the run, as they are stored.
        limits: see `decision_limits`.
    Raises:
        RunError: its predictions cannot be read.
    """
    if not limits or row.status not in ("ok", "over_budget"):
        return row
    figures = decide_for(results, entry).performance
    reasons = [row.reason] if row.reason else []
    before = len(reasons)
    for name, limit in limits.items():
        figure = figures.get(f"val_{name}")
        if figure is None:
            reasons.append(f"{metric(name)} could not be measured, budget {limit:g}")
        elif figure.value < limit:
            reasons.append(f"{metric(name)} {score(figure.value)} on validation, budget {limit:g}")
    if len(reasons) == before:
        return row
    return row.replace(status="over_budget", reason="; ".join(reasons))
