"""Score each group of a table: its bounds, its best models, what their order depends on, and warnings."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pepr_edge.errors import ScoreError
from pepr_edge.records import Bound, Outlier
from pepr_edge.scoring import robustness
from pepr_edge.scoring.intervals import wilson_intervals
from pepr_edge.scoring.pepr import (
    Array,
    Models,
    Scoring,
    normalised,
    only_method,
    pepr,
    set_id,
    skill,
    weighted,
)
from pepr_edge.tables.columns import EXPECTED_IMAGES, Columns, Index, ScoreTask
from pepr_edge.tables.csv_rows import SHOWN_COLUMNS, on_one_line
from pepr_edge.tables.group_result import Dependence, Group, MajorityBaseline, Place

# Larger groups get no rank intervals: 1000 draws of all models would take longer than everything else.
INTERVAL_MODELS = 2000
# Larger tables get no sensitivity: it scores a group a hundred times per resource. With three resources that
# takes 15 ms for few models and 100 ms for 2000.
SENSITIVITY_ROWS = 20_000
SENSITIVITY_GROUPS = 200
SENSITIVITY_MODELS = 2000
NO_SKILL = "performance below the floor, or not shown to beat the baseline"


@dataclass(frozen=True)
class RowScores:
    """Scores of a table's rows: r and pepr (m, n), combined_r and combined (n,); NaN if there is no score.

    no_skill (n,): True for a model without a score because of its performance.
    """

    r: Array
    pepr: Array
    combined_r: Array
    combined: Array
    no_skill: NDArray[np.bool_]


@dataclass(frozen=True)
class _Group:
    """One group while it is scored: its rows in the table (k,), and its models named by their row."""

    name: str | None
    rows: Index
    models: Models
    scoring: Scoring
    bounds: Mapping[str, Bound | None]


def score_groups(task: ScoreTask, columns: Columns) -> tuple[tuple[Group, ...], RowScores]:
    """Score all groups of a table.

    Returns:
        The groups in the order of their first rows, and the scores of the rows.
    Raises:
        ScoreError: methods that differ within a group, a group without reference bounds, a baseline of no
            group, or a number of images below 1.
    """
    names: tuple[str | None, ...] = columns.group.texts if task.group is not None else (None,)
    baselines = _baselines(task, names)
    shape = columns.resources.shape
    scores = RowScores(
        r=np.empty(shape),
        pepr=np.empty(shape),
        combined_r=np.empty(shape[1]),
        combined=np.empty(shape[1]),
        no_skill=np.zeros(shape[1], np.bool_),
    )
    by_group = np.argsort(columns.group.ids, kind="stable")
    ends = np.cumsum(np.bincount(columns.group.ids))
    is_small = len(columns) <= SENSITIVITY_ROWS and len(names) <= SENSITIVITY_GROUPS
    groups = []
    for name, rows in zip(names, np.split(by_group, ends[:-1]), strict=True):
        baseline = baselines.get(name)
        scores.no_skill[rows] = _without_skill(task, columns, rows, baseline)
        group = _gather(task, columns, name, rows, _scored(task, columns, rows, baseline, scores.no_skill))
        _score(task, group, scores)
        groups.append(_result(task, columns, group, scores, baseline, is_small))
    return tuple(groups), scores


def _baselines(task: ScoreTask, names: Sequence[str | None]) -> dict[str | None, float]:
    """Return the baseline's performance by group."""
    for name in task.baselines:
        if name is not None and name not in names:
            known = ", ".join(on_one_line(other or "") for other in names[:SHOWN_COLUMNS])
            raise ScoreError(
                f"--baseline {name}: no such group in {task.table.path}, expected one of {known}."
            )
    default = task.baselines.get(None)
    found = {name: task.baselines.get(name, default) for name in names}
    return {name: performance for name, performance in found.items() if performance is not None}


def _without_skill(
    task: ScoreTask, columns: Columns, rows: Index, baseline: float | None
) -> NDArray[np.bool_]:
    """True for each model that has no score because of its performance, shape (k,)."""
    fails = np.zeros(len(rows), np.bool_)
    if task.floor is not None:
        fails |= columns.performance[rows] < task.floor
    if task.only_skilled:
        fails |= _not_above_baseline(columns, rows, baseline)
    return fails


def _not_above_baseline(columns: Columns, rows: Index, baseline: float | None) -> NDArray[np.bool_]:
    """True for each model whose 95 % interval is not wholly above the baseline, shape (k,)."""
    if baseline is None:
        return np.zeros(len(rows), np.bool_)
    performance = columns.performance[rows]
    images = columns.images[rows]
    known = np.isfinite(images) & (images >= 1) & ~np.isnan(performance)
    low, _ = wilson_intervals(np.where(known, performance, 1.0), np.where(known, images, 1.0))
    return known & (low <= baseline)


def _scored(
    task: ScoreTask, columns: Columns, rows: Index, baseline: float | None, no_skill: NDArray[np.bool_]
) -> Array:
    """Return P of each model of a group in the score, shape (k,); NaN for a model without skill."""
    performance = np.where(no_skill[rows], np.nan, columns.performance[rows])
    return performance if not task.by_skill else skill(performance, baseline or 0.0)


