"""Rank the artifacts of a run by PePR."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from pepr_edge.errors import ScoreError
from pepr_edge.ranking import robustness
from pepr_edge.ranking.answer_figures import answer_figures
from pepr_edge.ranking.by_subgroup import with_subgroups
from pepr_edge.ranking.decided import stored, with_decisions
from pepr_edge.ranking.decision_budgets import decision_limits, with_decision_budgets
from pepr_edge.ranking.devices import WORST_CASE, device_winner
from pepr_edge.ranking.field import DeviceClass, FieldMeasurements, device_classes, worst_case
from pepr_edge.ranking.membership import members
from pepr_edge.ranking.reports import Report, check, of_bench, of_evaluate
from pepr_edge.ranking.row import (
    affects_bounds,
    is_rankable,
    performances_of,
    row_of,
    scored_performance,
)
from pepr_edge.ranking.sites import compare_sites, with_site_warnings
from pepr_edge.ranking.skill import SkillCheck, too_few_images
from pepr_edge.ranking.spread import Spread, resource_errors, spread, with_field_errors
from pepr_edge.ranking.validation import Validation
from pepr_edge.recipe import ScoreSettings
from pepr_edge.recipe.task import decision_metric_fault
from pepr_edge.records import Bound, DeviceWinner, Ranking, RankingRow
from pepr_edge.run_dir.reader import Results
from pepr_edge.run_dir.spent import spent
from pepr_edge.scoring.lifetime import with_lifetime_energy
from pepr_edge.scoring.metrics import fits, metrics_of, performance_fault
from pepr_edge.scoring.pepr import (
    RESOURCES,
    Normalise,
    Scoring,
    mixed_methods,
    normalised_weights,
    pepr_family,
    resource_bounds,
    set_id,
    skill,
)
from pepr_edge.scoring.resources import of_training
from pepr_edge.scoring.stand_in import STAND_IN, lacks_energy, weights_without_energy
from pepr_edge.text.robustness import TIME_FOR_ENERGY, one_training
from pepr_edge.text.weights import mixed_weights

STATUS_ORDER = ("ok", "over_budget", "no_skill", "dropped", "failed")


@dataclass(frozen=True)
class RankInputs:
    """The inputs of all rankings of a run, at home and by device class.

    `performances` and `errors`, the standard errors of resources, are in the order of the entries.
    """

    results: Results
    metric: str
    scoring: Scoring
    performances: Sequence[Mapping[str, Any]]
    errors: Sequence[Mapping[str, float]]
    validation: Validation
    skill_check: SkillCheck


@dataclass(frozen=True)
class RankedRows:
    """Rows, best first, and the bounds of their resources."""

    rows: list[RankingRow]
    bounds: dict[str, Bound]


def rank(
    results: Results,
    *,
    weights: Mapping[str, float] | None = None,
    metric: str | None = None,
    field: Mapping[str, Report] | None = None,
    normalise: str | None = None,
    reference: Mapping[str, Bound] | None = None,
    lifetime: float | None = None,
) -> Ranking:
    """Rank the artifacts of a run by PePR over the weighted resources ("edge"), on validation.

    Args:
        results: of the run.
        weights: by resource; None: those of the recipe.
        metric: the performance; None: that of the recipe.
        field: reports of devices by file name. Their latency and memory replace those measured here: for each
            class of devices (`Ranking.devices`), and as the worst case over all classes in the ranking
            itself. Reports of `evaluate` change no figure: they say where a model does worse
            (`Ranking.sites`).
        normalise: "minmax" or "max"; None: that of the recipe.
        reference: bounds by resource to use instead of those of this set.
        lifetime: number of images that a model will process, for its energy per image.
    Raises:
        ScoreError: unknown weights or metric, missing bounds, or reports that `reports.check` refuses.
    """
    metric = metric or results.recipe.score.performance
    _check_metric(metric, results)
    asked = _scoring(results.recipe.score, weights, normalise, reference)
    check(field or {}, results)
    classes = device_classes(of_bench(field or {}), results)
    sites = compare_sites(of_evaluate(field or {}), results)
    inputs = _inputs(with_decisions(results, metric), metric, _with_stand_in(asked, results))
    ranked = _ranked(inputs, worst_case(classes) if classes else None)
    ranking = _with_robustness(inputs, ranked)
    if lifetime is not None:
        life = with_lifetime_energy(ranking.rows, lifetime)
        ranking = ranking.replace(rows=tuple(life.rows), lifetime=life.summary)
    if classes:
        device = ", ".join(device.name for device in classes)
        devices = tuple(_devices(inputs, classes, ranked.rows))
        ranking = ranking.replace(device=device, measured_on=(), devices=devices)
    rows = with_subgroups(ranking.rows, results, metric)
    ranking = ranking.replace(rows=rows, answer_figures=answer_figures(rows, results))
    if sites:
        rows = tuple(with_site_warnings(row, sites) for row in ranking.rows)
        ranking = ranking.replace(sites=sites, rows=rows)
    by_time = TIME_FOR_ENERGY if inputs.scoring.weights != asked.weights else ""
    too_few = too_few_images(metric, results.info.data)
    notes = (mixed_weights(ranking), one_training(ranking), by_time, too_few)
    return ranking.replace(notes=tuple(note for note in notes if note))


def _check_metric(metric: str, results: Results) -> None:
    """Raise ScoreError for a metric by which this run cannot be ranked."""
    fault = performance_fault(metric)
    if fault:
        raise ScoreError(f"performance {metric!r}, expected {fault}.")
    kind = results.info.data.kind
    if not fits(metric, kind):
        known = ", ".join(metrics_of(kind))
        raise ScoreError(f"performance {metric!r}, but the task is {kind}, expected one of {known}.")
    unfit = decision_metric_fault(metric, results.info.data, results.recipe)
    if unfit:
        raise ScoreError(f"performance {metric!r}: {unfit}. Rank by another metric.")


def _inputs(results: Results, metric: str, scoring: Scoring) -> RankInputs:
    data = results.info.data
    validation = Validation(results.entries, data.positive_index, data.kind)
    floor = results.recipe.score.floor
    return RankInputs(
        results=results,
        metric=metric,
        scoring=scoring,
        # These depend on the predictions and the training alone, so they are the same on all devices.
        performances=[performances_of(entry, metric) for entry in results.entries],
        errors=[resource_errors(entry) for entry in results.entries],
        validation=validation,
        skill_check=SkillCheck(metric, data, validation, floor),
    )


def _with_robustness(inputs: RankInputs, ranked: RankedRows) -> Ranking:
    """Return the ranking of the rows, with intervals, ties and what the winner depends on."""
    results = inputs.results
    data = results.info.data
    by_skill = results.recipe.score.skill
    scoring = inputs.scoring
    if any(row.status == "dropped" for row in ranked.rows):
        # Pruned candidates affect the bounds but have no score, so the scored rows alone give other bounds.
        scoring = Scoring(scoring.weights, "reference", scoring.alpha, ranked.bounds)
    models = robustness.models(ranked.rows, by_skill)
    drawn = _spread(ranked.rows, inputs, scoring)
    rows = robustness.with_ties(ranked.rows, inputs.validation)
    rows = robustness.with_intervals(rows, drawn)
    cost = spent(results)
    return Ranking(
        performance_metric=inputs.metric,
        performance_split="val",
        weights=dict(scoring.weights),
        normalise=inputs.scoring.normalise,
        alpha=scoring.alpha,
        set_id=set_id([row.artifact_sha256 or row.candidate for row in ranked.rows if affects_bounds(row)]),
        device=results.recipe.device.name,
        measured_on=_processors(results),
        data=data.name,
        majority_baseline=data.majority_baseline,
        task=data.kind,
        bounds=ranked.bounds,
        rows=tuple(rows),
        positive=data.positive_label,
        positive_by=data.positive_by,
        baseline=robustness.baseline(rows, inputs.skill_check.baseline(), data, by_skill),
        outliers=robustness.outliers(models, scoring),
        sensitivity=robustness.sensitivity(rows, models, scoring),
        winners=robustness.winners(models, scoring),
        spent_energy_j=None if cost is None else cost.energy_j,
        spent_time_s=None if cost is None else cost.time_s,
        ranked_by_skill=by_skill,
        settled=drawn is not None and drawn.settled,
        sources=() if drawn is None else drawn.sources,
    )


def _spread(rows: Sequence[RankingRow], inputs: RankInputs, scoring: Scoring) -> Spread | None:
    """Return what chance does to the ranks; None if nothing is ranked."""
    if all(row.rank is None for row in rows):
        return None
    constant = inputs.skill_check.baseline()
    stretch = 1.0
    if inputs.results.recipe.score.skill and constant is not None and constant.performance < 1:
        stretch = 1 / (1 - constant.performance)
    may_rank = members(rows, inputs.skill_check, normalised_weights(scoring.weights))
    models = robustness.as_models(may_rank.rows, inputs.results.recipe.score.skill)
    return spread(may_rank.rows, may_rank.chances, models, inputs.validation, inputs.metric, scoring, stretch)


def _processors(results: Results) -> tuple[str, ...]:
    """Return the processors on which the latencies of a run were measured."""
    profiles = [entry.profile for entry in results.entries if entry.profile is not None]
    return tuple(dict.fromkeys(profile.device.cpu for profile in profiles))


def _ranked(
    inputs: RankInputs, measured: FieldMeasurements | None = None, only: Container[str | None] | None = None
) -> RankedRows:
    """Rank the artifacts of a run.

    Args:
        inputs: of the ranking.
        measured: values from the field; None: those measured at home.
        only: sha256 of the artifacts to rank; None: all.
    """
    splits = inputs.results.info.data.splits
    images = splits["train"].images if "train" in splits else None
    budgets = inputs.results.recipe.limits()
    limits = decision_limits(inputs.results)
    rows = []
    for entry, performances, errors in zip(
        inputs.results.entries, inputs.performances, inputs.errors, strict=True
    ):
        row = row_of(entry, inputs.metric, performances, budgets, images, measured)
        if only is None or row.artifact_sha256 in only:
            row = with_decision_budgets(row, stored(entry), inputs.results, limits)
            row = row.replace(resources_sd=with_field_errors(errors, entry, measured))
            rows.append(_with_skill(row, inputs.skill_check))
    # Pruned candidates were not measured in the field, and values of two devices cannot share bounds.
    in_set = affects_bounds if measured is None else is_rankable
    bounds, unbounded = _bounds([row for row in rows if in_set(row)], inputs.scoring)
    by_skill = inputs.results.recipe.score.skill
    scored = [
        _scored(row, bounds, unbounded, inputs.scoring, by_skill) if is_rankable(row) else row for row in rows
    ]
    return RankedRows(_ordered(scored), bounds)


def _with_skill(row: RankingRow, skill_check: SkillCheck) -> RankingRow:
    """Return a row with its skill; without skill it has no rank."""
    if not is_rankable(row) or row.performance is None:
        return row
    reason = skill_check.reason(row)
    constant = skill_check.baseline()
    if constant is not None:
        row = row.replace(skill=skill(row.performance, constant.performance))
    return row.replace(status="no_skill", reason=reason) if reason else row


def _devices(
    inputs: RankInputs, classes: Sequence[DeviceClass], worst: Sequence[RankingRow]
) -> Iterator[DeviceWinner]:
    """Yield the winner of each class of devices, and of the worst case if there are several classes."""
    home = _ranked(inputs).rows
    for device in classes:
        home_subset = _ranked(inputs, only=device.measurements).rows
        field = _ranked(inputs, device.measurements).rows
        yield device_winner(device.name, device.reports, home, home_subset, field)
    if len(classes) > 1:
        reports = sorted(chain.from_iterable(device.reports for device in classes))
        home_subset = _ranked(inputs, only=worst_case(classes)).rows
        yield device_winner(WORST_CASE, reports, home, home_subset, worst)


def _scoring(
    settings: ScoreSettings,
    weights: Mapping[str, float] | None,
    normalise: str | None,
    reference: Mapping[str, Bound] | None,
) -> Scoring:
    """Return the scoring that the call asks for, with the recipe's settings as defaults.

    Raises:
        ScoreError: unknown weights, or a reference without a weighted resource or in another unit.
    """
    how: Normalise = "max" if (normalise or settings.normalise) == "max" else "minmax"
    scoring = Scoring(
        dict(weights or settings.weights), "reference" if reference else how, settings.alpha, reference
    )
    for name in normalised_weights(scoring.weights):
        if reference is not None and name not in reference:
            known = ", ".join(reference) or "nothing"
            raise ScoreError(
                f"no reference bounds of {name}, which has a weight (there are: {known}). "
                "Add them, or leave it out of --weights."
            )
    for name, bound in (reference or {}).items():
        if name in RESOURCES and bound.unit and bound.unit != RESOURCES[name][1]:
            unit = RESOURCES[name][1]
            raise ScoreError(
                f"the reference has {name} in {bound.unit}, expected {unit}. Give lo and hi in {unit}."
            )
    return scoring


def _with_stand_in(scoring: Scoring, results: Results) -> Scoring:
    """Return a scoring by training time in place of energy, if the energy of no training is known.

    Bounds of a reference that has none of the time stay as they are.
    """
    costs = [fair.cost for entry in results.entries for fair in entry.fair_costs]
    weights = weights_without_energy(scoring.weights)
    has_bounds = scoring.reference is None or STAND_IN in scoring.reference
    if not has_bounds or not lacks_energy(of_training(cost, None)[0] for cost in costs):
        return scoring
    return replace(scoring, weights=weights)


def _bounds(rows: Sequence[RankingRow], scoring: Scoring) -> tuple[dict[str, Bound], dict[str, str]]:
    """Return the bounds of each resource over the set, and the reason for a resource that has none.

    A resource has no bounds if its values were obtained in different ways.
    """
    found: dict[str, Bound] = {}
    unbounded: dict[str, str] = {}
    for name, (_, unit) in RESOURCES.items():
        measured = [row for row in rows if row.resources.get(name) is not None]
        methods = [row.methods[name] for row in measured]
        bound = (scoring.reference or {}).get(name)
        if bound is not None and bound.method:
            methods.append(bound.method)
        if measured:
            mixed = mixed_methods(methods)
            if mixed:
                unbounded[name] = mixed
                continue
            values = [row.resources[name] or 0.0 for row in measured]
            of_rows = resource_bounds(values, unit, scoring.normalise, methods)
            if scoring.normalise != "reference":
                bound = of_rows
            elif bound is not None:
                bound = bound.replace(method=of_rows.method)
        if bound is not None:
            found[name] = bound.replace(unit=unit)
    return found, unbounded


def _scored(
    row: RankingRow,
    bounds: Mapping[str, Bound],
    unbounded: Mapping[str, str],
    scoring: Scoring,
    by_skill: bool,
) -> RankingRow:
    """Return a row with its scores, or with the reason if a weighted resource has no value or bounds."""
    performance = scored_performance(row, by_skill)
    normalised, scores = pepr_family(performance, row.resources, bounds, scoring.weights, scoring.alpha)
    missing = [
        f"{name} {unbounded.get(name, 'not measured')}"
        for name in normalised_weights(scoring.weights)
        if normalised.get(name) is None
    ]
    reason = f"no score: {', '.join(missing)}" if missing else row.reason
    warnings = row.warnings
    beyond = [name for name, limits in bounds.items() if _is_beyond(row.resources.get(name), limits)]
    if beyond:
        warnings = (*warnings, f"beyond the reference bounds, so clipped to them: {', '.join(beyond)}")
    return row.replace(normalised=normalised, pepr=scores, reason=reason, warnings=warnings)


def _is_beyond(value: float | None, bound: Bound) -> bool:
    return value is not None and not bound.lo <= value <= bound.hi


def _ordered(rows: Sequence[RankingRow]) -> list[RankingRow]:
    """Return the rows with their ranks: scored rows by score, then the others by status and performance."""

    def key(row: RankingRow) -> tuple[float, float, float]:
        score = row.pepr.get("edge")
        performance = -1.0 if row.performance is None else row.performance
        if score is None:
            return STATUS_ORDER.index(row.status), 0.0, -performance
        return -1, -score, -performance

    ordered = sorted(rows, key=key)
    return [
        row.replace(rank=rank) if row.pepr.get("edge") is not None else row
        for rank, row in enumerate(ordered, start=1)
    ]
