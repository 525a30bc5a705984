"""Robustness of a run's ranking: ties, rank intervals, majority-class baseline, outliers, sensitivity.

The computation is in scoring.robustness and spread; this module brings them the rows of a ranking.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pepr_edge.ranking.row import is_rankable, scored_performance
from pepr_edge.ranking.skill import ConstantModel, constant_name
from pepr_edge.ranking.spread import Spread
from pepr_edge.ranking.validation import Validation
from pepr_edge.records import Baseline, DataInfo, Outlier, RankingRow, Sensitivity
from pepr_edge.scoring import robustness
from pepr_edge.scoring.findings import DEFAULT_TARGET, fit_findings
from pepr_edge.scoring.intervals import paired_errors_test
from pepr_edge.scoring.pepr import RESOURCES, Array, Models, Scoring
from pepr_edge.scoring.rule import rule_of
from pepr_edge.tasks import decide_by, task_of

TIE_LEVEL = 0.05


def with_ties(rows: Sequence[RankingRow], validation: Validation) -> list[RankingRow]:
    """Mark the ranked rows that an exact paired test on validation cannot distinguish from the first."""
    ranked = [row for row in rows if row.rank is not None]
    errors = [_errors(validation, row) for row in ranked]
    p_values = [paired_errors_test(of_row, errors[0]) for of_row in errors]
    return _updated(rows, [{"tied_with_best": p_value > TIE_LEVEL} for p_value in p_values])


def _errors(validation: Validation, row: RankingRow) -> Array:
    """Return how wrong each validation image's decision is, shape (n,); of findings at fitted thresholds."""
    logits = validation.logits(row)
    labels = validation.labels
    if validation.kind != "multilabel":
        return task_of(validation.kind).errors(logits, labels)
    decisions = decide_by(logits, rule_of(fit_findings(logits, labels, DEFAULT_TARGET), ()))
    return np.asarray((decisions != labels).sum(axis=1), dtype=np.float64)


def with_intervals(rows: Sequence[RankingRow], spread: Spread | None) -> list[RankingRow]:
    """Add rank interval and probability of being best to the ranked rows.

    A row without skill that another run might rank has the probability alone.
    """
    if spread is None:
        return list(rows)
    ranks = spread.ranks
    intervals = zip(ranks.low.tolist(), ranks.high.tolist(), ranks.p_best.tolist(), strict=True)
    others = {(row.candidate, row.variant): p_best for row, p_best in spread.others}
    rows = [
        row.replace(p_best=others.get((row.candidate, row.variant))) if row.rank is None else row
        for row in rows
    ]
    return _updated(rows, [{"rank_ci": (low, high), "p_best": p_best} for low, high, p_best in intervals])


def _updated(rows: Sequence[RankingRow], changes: Sequence[Mapping[str, object]]) -> list[RankingRow]:
    """Return the rows, the ranked ones with their changes, which are in the order of the ranks."""
    remaining = iter(changes)
    return [row if row.rank is None else row.replace(**next(remaining)) for row in rows]


def models(rows: Sequence[RankingRow], by_skill: bool = False) -> Models:
    """Return the members of the set as arrays, in the order of the rows; none if no row has a rank."""
    has_ranks = any(row.rank is not None for row in rows)
    return as_models([row for row in rows if has_ranks and is_rankable(row)], by_skill)


def as_models(members: Sequence[RankingRow], by_skill: bool = False) -> Models:
    """Return rows as arrays."""
    return Models(
        names=tuple(f"{row.candidate} {row.variant}" for row in members),
        performance=np.array([scored_performance(row, by_skill) for row in members], dtype=np.float64),
        resources={name: _resource(members, name) for name in RESOURCES},
    )


def _resource(rows: Sequence[RankingRow], name: str) -> Array:
    """Return a resource of the rows, shape (n,); NaN where not measured."""
    values = [row.resources.get(name) for row in rows]
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def baseline(
    rows: Sequence[RankingRow], constant: ConstantModel | None, data: DataInfo, by_skill: bool
) -> Baseline | None:
    """Return the majority-class baseline beside the ranked rows; None if it is not known.

    It uses no resource, so its PePR is its performance; by skill it is 0.
    """
    ranked = [row for row in rows if row.rank is not None]
    if constant is None:
        return None
    score = 0.0 if by_skill else constant.performance
    return Baseline(
        label=constant_name(constant.label, data),
        performance=constant.performance,
        outranks=sum((row.pepr["edge"] or 0.0) < score for row in ranked),
        of=len(ranked),
    )


def outliers(members: Models, scoring: Scoring) -> tuple[Outlier, ...]:
    """Return the models whose removal changes the best five; none if there are too few models."""
    if len(members.names) <= robustness.TOP + 1:
        return ()
    return robustness.outliers(members, scoring)


def sensitivity(rows: Sequence[RankingRow], members: Models, scoring: Scoring) -> tuple[Sensitivity, ...]:
    """Return between which weights and which declared watts the winner stays the winner."""
    if not members.names:
        return ()
    methods = [row.methods.get("train_energy") for row in rows if is_rankable(row)]
    declared = np.array([method == "declared" for method in methods], dtype=np.bool_)
    watts = robustness.watts_sensitivity(members, scoring, declared)
    weights = robustness.weight_sensitivity(members, scoring)
    return weights if watts is None else (*weights, watts)


def winners(members: Models, scoring: Scoring) -> dict[str, str | None]:
    """Return the winner under each normalisation."""
    return robustness.winners_by_normalisation(members, scoring) if members.names else {}