def _gather(task: ScoreTask, columns: Columns, name: str | None, rows: Index, performance: Array) -> _Group:
    """Gather a group's models, with their P in the score, and find its bounds."""
    resources = {}
    for resource, values in zip(task.resources, columns.resources[:, rows], strict=True):
        # A model without a performance takes no part in the bounds.
        is_known = np.isfinite(values) & ~np.isnan(performance)
        resources[resource] = np.where(is_known, values, np.nan)
    # Named by their row, since two models can have one name.
    models = Models(tuple(map(str, rows.tolist())), performance, resources)
    reference = None if task.reference is None else task.reference.bounds_of(name, task.resources)
    scoring = Scoring(task.weights, task.normalise, task.alpha, reference)
    bounds: dict[str, Bound | None] = {}
    for resource, values in resources.items():
        method = _method(task, columns, name, resource, rows[~np.isnan(values)])
        bound = scoring.bound(resource, values)
        bounds[resource] = None if bound is None else bound.replace(unit="", method=method)
    return _Group(name, rows, models, scoring, bounds)


def _method(task: ScoreTask, columns: Columns, group: str | None, resource: str, measured: Index) -> str:
    """Return the method by which a resource was obtained in a group; "" if not known.

    Raises:
        ScoreError: there are several methods, or the reference bounds have another one.
    """
    if resource not in columns.methods:
        return ""
    labels = columns.methods[resource]
    used = [labels.texts[label] for label in np.unique(labels.ids[measured])]
    if len(used) > 1:
        _refuse_methods(task, resource, group, [method or "not stated" for method in used])
    method = used[0] if used else ""
    if task.reference is not None:
        expected = task.reference.bounds_of(group, task.resources)[resource].method
        if method and expected and method != expected:
            _refuse_methods(task, resource, group, [method, f"{expected} in {task.reference.path}"])
    return method


def _refuse_methods(task: ScoreTask, resource: str, group: str | None, methods: Sequence[str]) -> None:
    where = f" of group {group!r}" if task.group is not None else ""
    try:
        only_method(methods)
    except ScoreError as fault:
        raise ScoreError(f"{task.table.path}: {resource}{where} was {fault}") from None


def _score(task: ScoreTask, group: _Group, scores: RowScores) -> None:
    """Fill in the scores of a group's rows."""
    performance = group.models.performance
    for index, (resource, values) in enumerate(group.models.resources.items()):
        bound = group.bounds[resource]
        r = values if bound is None else normalised(values, bound)
        scores.r[index, group.rows] = r
        scores.pepr[index, group.rows] = pepr(performance, r, task.alpha)
    combined_r = weighted(task.shares, list(scores.r[:, group.rows]))
    scores.combined_r[group.rows] = combined_r
    scores.combined[group.rows] = pepr(performance, combined_r, task.alpha)


def _result(
    task: ScoreTask,
    columns: Columns,
    group: _Group,
    scores: RowScores,
    baseline: float | None,
    is_small: bool,
) -> Group:
    """Describe a scored group."""
    combined = scores.combined[group.rows]
    scored = int(np.count_nonzero(~np.isnan(combined)))
    best = [int(row) for row in robustness.best(group.models.names, combined, task.top)]
    intervals = _intervals(task, columns, group, scores, best, baseline)
    places = [
        _place(task, columns, scores, row, rank, intervals.get(row)) for rank, row in enumerate(best, start=1)
    ]
    # The best of a group of no more than `top` models are the same without any one of them.
    outliers: tuple[Outlier, ...] = ()
    if len(group.rows) > task.top:
        outliers = robustness.outliers(group.models, group.scoring, task.top)
    has_dependence = is_small and len(task.resources) > 1 and len(group.rows) <= SENSITIVITY_MODELS
    return Group(
        name=group.name,
        models=len(group.rows),
        scored=scored,
        set_id=_set_id(group),
        bounds=group.bounds,
        best=tuple(places),
        outliers=tuple(_named(columns, outlier) for outlier in outliers),
        baseline=None if baseline is None else _majority(task, columns, group, combined, baseline),
        warnings=_warnings(task, columns, group, scores, scored),
        dependence=_dependence(columns, group) if has_dependence else None,
    )


def _majority(
    task: ScoreTask, columns: Columns, group: _Group, combined: Array, baseline: float
) -> MajorityBaseline:
    """Return the majority-class baseline beside the scores of a group, shape (k,)."""
    score = 0.0 if task.by_skill else baseline
    return MajorityBaseline(
        performance=baseline,
        score=score,
        outranks=int(np.count_nonzero(score > combined)),
        of=int(np.count_nonzero(~np.isnan(combined))),
        not_beaten_by=_not_beaten_by(task, columns, group, baseline),
    )


def _not_beaten_by(task: ScoreTask, columns: Columns, group: _Group, baseline: float) -> int | None:
    if not task.has_intervals:
        return None
    is_scored = ~np.isnan(group.models.performance)
    return int(np.count_nonzero(_not_above_baseline(columns, group.rows, baseline) & is_scored))


