"""Rank the artifacts of a run."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence

from pepr_edge.errors import ScoreError
from pepr_edge.ranking import robustness
from pepr_edge.ranking.devices import WORST_CASE, device_winner
from pepr_edge.ranking.field import DeviceClass, Measured, device_classes, worst_case
from pepr_edge.ranking.reports import check
from pepr_edge.ranking.row import bears_on, is_member, performances_of, row_of
from pepr_edge.recipe import ScoreSettings
from pepr_edge.records import Bound, DeviceWinner, FieldReport, Ranking, RankingRow
from pepr_edge.run_dir.reader import Results
from pepr_edge.scoring.lifetime import over_a_life
from pepr_edge.scoring.metrics import performance_fault, positive_class
from pepr_edge.scoring.pepr import RESOURCES, Normalise, Scoring, bounds, family, set_id, shares

# What was measured in the field, None for what was at home, and among which files alone, None for all -> the rows, best first, and the
# bounds of their resources.
Place = Callable[[Measured | None, Container[str | None] | None], tuple[list[RankingRow], dict[str, Bound]]]


def rank(
    results: Results,
    *,
    weights: Mapping[str, float] | None = None,
    metric: str | None = None,
    field: Mapping[str, FieldReport] | None = None,
    normalise: str | None = None,
    reference: Mapping[str, Bound] | None = None,
    lifetime: float | None = None,
) -> Ranking:
    """Rank the artifacts of a run by PePR over the weighted resources ("edge"), on validation.

    Args:
        results: of the run.
        weights: by resource; None takes those of the recipe.
        metric: the performance; None takes that of the recipe.
        field: reports of devices by file name, whose latency and memory take the place of those measured here: for each class of devices
            alone (`Ranking.devices`), and the worst over all classes, which is the ranking returned.
        normalise: "minmax" or "max"; None takes that of the recipe.
        reference: bounds by resource from elsewhere, in the place of those of this set.
        lifetime: number of images that a model will be asked about, for its energy per image.
    Raises:
        ScoreError: unknown weights or metric, bounds that are missing, or reports that cannot be relied on (`reports.check`).
    """
    metric = metric or results.recipe.score.performance
    if fault := performance_fault(metric):
        raise ScoreError(f"performance {metric!r}, expected {fault}.")
    scoring = _scoring(results.recipe.score, weights, normalise, reference)
    data = results.info.data
    check(field or {}, results)
    classes = device_classes(field or {}, results)
    place = _placing(results, metric, scoring)
    ordered, found = place(worst_case(classes) if classes else None, None)
    logits = robustness.validation(ordered, results.entries)
    pruned = any(row.status == "dropped" for row in ordered)
    # The rows that have a score are then not the whole set that the bounds rest on.
    same = Scoring(scoring.weights, "reference", scoring.alpha, found) if pruned else scoring
    ranked = robustness.spread(robustness.ties(ordered, logits), logits, metric, same)
    life = over_a_life(ranked, lifetime) if lifetime is not None else None
    return Ranking(
        performance_metric=metric,
        performance_split="val",
        weights=dict(scoring.weights),
        normalise=scoring.normalise,
        alpha=scoring.alpha,
        set_id=set_id([row.artifact_sha256 or row.candidate for row in ordered if bears_on(row)]),
        device=", ".join(one.name for one in classes) or results.recipe.device.name,
        measured_on=() if classes else _processors(results),
        data=data.name,
        majority_baseline=data.majority_baseline,
        bounds=found,
        rows=tuple(ranked if life is None else life.rows),
        positive=positive_class(metric, data.labels),
        baseline=robustness.baseline(ranked, logits, metric, data),
        outliers=robustness.outliers(ranked, same),
        sensitivity=robustness.sensitivity(ranked, same),
        winners=robustness.winners(ranked, same),
        lifetime=None if life is None else life.summary,
        devices=tuple(_devices(classes, ordered, place)),
    )


def _processors(results: Results) -> tuple[str, ...]:
    """What the latencies of a run are of."""
    return tuple(
        dict.fromkeys(entry.profile.device.cpu for entry in results.entries if entry.profile is not None)
    )


def _placing(results: Results, metric: str, scoring: Scoring) -> Place:
    """How the artifacts of a run are placed by what was measured of them."""
    splits, budgets = results.info.data.splits, results.recipe.limits()
    images = splits["train"].images if "train" in splits else None
    # They rest on all predictions of an entry, and are the same wherever it was timed.
    performances = [performances_of(entry, metric) for entry in results.entries]

    def place(
        measured: Measured | None, among: Container[str | None] | None
    ) -> tuple[list[RankingRow], dict[str, Bound]]:
        known = zip(results.entries, performances, strict=True)
        rows = [row_of(entry, metric, values, budgets, images, measured) for entry, values in known]
        rows = [row for row in rows if among is None or row.artifact_sha256 in among]
        # In the field nobody measured those that were spared, and figures of two devices share no bounds.
        found, unbounded = _bounds(
            [row for row in rows if (bears_on(row) if measured is None else is_member(row))], scoring
        )
        return _order(
            [_score(row, found, unbounded, scoring) if is_member(row) else row for row in rows]
        ), found

    return place


def _devices(
    classes: Sequence[DeviceClass], worst: Sequence[RankingRow], place: Place
) -> Iterator[DeviceWinner]:
    """The winner of each class of devices by itself, and with several of them that of the worst case."""
    home = place(None, None)[0] if classes else []
    for one in classes:
        yield device_winner(one.name, one.reports, home, place(None, one.found)[0], place(one.found, None)[0])
    if len(classes) > 1:
        reports = sorted(name for one in classes for name in one.reports)
        yield device_winner(WORST_CASE, reports, home, place(None, worst_case(classes))[0], worst)


def _scoring(
    settings: ScoreSettings,
    weights: Mapping[str, float] | None,
    normalise: str | None,
    reference: Mapping[str, Bound] | None,
) -> Scoring:
    """How to score: what the call asks for, else what the recipe does."""
    how: Normalise = (
        "reference" if reference else "max" if (normalise or settings.normalise) == "max" else "minmax"
    )
    scoring = Scoring(dict(weights or settings.weights), how, settings.alpha, reference)
    _check(scoring)
    return scoring


def _check(scoring: Scoring) -> None:
    """Refuse weights that mean nothing, and a reference that lacks a bound for one of them or has it in another unit."""
    for name in shares(scoring.weights):
        if scoring.reference is not None and name not in scoring.reference:
            known = ", ".join(scoring.reference) or "nothing"
            raise ScoreError(
                f"no reference bounds of {name}, which has a weight (there are: {known}). Add them, or leave it out of --weights."
            )

    for name, bound in (scoring.reference or {}).items():
        if name in RESOURCES and bound.unit and bound.unit != RESOURCES[name][1]:
            unit = RESOURCES[name][1]
            raise ScoreError(
                f"the reference has {name} in {bound.unit}, expected {unit}. Give lo and hi in {unit}."
            )


def _bounds(rows: Sequence[RankingRow], scoring: Scoring) -> tuple[dict[str, Bound], dict[str, str]]:
    """lo and hi of each resource over the set; and why there are none where it was obtained in different ways."""
    found, without = {}, {}
    for name, (_, unit) in RESOURCES.items():
        known = [(value, row.methods[name]) for row in rows if (value := row.resources.get(name)) is not None]
        bound = (scoring.reference or {}).get(name)
        methods = [method for _, method in known] + (
            [bound.method] if bound is not None and bound.method else []
        )
        try:
            own = bounds([value for value, _ in known], unit, scoring.normalise, methods) if known else None
        except ScoreError as fault:
            without[name] = str(fault).partition(", which")[0]
            continue
        taken = bound if scoring.normalise == "reference" else own
        if taken is not None:
            found[name] = taken.model_copy(
                update={"unit": unit, "method": own.method if own else taken.method}
            )
    return found, without


def _score(
    row: RankingRow, found: Mapping[str, Bound], unbounded: Mapping[str, str], scoring: Scoring
) -> RankingRow:
    assert row.performance is not None
    normalised, values = family(row.performance, row.resources, found, scoring.weights, scoring.alpha)
    missing = [
        f"{name} {unbounded.get(name, 'not measured')}"
        for name in shares(scoring.weights)
        if normalised.get(name) is None
    ]
    reason = f"no score: {', '.join(missing)}" if missing else row.reason
    beyond = [
        name
        for name, bound in found.items()
        if (value := row.resources.get(name)) is not None and not bound.lo <= value <= bound.hi
    ]
    cut = (f"beyond the reference bounds, so cut to them: {', '.join(beyond)}",) if beyond else ()
    return row.model_copy(
        update={"normalised": normalised, "pepr": values, "reason": reason, "warnings": row.warnings + cut}
    )


def _order(rows: Sequence[RankingRow]) -> list[RankingRow]:
    """Best score first, ranks given; then those without a score, over budget, dropped, failed."""
    places = {"ok": 0, "over_budget": 1, "dropped": 2, "failed": 3}

    def place(row: RankingRow) -> tuple[float, float, float]:
        edge = row.pepr.get("edge")
        performance = row.performance if row.performance is not None else -1.0
        return (places[row.status] if edge is None else -1, -edge if edge is not None else 0.0, -performance)

    ordered = sorted(rows, key=place)
    return [
        row.model_copy(update={"rank": number}) if row.pepr.get("edge") is not None else row
        for number, row in enumerate(ordered, start=1)
    ]
