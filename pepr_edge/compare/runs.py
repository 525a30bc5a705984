"""Two run directories as sides: one row for each candidate, its performance on the test split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pepr_edge import zoo
from pepr_edge.compare.model import Absent, Model, Side
from pepr_edge.errors import ScoreError
from pepr_edge.recipe import AUTO
from pepr_edge.records import Estimate
from pepr_edge.run_dir.reader import Results, VariantState, performance, used
from pepr_edge.scoring.metrics import performance_fault
from pepr_edge.scoring.pepr import RESOURCES
from pepr_edge.text import units
from pepr_edge.text.sentences import guessing
from pepr_edge.text.units import printable, score

USUAL_VARIANT = "fp32"


def sides(
    a: Results, b: Results, sources: tuple[str, str], metric: str | None, variant: str | None
) -> tuple[Side, Side]:
    """Read both runs by one metric and of one variant.

    Args:
        a, b: the runs.
        sources: their paths as the user wrote them.
        metric: the performance; None takes that of both recipes.
        variant: of the ONNX files; None takes fp32, or the PyTorch model where neither run has it.
    Raises:
        ScoreError: they do not have the metric or the variant in common.
    """
    chosen = _variant(a, b, variant)
    metric = _metric(a, b, metric, chosen)
    first, second = (
        _side(results, source, metric, chosen) for results, source in zip((a, b), sources, strict=True)
    )
    return first, second


def _metric(a: Results, b: Results, metric: str | None, variant: str | None) -> str:
    first, second = a.recipe.score.performance, b.recipe.score.performance
    if metric is None and first == second:
        return first
    common = sorted(_metrics(a) & _metrics(b))
    hint = (
        f"Give --performance NAME, one that both have: {', '.join(common)}."
        if common
        else "They have no metric in common."
    )
    if metric is None:
        raise ScoreError(f"A was made for {first} and B for {second}, which cannot be compared. {hint}")
    if fault := performance_fault(metric):
        raise ScoreError(f"--performance {metric!r}: expected {fault}.")
    # Of an ONNX file the predictions are there, from which any metric follows.
    if variant is None and common and metric not in common:
        raise ScoreError(f"--performance {metric!r}: not recorded of the PyTorch models of both runs. {hint}")
    return metric


def _metrics(results: Results) -> set[str]:
    """Names of the test performances that a run holds and that may be a score's P."""
    known: list[str] = []
    for entry in results.entries:
        known += [
            *(entry.artifact.performance if entry.artifact else ()),
            *(entry.trained.performance if entry.trained else ()),
        ]
    return {name for name in known if not name.startswith("val_") and not performance_fault(name)}


def _variant(a: Results, b: Results, variant: str | None) -> str | None:
    """The variant to read; None for the PyTorch models."""
    both_auto = a.recipe.export.auto and b.recipe.export.auto
    wanted = variant or (
        AUTO
        if both_auto and not any(USUAL_VARIANT in one.recipe.export.variants for one in (a, b))
        else USUAL_VARIANT
    )
    has = [wanted in results.recipe.export.variants for results in (a, b)]
    if all(has):
        return wanted
    common = [name for name in a.recipe.export.variants if name in b.recipe.export.variants]
    if variant is None and not any(has):
        return None
    where = f"is in {'A' if has[0] else 'B'} alone" if any(has) else "is in neither run"
    hint = f"Give --variant {' or '.join(common)}." if common else "The runs have no variant in common."
    raise ScoreError(f"variant {wanted!r} {where}, so the runs cannot be compared by it. {hint}")


def _side(results: Results, source: str, metric: str, variant: str | None) -> Side:
    entries: dict[str, VariantState] = {}
    for entry in results.entries:
        chosen = variant == AUTO and (
            entry.variant == AUTO or (entry.artifact is not None and entry.artifact.settings is not None)
        )
        # Without a variant any one will do: all share the training.
        if chosen or entry.variant == variant or (variant is None and entry.candidate.id not in entries):
            entries[entry.candidate.id] = entry
    split = results.info.data.splits.get("train")
    models, absent, found = [], [], []
    for name, entry in entries.items():
        reached = _performance(entry, metric, variant)
        if reached is None:
            absent.append(Absent(name, _why_not(entry, metric, variant)))
            continue
        models.append(_model(entry, reached.value, split.images if split else None, variant))
        found += _warnings(entry, variant)
    if results.info.status != "finished":
        found.insert(0, f"not finished: {len(models)} of {len(entries)} candidates are there")
    data = results.info.data
    known = guessing(metric, data.majority_baseline, len(data.labels))
    if known is not None and (useless := _useless(known, metric, models)) is not None:
        found.append(useless)
    if variant is None:
        found.append(
            "performance is that of the PyTorch models: neither run has an fp32 file. Latency and device memory are left out"
        )
    level = known[0] if known is not None else None
    return Side(
        source, metric, tuple(models), results.recipe.score.weights, tuple(absent), tuple(found), level
    )


def _useless(known: tuple[float, str], metric: str, models: Sequence[Model]) -> str | None:
    """How many models learnt nothing of use: what is compared between them is chance."""
    level, words = known
    number = sum(model.performance <= level for model in models)
    return (
        f"{number} of {len(models)} models are no better than {words} ({units.metric(metric)} {score(level)})"
        if number
        else None
    )


def _performance(entry: VariantState, metric: str, variant: str | None) -> Estimate | None:
    if variant is not None:
        return performance(entry, metric, "test")
    return entry.trained.performance.get(metric) if entry.trained is not None else None


def _why_not(entry: VariantState, metric: str, variant: str | None) -> str:
    if (entry.artifact if variant is not None else entry.trained) is not None:
        return f"{metric} is not defined on its test images"
    if entry.failure is not None:
        return f"{entry.failure.stage}: {printable(entry.failure.reason)}"
    return "not done yet"


def _model(entry: VariantState, reached: float, images: int | None, variant: str | None) -> Model:
    known = zoo.architectures().get(entry.candidate.architecture)
    values, methods = used(entry if variant is not None else replace(entry, profile=None), images)
    return Model(
        name=entry.candidate.id,
        performance=reached,
        num_params=entry.trained.num_params if entry.trained else None,
        family=known.family if known else None,
        efficient=known.efficient if known else None,
        resources={name: values[name] for name in RESOURCES},
        methods={
            name: how for name, how in methods.items() if name in RESOURCES and values[name] is not None
        },
    )


def _warnings(entry: VariantState, variant: str | None) -> list[str]:
    found = []
    if entry.profile is not None and variant is not None and not entry.profile.validity.valid:
        found.append(
            f"{entry.candidate.id}: its measurement is INVALID: {'; '.join(entry.profile.validity.reasons)}"
        )
    if entry.artifact is not None and variant is not None and not entry.artifact.parity.passed:
        found.append(f"{entry.candidate.id}: the logits of its file differ from PyTorch's")
    return found


def machines(results: Results) -> tuple[Sequence[str], Sequence[str]]:
    """What trained and what measured, each machine once: processor, accelerator, threads."""
    trained = [entry.trained.environment for entry in results.entries if entry.trained]
    profiles = [entry.profile for entry in results.entries if entry.profile]
    training = {f"{where.accelerator or where.cpu}, {where.threads} threads" for where in trained}
    measuring = {
        f"{one.device.cpu}, {one.settings.runtime}, {one.settings.threads} threads, {one.rules}"
        for one in profiles
    }
    return sorted(training), sorted(measuring)