def _set_id(group: _Group) -> str:
    known = {
        resource: [bound.lo, bound.hi, bound.method] if bound else None
        for resource, bound in group.bounds.items()
    }
    return set_id([json.dumps([group.name, len(group.rows), known], sort_keys=True)])


def _place(
    task: ScoreTask,
    columns: Columns,
    scores: RowScores,
    row: int,
    rank: int,
    interval: tuple[int, int, float] | None,
) -> Place:
    score = float(scores.combined[row])
    by_resource = _by_resource(task, scores.pepr[:, row])
    if len(task.resources) > 1:
        by_resource["combined"] = score
    rank_low, rank_high, p_best = interval or (None, None, None)
    return Place(
        rank=rank,
        name=columns.names[row],
        performance=float(columns.performance[row]),
        r=_by_resource(task, scores.r[:, row]),
        pepr=by_resource,
        combined_r=float(scores.combined_r[row]),
        score=score,
        rank_low=rank_low,
        rank_high=rank_high,
        p_best=p_best,
    )


def _by_resource(task: ScoreTask, values: Array) -> dict[str, float | None]:
    """Return the values (m,) by resource, None for NaN."""
    pairs = zip(task.resources, values.tolist(), strict=True)
    return {name: None if np.isnan(value) else value for name, value in pairs}


def _intervals(
    task: ScoreTask,
    columns: Columns,
    group: _Group,
    scores: RowScores,
    best: Sequence[int],
    baseline: float | None,
) -> dict[int, tuple[int, int, float]]:
    """Return the rank interval, low and high, and the probability of being first of the best, by row."""
    if not best or not task.has_intervals or len(group.rows) > INTERVAL_MODELS:
        return {}
    rows = group.rows[~np.isnan(scores.combined[group.rows])]
    images = columns.images[rows]
    wrong = np.flatnonzero(~((images >= 1) & np.isfinite(images)))
    if wrong.size and task.images_column is not None:
        first = wrong[0]
        cell = "" if np.isnan(images[first]) else f"{images[first]:g}"
        raise task.table.fault(int(rows[first]), task.images_column, cell, EXPECTED_IMAGES)
    performance = columns.performance[rows]
    drawn = robustness.binomial_performances(performance, images)
    if task.by_skill:
        performance = skill(performance, baseline or 0.0)
        drawn = skill(drawn, baseline or 0.0)
    chosen = np.searchsorted(rows, best).tolist()
    spread = robustness.rank_spread(performance, drawn, scores.combined_r[rows], task.alpha, chosen)
    found = zip(spread.low.tolist(), spread.high.tolist(), spread.p_best.tolist(), strict=True)
    return dict(zip(best, found, strict=True))


def _dependence(columns: Columns, group: _Group) -> Dependence:
    """Find what the winner depends on."""

    def name(row: str | None) -> str | None:
        return None if row is None else columns.names[int(row)]

    sensitivity = []
    for setting in robustness.weight_sensitivity(group.models, group.scoring):
        winners = {"winner_below": name(setting.winner_below), "winner_above": name(setting.winner_above)}
        sensitivity.append(setting.model_copy(update=winners))
    by_normalisation = robustness.winners_by_normalisation(group.models, group.scoring)
    return Dependence(tuple(sensitivity), {how: name(row) for how, row in by_normalisation.items()})


def _named(columns: Columns, outlier: Outlier) -> Outlier:
    """Return an outlier with the models' names for their rows."""
    return Outlier(
        name=columns.names[int(outlier.name)],
        enters=tuple(columns.names[int(row)] for row in outlier.enters),
        leaves=tuple(columns.names[int(row)] for row in outlier.leaves),
    )


def _warnings(
    task: ScoreTask, columns: Columns, group: _Group, scores: RowScores, scored: int
) -> tuple[str, ...]:
    """Return a sentence for each problem of a group."""
    models = len(group.rows)
    counts = {
        "performance not measured": np.isnan(columns.performance[group.rows]).sum(),
        NO_SKILL: scores.no_skill[group.rows].sum(),
    }
    for name, values in zip(task.resources, columns.resources, strict=True):
        counts[f"{name} not measured"] = np.isnan(values[group.rows]).sum()
        counts[f"{name} infinite"] = np.isinf(values[group.rows]).sum()
    gaps = ", ".join(f"{gap} {count}" for gap, count in counts.items() if count)
    warnings = []
    if gaps and scored < models:
        warnings.append(f"{models - scored} of {models} models have no score: {gaps}.")
    elif gaps:
        warnings.append(f"some models lack a score of one resource: {gaps}.")
    if task.normalise == "reference":
        for name, bound in group.bounds.items():
            values = group.models.resources[name]
            beyond = np.count_nonzero((values < bound.lo) | (values > bound.hi)) if bound else 0
            if beyond:
                where = "lie beyond the reference bounds and were cut to [0, 1]"
                warnings.append(f"{beyond} of {models} values of {name} {where}.")
    if task.has_intervals and models > INTERVAL_MODELS:
        warnings.append(
            f"no rank intervals: {models} models, and they are computed for at most {INTERVAL_MODELS}."
        )
    return tuple(warnings)
