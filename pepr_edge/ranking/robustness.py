"""How sound a run's ranking is: ties, rank intervals, the free baseline, outliers, and what the winner depends on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pepr_edge.errors import RunError
from pepr_edge.ranking.row import is_member
from pepr_edge.records import Baseline, DataInfo, Outlier, RankingRow, Sensitivity
from pepr_edge.run_dir.reader import VariantState
from pepr_edge.scoring import robustness
from pepr_edge.scoring.intervals import mcnemar, resample_counts, strata
from pepr_edge.scoring.metrics import metric, resampled
from pepr_edge.scoring.pepr import RESOURCES, Models, Scoring, combined_resource

TIE_LEVEL = 0.05
Validation = tuple[list[NDArray[np.float32]], NDArray[np.integer]]


def validation(rows: Sequence[RankingRow], entries: Sequence[VariantState]) -> Validation:
    """Logits of the ranked rows on the validation images, in the order of their ranks, and the labels that all share."""
    by_name = {(entry.candidate.id, entry.variant): entry for entry in entries}
    found = [by_name[row.candidate, row.variant or ""].predictions() for row in rows if row.rank is not None]
    for row, one in zip((row for row in rows if row.rank is not None), found, strict=True):
        if not np.array_equal(one["val_labels"], found[0]["val_labels"]):
            raise RunError(
                f"{row.candidate} {row.variant}: its predictions are of other validation images than the first one's. Run it again."
            )
    return [logits["val"] for logits in found], found[0]["val_labels"].astype(
        np.int64
    ) if found else np.zeros(0, np.int64)


def ties(rows: Sequence[RankingRow], validated: Validation) -> list[RankingRow]:
    """Mark the ranked rows whose performance cannot be told from that of the first: paired exact test on the validation images."""
    logits, labels = validated
    right = [found.argmax(axis=1) == labels for found in logits]
    return _updated(rows, [{"tied_with_best": mcnemar(mine, right[0]) > TIE_LEVEL} for mine in right])


def spread(
    rows: Sequence[RankingRow], validated: Validation, name: str, scoring: Scoring
) -> list[RankingRow]:
    """Give each ranked row the interval of its rank and its probability of being best, by drawing the validation images again.

    Paired: in each draw all models are asked about the same images. What a draw leaves undefined keeps the model's own performance.
    """
    logits, labels = validated
    if not logits:
        return list(rows)
    counts = resample_counts(strata(name, labels), robustness.DRAWS)
    drawn = np.stack([resampled(name, found, labels, counts) for found in logits], axis=1)
    members, ranked = models(rows), np.array([row.rank is not None for row in rows if is_member(row)])
    performance, resource = members.performance[ranked], combined_resource(members, scoring)[ranked]
    drawn = np.where(np.isnan(drawn), performance, drawn)
    found = robustness.rank_spread(performance, drawn, resource, scoring.alpha)
    spreads = zip(found.low.tolist(), found.high.tolist(), found.p_best.tolist(), strict=True)
    return _updated(rows, [{"rank_ci": (low, high), "p_best": p} for low, high, p in spreads])


def _updated(rows: Sequence[RankingRow], changes: Sequence[Mapping[str, object]]) -> list[RankingRow]:
    """The rows, the ranked ones with their changes, which come in the order of the ranks."""
    waiting = iter(changes)
    return [row if row.rank is None else row.model_copy(update=dict(next(waiting))) for row in rows]


def models(rows: Sequence[RankingRow]) -> Models:
    """The set as arrays, in the order of the rows; empty where nobody has a rank."""
    members = [row for row in rows if is_member(row)] if any(row.rank is not None for row in rows) else []

    def column(name: str) -> NDArray[np.float64]:
        return np.array(
            [np.nan if (value := row.resources.get(name)) is None else value for row in members],
            dtype=np.float64,
        )

    return Models(
        names=tuple(f"{row.candidate} {row.variant}" for row in members),
        performance=np.array([row.performance for row in members], dtype=np.float64),
        resources={name: column(name) for name in RESOURCES},
    )


def baseline(rows: Sequence[RankingRow], validated: Validation, name: str, data: DataInfo) -> Baseline | None:
    """What always saying one class reaches on validation, for nothing; None where nothing is ranked.

    The class is the commonest of the training split; another where that is better by this metric, as F1 is of one class alone.
    """
    _, labels = validated
    if not labels.size or "train" not in data.splits:
        return None
    counts = np.array(data.splits["train"].class_counts)
    reached = {}
    for says in np.argsort(-counts, kind="stable").tolist():
        always = np.zeros((len(labels), len(data.labels)), dtype=np.float32)
        always[:, says] = 1
        reached[says] = metric(name)(always, labels)
    best = max(reached, key=lambda says: -1.0 if np.isnan(reached[says]) else reached[says])
    if np.isnan(reached[best]):
        return None
    edges = [row.pepr["edge"] or 0.0 for row in rows if row.rank is not None]
    outranks = sum(edge < reached[best] for edge in edges)
    return Baseline(label=data.labels[best], performance=reached[best], outranks=outranks, of=len(edges))


def outliers(rows: Sequence[RankingRow], scoring: Scoring) -> tuple[Outlier, ...]:
    """The models that would change the best five if they alone were left out; none where there are too few to tell."""
    members = models(rows)
    return robustness.outliers(members, scoring) if len(members.names) > robustness.TOP + 1 else ()


def sensitivity(rows: Sequence[RankingRow], scoring: Scoring) -> tuple[Sensitivity, ...]:
    """Within which weights and which declared watts the winner stays the winner."""
    members = models(rows)
    if not members.names:
        return ()
    declared = np.array(
        [row.methods.get("train_energy") == "declared" for row in rows if is_member(row)], dtype=np.bool_
    )
    watts = robustness.to_watts(members, scoring, declared)
    return (*robustness.to_weights(members, scoring), *((watts,) if watts else ()))


def winners(rows: Sequence[RankingRow], scoring: Scoring) -> dict[str, str | None]:
    """Who wins under each normalisation."""
    members = models(rows)
    return robustness.to_normalisation(members, scoring) if members.names else {}
