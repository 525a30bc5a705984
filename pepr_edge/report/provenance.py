"""How every figure was obtained, as tables: resources, measurements, device, data, training, checksums."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pepr_edge.measure.rules import PRECISION, RULES
from pepr_edge.recipe.settings import settings_line
from pepr_edge.records import (
    Artifact,
    Bound,
    DataInfo,
    DeviceFacts,
    DeviceProfile,
    FieldReport,
    InitialWeights,
    Quantity,
    Ranking,
    RulesName,
    RunSettings,
    Split,
    StageName,
    TrainResult,
    Validity,
)
from pepr_edge.report.tables import EMPTY, NOT_MEASURED, Cell, ReportTable, number
from pepr_edge.scoring.pepr import RESOURCES as FAMILY
from pepr_edge.text.rows import training_names
from pepr_edge.text.sentences import LABEL_NAMES, majority_sentence
from pepr_edge.text.units import (
    MISSING,
    RESOURCES,
    SPLIT_NAMES,
    count,
    duration,
    mib,
    ms,
    percent,
    plural,
    printable,
    resource,
    significant,
)
from pepr_edge.text.weights import origin

SPLIT_ORDER: tuple[Split, ...] = ("train", "val", "test")
REPORTED_RULES: tuple[RulesName, ...] = ("adaptive", "full", "quick")
NONE_FOUND = "none found"
LATENCY_SOURCE = "early-stopping p90 of raw latencies, single stream, in a separate process (MLPerf loadgen)"
MEMORY_SOURCE = "high-water mark of a fresh process that loads and runs the model, in a separate pass"


def data_table(data: DataInfo) -> ReportTable:
    """Return the images by class and split."""
    splits = [split for split in SPLIT_ORDER if split in data.splits]
    rows = []
    for index, label in enumerate(data.labels):
        counts = [number(data.splits[split].class_counts[index], count) for split in splits]
        rows.append((Cell(printable(label)), *counts))
    totals = [number(data.splits[split].images, count) for split in splits]
    rows.append((Cell("all images" if data.kind == "multilabel" else "all classes"), *totals))
    colour = "grey" if data.channels == 1 else "RGB"
    caption = f"{data.name}, format {data.format}, {colour}; sha256 {data.sha256}. {majority_sentence(data)}"
    if data.fraction < 1:
        caption += f" {significant(100 * data.fraction)} % of the training split was used."
    for note in data.notes:
        caption += f" {note.rstrip('.')}."
    header = (LABEL_NAMES[data.kind], *(SPLIT_NAMES[split] for split in splits))
    return ReportTable("data", "Data", printable(caption), header, tuple(rows), sortable=False)


def resources_table(ranking: Ranking, trained: Sequence[TrainResult]) -> ReportTable:
    """Return each resource with its weight in the score, its bounds, its method and its source."""
    total = sum(ranking.weights.values()) or 1.0
    rows = []
    for name, (title, _) in RESOURCES.items():
        bound = ranking.bounds.get(name)
        weight = ranking.weights.get(name, 0.0)
        cells = (
            Cell(title),
            Cell(FAMILY[name][0]),
            Cell(f"{100 * weight / total:.0f} %" if weight else "none"),
            *_bounds(name, bound),
            Cell(_methods(ranking, name)),
            Cell(_sources(name, trained, _has_repeats(trained))),
        )
        rows.append(cells)
    caption = (
        f"Set {ranking.set_id}; normalisation {ranking.normalise}, alpha {significant(ranking.alpha)}. "
        "Lowest and highest: over the ranked models. Another set of models has other scores."
    )
    header = ("resource", "PePR", "weight in edge", "lowest", "highest", "method", "source")
    return ReportTable("resources", "Resources and bounds", caption, header, tuple(rows), sortable=False)


def _bounds(name: str, bound: Bound | None) -> tuple[Cell, Cell]:
    if bound is None:
        return NOT_MEASURED, NOT_MEASURED
    return Cell(resource(name, bound.lo), "number"), Cell(resource(name, bound.hi), "number")


def _methods(ranking: Ranking, name: str) -> str:
    """Return the methods by which a resource was obtained, and how many rows have no value."""
    measured = [row for row in ranking.rows if row.resources.get(name) is not None]
    methods = ", ".join(sorted({row.methods[name] for row in measured if name in row.methods}))
    missing = len(ranking.rows) - len(measured)
    if not missing:
        return methods
    not_measured = f"{missing} of {len(ranking.rows)} {MISSING}"
    return f"{methods}; {not_measured}" if methods else not_measured


def _has_repeats(trained: Sequence[TrainResult]) -> bool:
    return len({result.candidate.id for result in trained}) < len(trained)


def _sources(name: str, trained: Sequence[TrainResult], has_repeats: bool) -> str:
    """Return how the values of a resource were obtained; `has_repeats`: they are those of several seeds."""
    if name == "latency":
        return LATENCY_SOURCE
    if name == "peak_memory":
        return MEMORY_SOURCE
    quantities: dict[str, list[Quantity]] = {
        "train_energy": [result.cost.energy_j for result in trained],
        "train_co2eq": [result.cost.co2eq_g for result in trained],
        "train_time": [result.cost.duration_s for result in trained],
        "train_memory": [result.cost.peak_memory_bytes for result in trained],
    }
    sources = [quantity.source for quantity in quantities.get(name, []) if quantity.value is not None]
    if has_repeats and sources:
        sources.append("the max over seeds" if name == "train_memory" else "the mean over seeds")
    return _joined(sources)


def training_table(
    trained: Sequence[TrainResult],
    settings: RunSettings | None = None,
    weights: Mapping[str, InitialWeights] | None = None,
) -> ReportTable:
    """Return how each candidate was trained, with its initial weights and the settings from the images."""
    rows = []
    for result in trained:
        rows.append(_training_cells(result, (weights or {}).get(result.candidate.id)))
    versions = _joined(
        _versions(result.environment.python, result.environment.versions) for result in trained
    )
    header = (
        "candidate",
        "weights",
        "protocol",
        "mode",
        "layout, precision",
        "epochs",
        "selected epoch",
        "parameters",
        "seed",
        "trained on",
    )
    caption = f"Each candidate was trained once. {versions}"
    if _has_repeats(trained):
        caption = f"One row for each seed. The seed that is best on validation is deployed. {versions}"
    if settings is not None:
        caption = f"{caption} Settings from the images: {printable(settings_line(settings))}."
    return ReportTable("training", "Training", caption, header, tuple(rows))


def _training_cells(result: TrainResult, weights: InitialWeights | None) -> tuple[Cell, ...]:
    machine = result.environment
    accelerator = f", {machine.accelerator}" if machine.accelerator else ""
    epochs = len(result.epochs)
    return (
        Cell(printable(result.candidate.id)),
        _weights_cell(result, weights),
        Cell(printable(result.protocol)),
        Cell(printable(result.mode)),
        Cell(printable(f"{result.layout}, {result.precision}")),
        Cell(f"{epochs} (stopped early)" if result.stopped_early else str(epochs), "number", epochs),
        number(result.best_epoch, str),
        number(result.num_params, count),
        number(result.seed, str),
        Cell(printable(f"{machine.cpu}{accelerator}, {plural(machine.threads, 'thread')}")),
    )


def _weights_cell(result: TrainResult, weights: InitialWeights | None) -> Cell:
    """Return what a training began with; in small type its name, its licence and how it was assigned."""
    details = []
    if weights is not None and weights.name:
        details.append(origin(weights))
    if weights is not None and weights.reason:
        details.append(weights.reason)
    if result.weights_match == "order":
        details.append("assigned by order and shape")
    details += result.weights_notes
    return Cell(printable(result.candidate.weights), detail=printable("; ".join(details)))


def profiles_table(artifacts: Sequence[Artifact], profiles: Sequence[DeviceProfile]) -> ReportTable:
    """Return each measurement on the device: its validity, its length, and the cold start."""
    by_sha256 = {artifact.sha256: artifact for artifact in artifacts}
    rows = []
    for profile in profiles:
        artifact = by_sha256.get(profile.artifact_sha256)
        if artifact is None:
            names = (Cell(f"sha256 {profile.artifact_sha256[:12]}"), EMPTY)
        else:
            names = (Cell(printable(artifact.candidate.id)), Cell(printable(artifact.variant)))
        inferences = len(profile.latencies_s)
        settings = profile.settings
        cells = (
            *names,
            _validity(profile.validity),
            Cell(profile.rules),
            Cell(f"{count(inferences)} (warm-up {count(profile.warmup_runs)})", "number", inferences),
            Cell(printable(settings.runtime), detail=printable(profile.provider_used)),
            number(settings.threads, str),
            number(profile.import_s, ms),
            number(profile.load_s, ms),
            number(profile.first_s, ms),
            number(profile.cpu_s_per_inference, ms),
        )
        rows.append(cells)
    rules = "; ".join(f"{name}, at least {rules_text(name)}" for name in REPORTED_RULES)
    caption = f"One image at a time. Rules: {rules}. Inferences: measured after warm-up."
    header = (
        "candidate",
        "variant",
        "validity",
        "rules",
        "inferences",
        "runtime",
        "threads",
        "import",
        "model load",
        "first inference",
        "CPU per inference",
    )
    return ReportTable("profiles", "Measurements on the device", caption, header, tuple(rows))


def reports_table(field: Mapping[str, FieldReport], artifacts: Sequence[Artifact]) -> ReportTable | None:
    """Return each measurement from the field; None if there is none."""
    if not field:
        return None
    names = {artifact.sha256: f"{artifact.candidate.id} {artifact.variant}" for artifact in artifacts}
    rows = []
    for file, report in field.items():
        device = report.device
        emulated = "emulated: its times are not used" if report.emulated else ""
        for result in report.results:
            cells = (
                Cell(printable(Path(file).name)),
                Cell(printable(device.cpu), detail=emulated),
                Cell(printable(names.get(result.artifact_sha256, result.bundle))),
                _validity(result.validity),
                Cell(result.rules),
                number(len(result.latencies_s), count),
                Cell(printable(result.runtime), detail=printable(result.provider_used)),
                number(result.threads, str),
                Cell(printable(device.os)),
                Cell(printable(_versions(device.python, device.versions))),
            )
            rows.append(cells)
    header = (
        "report",
        "device",
        "model",
        "validity",
        "rules",
        "inferences",
        "runtime",
        "threads",
        "system",
        "versions",
    )
    caption = "Measured by the devices themselves. The ranking uses these measurements."
    return ReportTable("reports", "Reports from the field", caption, header, tuple(rows))


def _validity(validity: Validity) -> Cell:
    if validity.valid:
        return Cell("VALID", "good")
    return Cell(f"INVALID: {printable('; '.join(validity.reasons))}", "bad")


def rules_text(name: RulesName) -> str:
    """Return how long the rules measure at least: `1024 inferences and 60 s`."""
    if name == "adaptive":
        known = percent(PRECISION)
        return f"{RULES[name].queries} inferences, until p90 is known to {known} or its place is certain"
    return f"{RULES[name].queries} inferences and {RULES[name].duration_s:g} s"


def device_table(profiles: Sequence[DeviceProfile]) -> ReportTable:
    """Return the facts of the measured device; all values of a fact that differs between profiles."""
    facts = [profile.device for profile in profiles]
    values: dict[str, str] = {
        "processor": _joined(fact.cpu for fact in facts),
        "architecture": _joined(_architecture(fact) for fact in facts),
        "cores": _joined(str(fact.cores) for fact in facts),
        "usable cores": _joined(MISSING if fact.affinity is None else str(fact.affinity) for fact in facts),
        "memory": _joined(mib(fact.memory_bytes) for fact in facts),
        "container limits": _joined(_limits(fact) for fact in facts),
        "GPU": _joined(fact.gpu or NONE_FOUND for fact in facts),
        "CPU governor": _joined(fact.governor or MISSING for fact in facts),
        "on battery": _joined(_yes_no(fact.on_battery) for fact in facts),
        "frequency": _range([fact.frequency_mhz for fact in facts], "MHz"),
        "temperature": _range([fact.temperature_c for fact in facts], "°C"),
        "load before": _range([profile.load_before for profile in profiles], ""),
        "load after": _range([profile.load_after for profile in profiles], ""),
        "CPU steal time": _range([profile.steal_s for profile in profiles], "s"),
        "system": _joined(fact.os for fact in facts),
        "versions": _joined(_versions(fact.python, fact.versions) for fact in facts),
    }
    rows = tuple((Cell(name), Cell(printable(value))) for name, value in values.items())
    caption = "The machine on which this run measured latency and memory."
    return ReportTable("device", "Device", caption, ("fact", "value"), rows if facts else (), sortable=False)


def _architecture(fact: DeviceFacts) -> str:
    return f"{fact.architecture} ({', '.join(fact.isa)})" if fact.isa else fact.architecture


def _limits(fact: DeviceFacts) -> str:
    limits = []
    if fact.cgroup_cpu_limit is not None:
        limits.append(f"{significant(fact.cgroup_cpu_limit)} CPUs")
    if fact.cgroup_memory_bytes is not None:
        limits.append(mib(fact.cgroup_memory_bytes))
    return ", ".join(limits) or NONE_FOUND


def _yes_no(value: bool | None) -> str:
    if value is None:
        return MISSING
    return "yes" if value else "no"


def stage_times_table(seconds: Mapping[StageName, float]) -> ReportTable | None:
    """Return the wall time of a run by stage; None if it is not known."""
    total_s = sum(seconds.values())
    if not total_s:
        return None
    rows = [(Cell(name), *_time_cells(value, total_s)) for name, value in seconds.items() if value]
    rows.append((Cell("all"), *_time_cells(total_s, total_s)))
    caption = (
        "The process that finished the run, without earlier ones if it was stopped in between. Jobs that run "
        "at once share the time equally. Other: starting workers, reading and checking files."
    )
    header = ("stage", "wall time", "share")
    return ReportTable("times", "Time by stage", caption, header, tuple(rows), sortable=False)


def _time_cells(seconds: float, total_s: float) -> tuple[Cell, Cell]:
    return Cell(duration(seconds), "number"), Cell(f"{100 * seconds / total_s:.1f} %", "number")


def checksums_table(artifacts: Sequence[Artifact], trained: Sequence[TrainResult]) -> ReportTable:
    """Return the sha256 of every model file."""
    rows = [
        (Cell(name), Cell("PyTorch"), Cell(result.checkpoint_sha256), Cell("-"))
        for name, result in zip(training_names(trained), trained, strict=True)
    ]
    for artifact in artifacts:
        names = (Cell(printable(artifact.candidate.id)), Cell(printable(artifact.variant)))
        rows.append((*names, Cell(artifact.sha256), Cell(duration(artifact.duration_s))))
    caption = "Their sha256, and the duration of each export."
    header = ("candidate", "variant", "sha256", "export")
    return ReportTable("checksums", "Model files", caption, header, tuple(rows))


def _joined(values: Iterable[str]) -> str:
    """Join the different values that are not empty, in order of appearance."""
    return "; ".join(value for value in dict.fromkeys(values) if value)


def _versions(python: str, versions: dict[str, str]) -> str:
    packages = [f"{name} {version}" for name, version in sorted(versions.items())]
    return ", ".join([f"Python {python}", *packages])


def _range(values: Sequence[float | None], unit: str) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return MISSING
    low = significant(min(known))
    high = significant(max(known))
    return f"{low if low == high else f'{low} to {high}'} {unit}".strip()
