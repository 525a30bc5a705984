"""Results -> Ranking: every artifact of a run with its resources, its scores and its place, or the reason why it has none."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any

import numpy as np

from pepr_edge.errors import ScoreError
from pepr_edge.field.rules import early_stopping_percentile
from pepr_edge.metrics import METRICS, mcnemar
from pepr_edge.records import Bound, DeviceProfile, FieldReport, Ranking, RankingRow
from pepr_edge.results import Entry, Results
from pepr_edge.score import RESOURCES, bounds, family, set_id, shares

TIE_LEVEL = 0.05


def rank(
    results: Results,
    *,
    weights: Mapping[str, float] | None = None,
    metric: str | None = None,
    field: Mapping[str, FieldReport] | None = None,
) -> Ranking:
    """Rank the artifacts of a run by PePR over the weighted resources ("edge"), on validation.

    Args:
        results: of the run.
        weights: by resource; None takes those of the recipe.
        metric: the performance; None takes that of the recipe.
        field: reports of devices by file name, whose latency and memory take the place of those measured here.
    Raises:
        ScoreError: unknown weights or metric, or a report that cannot be relied on.
    """
    settings = results.recipe.score
    weights, metric = dict(weights or settings.weights), metric or settings.performance
    shares(weights)
    if metric not in METRICS:
        raise ScoreError(f"performance {metric!r}, expected one of {', '.join(METRICS)}.")
    measured = _field(field or {}, results)
    rows = [_row(entry, metric, results.recipe.limits(), measured) for entry in results.entries]
    ranked = [row for row in rows if row.status == "ok" and row.performance is not None]
    found = _bounds(ranked, settings.normalise)
    scored = [_score(row, found, weights, settings.alpha) if row in ranked else row for row in rows]
    ordered = _order(scored)
    return Ranking(
        performance_metric=metric,
        performance_split="val",
        weights=weights,
        normalise=settings.normalise,
        alpha=settings.alpha,
        set_id=set_id([row.artifact_sha256 or "" for row in ranked]),
        device=results.recipe.device.name if measured is None else ", ".join(report.device.cpu for report in (field or {}).values()),
        data=results.info.data.name,
        majority_baseline=results.info.data.majority_baseline,
        bounds=found,
        rows=tuple(_ties(ordered, results.entries)),
    )


@dataclass
class Measured:
    """What devices in the field said of artifacts, by sha256: the worst figures, and why one must not be used there or be trusted."""

    figures: dict[str, dict[str, float | None]] = dataclass_field(default_factory=dict)
    refused: dict[str, str] = dataclass_field(default_factory=dict)
    doubts: dict[str, str] = dataclass_field(default_factory=dict)

    def reason_against(self, sha256: str) -> str:
        """Why an artifact gets no rank; empty where it may."""
        absent = "" if sha256 in self.figures else "not measured in the field: no report holds it. Bench its bundle too"
        return self.refused.get(sha256, absent)


def _field(reports: Mapping[str, FieldReport], results: Results) -> Measured | None:
    """The worst of each artifact's figures over all reports: a model has to serve on every device. None without reports."""
    if not reports:
        return None
    ours = {entry.artifact.sha256 for entry in results.entries if entry.artifact}
    measured = Measured()
    found = measured.figures
    for number, (name, report) in enumerate(reports.items(), start=1):
        if report.partial:
            raise ScoreError(f"{name}: a partial report, its measuring was cut short. Run `pepr-edge bench` again.")
        if not ours & {result.artifact_sha256 for result in report.results}:
            raise ScoreError(f"{name}: holds no artifact of {results.folder}. It belongs to another run.")
        for result in report.results:
            if not result.validity.valid:
                reasons = "; ".join(result.validity.reasons)
                measured.refused[result.artifact_sha256] = f"its measurement in the field ({name}) is INVALID: {reasons}"
            if result.selftest is not None and not result.selftest.passed:
                measured.refused[result.artifact_sha256] = f"its self-test failed on {report.device.cpu} ({name})"
            if report.emulated:
                measured.doubts[result.artifact_sha256] = f"measured on an emulated machine ({name}), so not as fast as a device"
            figures: dict[str, float | None] = {
                "latency": early_stopping_percentile(result.latencies_s, 0.9),
                "peak_memory": result.peak_memory_bytes,
            }
            # Not in an earlier report: it is not known to serve on every device.
            before = found.get(result.artifact_sha256, figures if number == 1 else {})
            found[result.artifact_sha256] = {what: _worst(figures[what], before.get(what)) for what in figures}
        seen = {result.artifact_sha256 for result in report.results}
        found |= {sha: dict.fromkeys(("latency", "peak_memory")) for sha in found if sha not in seen}
    return measured


