"""Robustness of a run's ranking: ties, rank intervals, majority-class baseline, outliers, sensitivity.

The computation is in scoring.robustness; this module brings it the rows of a ranking and their predictions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pepr_edge.errors import RunError
from pepr_edge.ranking.row import is_rankable
from pepr_edge.records import Baseline, DataInfo, Outlier, RankingRow, Sensitivity
from pepr_edge.run_dir.reader import VariantState
from pepr_edge.scoring import robustness
from pepr_edge.scoring.intervals import mcnemar, resample_counts, strata
from pepr_edge.scoring.metrics import metric, resampled
from pepr_edge.scoring.pepr import RESOURCES, Array, Models, Scoring, combined_resource
from pepr_edge.tasks import task_of

TIE_LEVEL = 0.05


@dataclass(frozen=True)
class Validation:
    """Logits of the ranked rows on the validation images, in the order of the ranks, and the labels."""

    logits: list[NDArray[np.float32]]
    labels: NDArray[np.int64]


def read_validation(rows: Sequence[RankingRow], entries: Sequence[VariantState]) -> Validation:
    """Read the predictions of the ranked rows.

    Raises:
        RunError: a file is missing or torn, or rows were predicted on different validation images.
    """
    by_name = {(entry.candidate.id, entry.variant): entry for entry in entries}
    logits: list[NDArray[np.float32]] = []
    labels = np.zeros(0, np.float32)
    for row in rows:
        if row.rank is None:
            continue
        predictions = by_name[row.candidate, row.variant or ""].predictions()
        if not logits:
            labels = predictions["val_labels"]
        elif not np.array_equal(predictions["val_labels"], labels):
            raise RunError(
                f"{row.candidate} {row.variant}: its predictions are of other validation images than those "
                "of the best model. Run it again."
            )
        logits.append(predictions["val"])
    return Validation(logits, labels.astype(np.int64))


def with_ties(rows: Sequence[RankingRow], validation: Validation) -> list[RankingRow]:
    """Mark the ranked rows that an exact paired test on validation cannot distinguish from the first."""
    correct = [task_of().correct(logits, validation.labels) for logits in validation.logits]
    p_values = [mcnemar(of_row, correct[0]) for of_row in correct]
    return _updated(rows, [{"tied_with_best": p_value > TIE_LEVEL} for p_value in p_values])


def with_intervals(
    rows: Sequence[RankingRow], validation: Validation, metric_name: str, scoring: Scoring
) -> list[RankingRow]:
    """Add rank interval and probability of being best to the ranked rows, by resampling validation images.

    The resampling is paired: all models get the same images. If a resample leaves the metric undefined, the
    model's own performance counts.
    """
    if not validation.logits:
        return list(rows)
    labels = validation.labels
    counts = resample_counts(strata(metric_name, labels), robustness.DRAWS)
    resamples = [resampled(metric_name, logits, labels, counts) for logits in validation.logits]
    members = models(rows)
    ranked = np.array([row.rank is not None for row in rows if is_rankable(row)])
    performance = members.performance[ranked]
    resource = combined_resource(members, scoring)[ranked]
    drawn = np.stack(resamples, axis=1)
    drawn = np.where(np.isnan(drawn), performance, drawn)
    spread = robustness.rank_spread(performance, drawn, resource, scoring.alpha)
    intervals = zip(spread.low.tolist(), spread.high.tolist(), spread.p_best.tolist(), strict=True)
    return _updated(rows, [{"rank_ci": (low, high), "p_best": p_best} for low, high, p_best in intervals])


def _updated(rows: Sequence[RankingRow], changes: Sequence[Mapping[str, object]]) -> list[RankingRow]:
    """Return the rows, the ranked ones with their changes, which are in the order of the ranks."""
    remaining = iter(changes)
    return [row if row.rank is None else row.replace(**next(remaining)) for row in rows]


def models(rows: Sequence[RankingRow]) -> Models:
    """Return the members of the set as arrays, in the order of the rows; none if no row has a rank."""
    has_ranks = any(row.rank is not None for row in rows)
    members = [row for row in rows if has_ranks and is_rankable(row)]
    return Models(
        names=tuple(f"{row.candidate} {row.variant}" for row in members),
        performance=np.array([row.performance for row in members], dtype=np.float64),
        resources={name: _resource(members, name) for name in RESOURCES},
    )


def _resource(rows: Sequence[RankingRow], name: str) -> Array:
    """Return a resource of the rows, shape (n,); NaN where not measured."""
    values = [row.resources.get(name) for row in rows]
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def baseline(
    rows: Sequence[RankingRow], validation: Validation, metric_name: str, data: DataInfo
) -> Baseline | None:
    """Return the performance of always predicting one class on validation; None if nothing is ranked.

    The class is the most frequent one of training, or another one that is better by this metric, such as F1,
    which is of one class alone.
    """
    labels = validation.labels
    if not labels.size or "train" not in data.splits:
        return None
    counts = data.splits["train"].class_counts
    performances = {}
    for label, logits in task_of().constant_logits(counts).items():
        performance = metric(metric_name)(np.repeat(logits, len(labels), axis=0), labels)
        if not np.isnan(performance):
            performances[label] = performance
    if not performances:
        return None
    best = max(performances, key=lambda label: performances[label])
    scores = [row.pepr["edge"] or 0.0 for row in rows if row.rank is not None]
    outranks = sum(score < performances[best] for score in scores)
    return Baseline(
        label=data.labels[best], performance=performances[best], outranks=outranks, of=len(scores)
    )


def outliers(rows: Sequence[RankingRow], scoring: Scoring) -> tuple[Outlier, ...]:
    """Return the models whose removal changes the best five; none if there are too few models."""
    members = models(rows)
    if len(members.names) <= robustness.TOP + 1:
        return ()
    return robustness.outliers(members, scoring)


def sensitivity(rows: Sequence[RankingRow], scoring: Scoring) -> tuple[Sensitivity, ...]:
    """Return between which weights and which declared watts the winner stays the winner."""
    members = models(rows)
    if not members.names:
        return ()
    methods = [row.methods.get("train_energy") for row in rows if is_rankable(row)]
    declared = np.array([method == "declared" for method in methods], dtype=np.bool_)
    watts = robustness.watts_sensitivity(members, scoring, declared)
    weights = robustness.weight_sensitivity(members, scoring)
    return weights if watts is None else (*weights, watts)


def winners(rows: Sequence[RankingRow], scoring: Scoring) -> dict[str, str | None]:
    """Return the winner under each normalisation."""
    members = models(rows)
    return robustness.winners_by_normalisation(members, scoring) if members.names else {}
