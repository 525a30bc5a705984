"""How every figure was obtained, as tables: data, resources and bounds, training, the device, validity, checksums."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pepr_edge.measure.rules import RULES
from pepr_edge.records import (
    Artifact,
    DataInfo,
    DeviceFacts,
    DeviceProfile,
    FieldReport,
    Quantity,
    Ranking,
    RulesName,
    Split,
    TrainResult,
    Validity,
)
from pepr_edge.report.tables import Cell, ReportTable, number
from pepr_edge.scoring.pepr import RESOURCES as FAMILY
from pepr_edge.text.units import (
    MISSING,
    RESOURCES,
    SPLIT_NAMES,
    count,
    duration,
    mib,
    ms,
    plural,
    printable,
    resource,
    score,
    significant,
)


def data_table(data: DataInfo) -> ReportTable:
    """Images by class and split."""
    order: tuple[Split, ...] = ("train", "val", "test")
    splits = [split for split in order if split in data.splits]
    rows = [
        (Cell(printable(label)), *(number(data.splits[split].class_counts[index], count) for split in splits))
        for index, label in enumerate(data.labels)
    ]
    rows.append((Cell("all classes"), *(number(data.splits[split].images, count) for split in splits)))
    caption = (
        f"{data.name} ({data.format}), {'grey' if data.channels == 1 else 'RGB'}; sha256 {data.sha256}. "
    )
    caption += f"Always saying the commonest class reaches accuracy {score(data.majority_baseline)} on the test split."
    if data.fraction < 1:
        caption += f" {significant(100 * data.fraction)} % of the training split was used."
    notes = "".join(f" {note.rstrip('.')}." for note in data.notes)
    return ReportTable(
        "data",
        "Data",
        printable(caption + notes),
        ("class", *(SPLIT_NAMES[split] for split in splits)),
        tuple(rows),
        sortable=False,
    )


def resources_table(ranking: Ranking, trained: Sequence[TrainResult]) -> ReportTable:
    """Each resource: its weight in the score, its bounds over the set, how it was obtained and from where."""
    total = sum(ranking.weights.values()) or 1.0
    rows = []
    for name, (words, _) in RESOURCES.items():
        bound = ranking.bounds.get(name)
        weight = ranking.weights.get(name, 0.0)
        rows.append(
            (
                Cell(words),
                Cell(FAMILY[name][0]),
                Cell(f"{100 * weight / total:.0f} %" if weight else "none"),
                Cell(MISSING, "missing") if bound is None else Cell(resource(name, bound.lo), "number"),
                Cell(MISSING, "missing") if bound is None else Cell(resource(name, bound.hi), "number"),
                Cell(_methods(ranking, name)),
                Cell(_sources(name, trained)),
            )
        )
    caption = (
        f"Set {ranking.set_id}; normalisation {ranking.normalise}, alpha {significant(ranking.alpha)}. lo and hi: over the ranked models; "
        "another set of models has other scores."
    )
    header = ("resource", "PePR", "weight in edge", "lo", "hi", "method", "source")
    return ReportTable("resources", "Resources and bounds", caption, header, tuple(rows), sortable=False)


def _methods(ranking: Ranking, name: str) -> str:
    """The methods by which a resource was obtained over all rows, and how often it was not."""
    found = sorted(
        {
            row.methods[name]
            for row in ranking.rows
            if name in row.methods and row.resources.get(name) is not None
        }
    )
    missing = sum(row.resources.get(name) is None for row in ranking.rows)
    return ", ".join(found) + (
        f"{'; ' if found else ''}{missing} of {len(ranking.rows)} {MISSING}" if missing else ""
    )


def _sources(name: str, trained: Sequence[TrainResult]) -> str:
    quantities: dict[str, list[Quantity]] = {
        "train_energy": [result.cost.energy_j for result in trained],
        "train_co2eq": [result.cost.co2eq_g for result in trained],
        "train_time": [result.cost.duration_s for result in trained],
        "train_memory": [result.cost.peak_memory_bytes for result in trained],
    }
    if name == "latency":
        return (
            "early-stopping p90 of the raw latencies, single stream, in a process of its own (MLPerf loadgen)"
        )
    if name == "peak_memory":
        return "high-water mark of a fresh process that loads and runs the model, in a pass of its own"
    return "; ".join(_unique(found.source for found in quantities.get(name, []) if found.value is not None))


def training_table(trained: Sequence[TrainResult]) -> ReportTable:
    """How each candidate was trained."""
    header = (
        "candidate",
        "weights",
        "protocol",
        "mode",
        "layout, precision",
        "epochs",
        "kept",
        "parameters",
        "seed",
        "trained on",
    )
    rows = []
    for result in trained:
        machine = result.environment
        where = f"{machine.cpu}{f', {machine.accelerator}' if machine.accelerator else ''}, {plural(machine.threads, 'thread')}"
        rows.append(
            (
                Cell(printable(result.candidate.id)),
                Cell(printable(result.candidate.weights)),
                Cell(printable(result.protocol)),
                Cell(printable(result.mode)),
                Cell(printable(f"{result.layout}, {result.precision}")),
                Cell(
                    f"{len(result.epochs)}{' (stopped early)' if result.stopped_early else ''}",
                    "number",
                    len(result.epochs),
                ),
                Cell(str(result.best_epoch), "number", result.best_epoch),
                number(result.num_params, count),
                Cell(str(result.seed), "number", result.seed),
                Cell(printable(where)),
            )
        )
    versions = "; ".join(
        _unique(_versions(result.environment.python, result.environment.versions) for result in trained)
    )
    return ReportTable("training", "Training", f"Each was trained once. {versions}", header, tuple(rows))


def profiles_table(artifacts: Sequence[Artifact], profiles: Sequence[DeviceProfile]) -> ReportTable:
    """Each measurement on the device: whether it is valid, how long it was, and the cold start."""
    by_sha256 = {artifact.sha256: artifact for artifact in artifacts}
    header = (
        "candidate",
        "variant",
        "validity",
        "rules",
        "inferences",
        "runtime",
        "threads",
        "import",
        "load",
        "first",
        "CPU per inference",
    )
    rows = []
    for profile in profiles:
        artifact = by_sha256.get(profile.artifact_sha256)
        rows.append(
            (
                Cell(
                    printable(artifact.candidate.id) if artifact else f"sha256 {profile.artifact_sha256[:12]}"
                ),
                Cell(printable(artifact.variant) if artifact else ""),
                _validity(profile.validity),
                Cell(profile.rules),
                Cell(
                    f"{count(len(profile.latencies_s))} after {count(profile.warmup_runs)}",
                    "number",
                    len(profile.latencies_s),
                ),
                Cell(printable(profile.settings.runtime), detail=printable(profile.provider_used)),
                Cell(str(profile.settings.threads), "number", profile.settings.threads),
                number(profile.import_s, ms),
                number(profile.load_s, ms),
                number(profile.first_s, ms),
                number(profile.cpu_s_per_inference, ms),
            )
        )
    rules = "; ".join(f"{name}, {rules_words(name)}" for name in RULES if name != "look")
    caption = f"One image at a time. Rules: {rules}. Inferences: after so many of warm-up."
    return ReportTable("profiles", "Measurements on the device", caption, header, tuple(rows))


def reports_table(field: Mapping[str, FieldReport], artifacts: Sequence[Artifact]) -> ReportTable | None:
    """Each measurement that came home from the field; None where none did."""
    if not field:
        return None
    by_sha256 = {artifact.sha256: f"{artifact.candidate.id} {artifact.variant}" for artifact in artifacts}
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
    rows = [
        (
            Cell(printable(Path(name).name)),
            Cell(
                printable(report.device.cpu),
                detail="emulated: its times count for nothing" if report.emulated else "",
            ),
            Cell(printable(by_sha256.get(result.artifact_sha256, result.bundle))),
            _validity(result.validity),
            Cell(result.rules),
            number(len(result.latencies_s), count),
            Cell(printable(result.runtime), detail=printable(result.provider_used)),
            Cell(str(result.threads), "number", result.threads),
            Cell(printable(report.device.os)),
            Cell(printable(_versions(report.device.python, report.device.versions))),
        )
        for name, report in field.items()
        for result in report.results
    ]
    return ReportTable(
        "reports",
        "Reports from the field",
        "What devices measured themselves, and the ranking rests on.",
        header,
        tuple(rows),
    )


def _validity(found: Validity) -> Cell:
    why = "; ".join(printable(reason) for reason in found.reasons)
    return Cell("VALID", "good") if found.valid else Cell(f"INVALID: {why}", "bad")


def rules_words(name: RulesName) -> str:
    """How long the rules measure at least: `1024 inferences and 60 s`."""
    return f"{RULES[name].queries} inferences and {RULES[name].duration_s:g} s"


def device_table(profiles: Sequence[DeviceProfile]) -> ReportTable:
    """The device that the profiles were taken on; several values where they differ."""
    facts = [profile.device for profile in profiles]
    rows: list[tuple[str, Iterable[str]]] = [
        ("processor", (fact.cpu for fact in facts)),
        (
            "architecture",
            (
                f"{fact.architecture} ({', '.join(fact.isa)})" if fact.isa else fact.architecture
                for fact in facts
            ),
        ),
        ("cores", (str(fact.cores) for fact in facts)),
        ("cores we may use", (MISSING if fact.affinity is None else str(fact.affinity) for fact in facts)),
        ("memory", (mib(fact.memory_bytes) for fact in facts)),
        ("limits of the container", (_limits(fact) for fact in facts)),
        ("GPU", (fact.gpu or "none found" for fact in facts)),
        ("governor", (fact.governor or MISSING for fact in facts)),
        (
            "on battery",
            (MISSING if fact.on_battery is None else "yes" if fact.on_battery else "no" for fact in facts),
        ),
        ("frequency", (_spread([fact.frequency_mhz for fact in facts], "MHz"),)),
        ("temperature", (_spread([fact.temperature_c for fact in facts], "°C"),)),
        ("load before", (_spread([profile.load_before for profile in profiles], ""),)),
        ("load after", (_spread([profile.load_after for profile in profiles], ""),)),
        ("time stolen by the host", (_spread([profile.steal_s for profile in profiles], "s"),)),
        ("system", (fact.os for fact in facts)),
        ("versions", (_versions(fact.python, fact.versions) for fact in facts)),
    ]
    cells = tuple((Cell(name), Cell(printable("; ".join(_unique(values))))) for name, values in rows)
    return ReportTable(
        "device",
        "Device",
        "The machine that this run measured latency and memory on.",
        ("fact", "value"),
        cells if facts else (),
        sortable=False,
    )


def _limits(fact: DeviceFacts) -> str:
    cpus = "" if fact.cgroup_cpu_limit is None else f"{significant(fact.cgroup_cpu_limit)} CPUs"
    memory = "" if fact.cgroup_memory_bytes is None else mib(fact.cgroup_memory_bytes)
    return ", ".join(part for part in (cpus, memory) if part) or "none found"


def checksums_table(artifacts: Sequence[Artifact], trained: Sequence[TrainResult]) -> ReportTable:
    """sha256 of every model file."""
    rows = [
        (Cell(printable(result.candidate.id)), Cell("PyTorch"), Cell(result.checkpoint_sha256), Cell("-"))
        for result in trained
    ]
    rows += [
        (
            Cell(printable(item.candidate.id)),
            Cell(printable(item.variant)),
            Cell(item.sha256),
            Cell(duration(item.duration_s)),
        )
        for item in artifacts
    ]
    return ReportTable(
        "checksums",
        "Model files",
        "Their sha256, and how long each export took.",
        ("candidate", "variant", "sha256", "export"),
        tuple(rows),
    )


def _unique(values: Iterable[str]) -> list[str]:
    return [value for value in dict.fromkeys(values) if value]


def _versions(python: str, versions: dict[str, str]) -> str:
    return ", ".join(
        [f"Python {python}", *(f"{name} {version}" for name, version in sorted(versions.items()))]
    )


def _spread(values: Sequence[float | None], unit: str) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return MISSING
    low, high = significant(min(known)), significant(max(known))
    return f"{low if low == high else f'{low} to {high}'} {unit}".strip()