def _worst(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else max(a, b)


def _row(entry: Entry, metric: str, budgets: Mapping[str, float], measured: Measured | None) -> RankingRow:
    """What was measured of an entry, and its status. No rank or score yet."""
    known: dict[str, Any] = {
        "candidate": entry.candidate.id,
        "architecture": entry.candidate.architecture,
        "variant": entry.variant,
        "num_params": entry.trained.num_params if entry.trained else None,
        "size_bytes": entry.artifact.size_bytes if entry.artifact else None,
        "artifact_sha256": entry.artifact.sha256 if entry.artifact else None,
    }
    resources, methods = _resources(entry)
    if measured is not None and entry.artifact is not None:
        brought = measured.figures.get(entry.artifact.sha256, dict.fromkeys(("latency", "peak_memory")))
        resources |= brought
        methods |= {name: "measured" if value is not None else "unavailable" for name, value in brought.items()}
    if entry.artifact is not None:
        chosen, test = entry.artifact.performance.get(f"val_{metric}"), entry.artifact.performance.get(metric)
        known |= {"performance": chosen.value, "performance_ci": chosen.ci} if chosen else {}
        known |= {"test_performance": test.value, "test_performance_ci": test.ci} if test else {}
    if entry.artifact is None or entry.profile is None:
        reason = f"{entry.failure.stage}: {entry.failure.reason}" if entry.failure else "not done yet: run the same command again"
        return RankingRow(rank=None, status="failed", reason=reason, resources=resources, methods=methods, **known)
    sha256 = entry.artifact.sha256
    if measured is not None and (reason := measured.reason_against(sha256)):
        return RankingRow(rank=None, status="failed", reason=reason, resources=resources, methods=methods, **known)
    doubts = (measured.doubts[sha256],) if measured is not None and sha256 in measured.doubts else ()
    broken = over_budget(budgets, resources, entry.artifact.size_bytes)
    undefined = "" if "performance" in known else f"no score: {metric} is not defined on the validation images. Take another metric"
    return RankingRow(
        rank=None,
        status="over_budget" if broken else "ok",
        reason="; ".join(broken) or undefined,
        resources=resources,
        methods=methods,
        warnings=_warnings(entry, entry.profile) + doubts,
        **known,
    )


def _resources(entry: Entry) -> tuple[dict[str, float | None], dict[str, str]]:
    """Resources in SI units by name, and how each was obtained."""
    values: dict[str, float | None] = dict.fromkeys(RESOURCES)
    methods: dict[str, str] = {}
    if entry.trained is not None:
        cost = entry.trained.cost
        quantities = {
            "train_energy": cost.energy_j,
            "train_co2eq": cost.co2eq_g,
            "train_time": cost.duration_s,
            "train_memory": cost.gpu_peak_memory_bytes if cost.gpu_peak_memory_bytes.value is not None else cost.peak_memory_bytes,
        }
        for name, quantity in quantities.items():
            values[name], methods[name] = quantity.value, quantity.method
    if entry.profile is not None:
        values["latency"] = early_stopping_percentile(entry.profile.latencies_s, 0.9)
        values["peak_memory"] = entry.profile.peak_memory_bytes
        methods |= {name: "measured" if values[name] is not None else "unavailable" for name in ("latency", "peak_memory")}
    return values, methods


def over_budget(budgets: Mapping[str, float], resources: Mapping[str, float | None], size_bytes: int) -> list[str]:
    """The budgets that a model breaks, each in words. A budget on what was not measured is broken: it cannot be shown to hold."""
    checks = [
        ("latency_p90_s", "latency at p90", resources.get("latency"), 1e3, "ms"),
        ("peak_memory_bytes", "peak memory", resources.get("peak_memory"), 2.0**-20, "MiB"),
        ("size_bytes", "file size", size_bytes, 2.0**-20, "MiB"),
    ]
    broken = []
    for key, what, value, scale, unit in checks:
        limit = budgets.get(key)
        if limit is None:
            continue
        if value is None:
            broken.append(f"{what} could not be measured, budget {limit * scale:.4g} {unit}")
        elif value > limit:
            broken.append(f"{what} {value * scale:.4g} {unit}, budget {limit * scale:.4g} {unit}")
    return broken


def _warnings(entry: Entry, profile: DeviceProfile) -> tuple[str, ...]:
    assert entry.artifact is not None
    parity = entry.artifact.parity
    found = [] if profile.validity.valid else [f"measurement INVALID: {reason}" for reason in profile.validity.reasons]
    if not parity.passed:
        found.append(f"logits differ from PyTorch's by up to {parity.max_abs_diff:.2g}, tolerance {parity.tolerance:.2g}")
    return tuple(found)


def _bounds(rows: Sequence[RankingRow], normalise: str) -> dict[str, Bound]:
    """lo and hi of each resource over the ranked rows; none for one that nobody measured, or that was obtained in different ways."""
    found = {}
    for name, (_, unit) in RESOURCES.items():
        values = [value for row in rows if (value := row.resources.get(name)) is not None]
        methods = {row.methods[name] for row in rows if row.resources.get(name) is not None}
        # Measured and declared energies never share one normalisation.
        if values and len(methods) == 1:
            found[name] = bounds(values, unit, "max" if normalise == "max" else "minmax")
    return found


def _score(row: RankingRow, found: Mapping[str, Bound], weights: Mapping[str, float], alpha: float) -> RankingRow:
    assert row.performance is not None
    normalised, scores = family(row.performance, row.resources, found, weights, alpha)
    missing = [name for name in shares(weights) if normalised.get(name) is None]
    reason = f"no score: {', '.join(missing)} not measured, or in different ways within this set" if missing else row.reason
    return row.model_copy(update={"normalised": normalised, "pepr": scores, "reason": reason})


def _order(rows: Sequence[RankingRow]) -> list[RankingRow]:
    """Best score first, ranks given; then those without a score, over budget, failed."""
    places = {"ok": 0, "over_budget": 1, "failed": 2}

    def place(row: RankingRow) -> tuple[float, float, float]:
        edge = row.pepr.get("edge")
        performance = row.performance if row.performance is not None else -1.0
        return (places[row.status] if edge is None else -1, -edge if edge is not None else 0.0, -performance)

    ordered = sorted(rows, key=place)
    return [
        row.model_copy(update={"rank": number}) if row.pepr.get("edge") is not None else row for number, row in enumerate(ordered, start=1)
    ]


def _ties(rows: Sequence[RankingRow], all_entries: Sequence[Entry]) -> list[RankingRow]:
    """Mark the ranked rows whose performance cannot be told from that of the first: paired exact test on the validation images."""
    if not rows or rows[0].rank is None:
        return list(rows)
    by_name = {(entry.candidate.id, entry.variant): entry for entry in all_entries}
    right = {}
    for row in rows:
        if row.rank is not None:
            logits = by_name[row.candidate, row.variant or ""].predictions()
            right[row.rank] = np.asarray(logits["val"].argmax(axis=1) == logits["val_labels"])
    return [
        row if row.rank is None else row.model_copy(update={"tied_with_best": mcnemar(right[row.rank], right[1]) > TIE_LEVEL})
        for row in rows
    ]


def to_csv(ranking: Ranking) -> str:
    """The ranking as a flat table: a column for each resource with its unit, and for each score."""
    out = io.StringIO()
    fixed = [
        "rank",
        "candidate",
        "architecture",
        "variant",
        "status",
        "reason",
        "num_params",
        "performance",
        "performance_low",
        "performance_high",
    ]
    fixed += ["test_performance", "test_low", "test_high"]
    units = {name: f"{name}_{unit.lower()}" for name, (_, unit) in RESOURCES.items()}
    letters = [letter for letter, _ in RESOURCES.values()] + ["edge"]
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*fixed, "size_bytes", *units.values(), *(f"pepr_{letter}" for letter in letters), "tied_with_best", "bundle"])
    for row in ranking.rows:
        low, high = row.performance_ci or (None, None)
        test_low, test_high = row.test_performance_ci or (None, None)
        values = [
            row.rank,
            row.candidate,
            row.architecture,
            row.variant,
            row.status,
            row.reason,
            row.num_params,
            row.performance,
            low,
            high,
        ]
        values += [row.test_performance, test_low, test_high, row.size_bytes]
        values += [row.resources.get(name) for name in RESOURCES] + [row.pepr.get(letter) for letter in letters]
        writer.writerow(["" if value is None else value for value in [*values, row.tied_with_best, row.bundle]])
    return out.getvalue()
