"""Read two run directories as sides: one model for each candidate, with its performance on the test split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pepr_edge import zoo
from pepr_edge.compare.model import Model, Side
from pepr_edge.compare.record import LeftOut
from pepr_edge.errors import ScoreError
from pepr_edge.recipe import AUTO
from pepr_edge.records import Estimate
from pepr_edge.run_dir.reader import Results, VariantState
from pepr_edge.run_dir.variant_figures import deployed_params, performance, resources_used
from pepr_edge.scoring.metrics import (
    DECISION_METRICS,
    fits,
    is_one_sided,
    performance_fault,
    training_metric,
)
from pepr_edge.scoring.pepr import RESOURCES
from pepr_edge.text import units
from pepr_edge.text.sentences import chance_level
from pepr_edge.text.units import printable, score

DEFAULT_VARIANT = "fp32"


def sides(
    a: Results, b: Results, sources: tuple[str, str], metric: str | None, variant: str | None
) -> tuple[Side, Side]:
    """Read both runs by one metric and of one variant.

    Args:
        a, b: the runs.
        sources: their paths as the user wrote them.
        metric: the performance; None takes that of both recipes.
        variant: of the ONNX files; None takes fp32, or the PyTorch model if neither run has it.
    Raises:
        ScoreError: they do not have the metric or the variant in common.
    """
    _check_task(a, b)
    variant = _variant(a, b, variant)
    metric = _metric(a, b, metric, variant)
    _check_positive(a, b, metric)
    return _side(a, sources[0], metric, variant), _side(b, sources[1], metric, variant)


def _metric(a: Results, b: Results, metric: str | None, variant: str | None) -> str:
    metric_a = training_metric(a.recipe.score.performance)
    metric_b = training_metric(b.recipe.score.performance)
    if metric is None and metric_a == metric_b:
        return metric_a
    common = sorted(_recorded_metrics(a) & _recorded_metrics(b))
    hint = "They have no metric in common."
    if common:
        hint = f"Give --performance NAME, one that both have: {', '.join(common)}."
    if metric is None:
        raise ScoreError(f"A was made for {metric_a} and B for {metric_b}, which cannot be compared. {hint}")
    fault = performance_fault(metric)
    if fault:
        raise ScoreError(f"--performance {metric!r}: expected {fault}.")
    if metric in DECISION_METRICS:
        raise ScoreError(
            f"--performance {metric!r}: needs the decision of each file. Give another, such as auroc."
        )
    if not fits(metric, a.info.data.kind):
        raise ScoreError(f"--performance {metric!r}: no metric of the task, {a.info.data.kind}. {hint}")
    # The predictions of ONNX files are stored, and any metric follows from them.
    if variant is None and common and metric not in common:
        raise ScoreError(f"--performance {metric!r}: not recorded of the PyTorch models of both runs. {hint}")
    return metric


def _check_task(a: Results, b: Results) -> None:
    """Refuse runs whose labels are of different kinds. Two classes and more are of one kind."""
    in_a = a.info.data.kind
    in_b = b.info.data.kind
    if in_a != in_b and {in_a, in_b} & {"ordinal", "multilabel"}:
        raise ScoreError(
            f"the task is {in_a} in A and {in_b} in B, so they have no metric in common. Set the same "
            "[task] kind in both recipes and run them again."
        )


def _check_positive(a: Results, b: Results, metric: str) -> None:
    """Refuse a metric of one class where it is another class in each run."""
    in_a = a.info.data.positive_label
    in_b = b.info.data.positive_label
    if not is_one_sided(metric) or in_a is None or in_b is None or in_a == in_b:
        return
    raise ScoreError(
        f"{metric} refers to {printable(in_a)!r} in A and to {printable(in_b)!r} in B, which "
        "cannot be compared. Set the same [task] positive in both recipes and run them again, or give "
        "--performance accuracy."
    )


def _recorded_metrics(results: Results) -> set[str]:
    """Return the test metrics that a run holds and that PePR can use as a performance."""
    names: set[str] = set()
    for entry in results.entries:
        if entry.artifact is not None:
            names |= entry.artifact.performance.keys()
        if entry.trained is not None:
            names |= entry.trained.performance.keys()
    return {name for name in names if not name.startswith("val_") and not performance_fault(name)}


def _variant(a: Results, b: Results, variant: str | None) -> str | None:
    """Return the variant to read; None for the PyTorch models."""
    in_a = a.recipe.export.variants
    in_b = b.recipe.export.variants
    if variant is not None:
        wanted = variant
    elif a.recipe.export.auto and b.recipe.export.auto and DEFAULT_VARIANT not in (*in_a, *in_b):
        wanted = AUTO
    else:
        wanted = DEFAULT_VARIANT
    if wanted in in_a and wanted in in_b:
        return wanted
    if wanted not in in_a and wanted not in in_b:
        if variant is None:
            return None
        where = "is in neither run"
    else:
        where = f"is in {'A' if wanted in in_a else 'B'} alone"
    common = [name for name in in_a if name in in_b]
    hint = f"Give --variant {' or '.join(common)}." if common else "The runs have no variant in common."
    raise ScoreError(f"variant {wanted!r} {where}, so the runs cannot be compared by it. {hint}")


def _side(results: Results, source: str, metric: str, variant: str | None) -> Side:
    entries = _entries(results, variant)
    split = results.info.data.splits.get("train")
    images = split.images if split else None
    models = []
    left_out = []
    warnings = []
    for name, entry in entries.items():
        estimate = _performance(entry, metric, variant)
        if estimate is None:
            left_out.append(LeftOut(candidate=name, reason=_reason(entry, metric, variant)))
            continue
        # Cohen's kappa may be below 0, and the P of a score may not.
        models.append(model_of(entry, max(0.0, estimate.value), images, variant))
        warnings += _warnings(entry, variant)
    if results.info.status != "finished":
        warnings.insert(0, f"not finished: {len(models)} of {len(entries)} candidates are there")
    level, useless = no_better_than_chance(results, metric, models)
    warnings += useless
    if variant is None:
        warnings.append(
            "performance is that of the PyTorch models: neither run has an fp32 file. "
            "Latency and device memory are left out"
        )
    weights = results.recipe.score.weights
    return Side(source, metric, tuple(models), weights, tuple(left_out), tuple(warnings), level)


def no_better_than_chance(
    results: Results, metric: str, models: Sequence[Model]
) -> tuple[float | None, list[str]]:
    """Return what guessing reaches, None if that is not known, and a warning if models do not exceed it."""
    data = results.info.data
    chance = chance_level(metric, data.majority_baseline, len(data.labels))
    if chance is None:
        return None, []
    level, name_of_guess = chance
    useless = sum(model.performance <= level for model in models)
    if not useless:
        return level, []
    text = f"{useless} of {len(models)} models are no better than {name_of_guess} "
    return level, [f"{text}({units.metric(metric)} {score(level)})"]


def _entries(results: Results, variant: str | None) -> dict[str, VariantState]:
    """Return the entry of each candidate in a variant, or any entry without one: they share the training."""
    entries: dict[str, VariantState] = {}
    for entry in results.entries:
        if variant is None:
            entries.setdefault(entry.candidate.id, entry)
        elif entry.variant == variant or (variant == AUTO and entry.is_autotuned):
            entries[entry.candidate.id] = entry
    return entries


def _performance(entry: VariantState, metric: str, variant: str | None) -> Estimate | None:
    if variant is not None:
        return performance(entry, metric, "test")
    return entry.trained.performance.get(metric) if entry.trained is not None else None


def _reason(entry: VariantState, metric: str, variant: str | None) -> str:
    """Return why an entry has no performance."""
    result = entry.trained if variant is None else entry.artifact
    if result is not None:
        return f"{metric} is not defined on its test images"
    if entry.failure is not None:
        return f"{entry.failure.stage}: {printable(entry.failure.reason)}"
    return "not done yet"


def model_of(entry: VariantState, value: float, images: int | None, variant: str | None) -> Model:
    """Return the model of a side that an entry is.

    Args:
        entry: one candidate in one variant.
        value: its performance.
        images: of its training split; None if not known.
        variant: None for the PyTorch model, which has no cost on a device.
    """
    architecture = zoo.architectures().get(entry.candidate.architecture)
    values, methods = resources_used(entry if variant is not None else replace(entry, profile=None), images)
    known = [name for name in RESOURCES if values[name] is not None]
    return Model(
        name=entry.candidate.id,
        performance=value,
        num_params=deployed_params(entry if variant is not None else replace(entry, artifact=None)),
        family=architecture.family if architecture else None,
        efficient=architecture.efficient if architecture else None,
        resources={name: values[name] for name in RESOURCES},
        methods={name: methods[name] for name in known},
    )


def _warnings(entry: VariantState, variant: str | None) -> list[str]:
    if variant is None:
        return []
    warnings = []
    if entry.profile is not None and not entry.profile.validity.valid:
        reasons = "; ".join(entry.profile.validity.reasons)
        warnings.append(f"{entry.candidate.id}: its measurement is INVALID: {reasons}")
    if entry.artifact is not None and not entry.artifact.parity.passed:
        warnings.append(f"{entry.candidate.id}: the logits of its file differ from PyTorch's")
    return warnings


def machines(results: Results) -> tuple[Sequence[str], Sequence[str]]:
    """Return machines of training and measurement, without duplicates: processor, accelerator, threads."""
    training = set()
    measurement = set()
    for entry in results.entries:
        if entry.trained is not None:
            environment = entry.trained.environment
            training.add(f"{environment.accelerator or environment.cpu}, {environment.threads} threads")
        if entry.profile is not None:
            settings = entry.profile.settings
            cpu = entry.profile.device.cpu
            measurement.add(f"{cpu}, {settings.runtime}, {settings.threads} threads, {entry.profile.rules}")
    return sorted(training), sorted(measurement)
