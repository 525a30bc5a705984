"""What devices in the field measured of a run's artifacts: by class of device, and the worst over all of them."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple

from pepr_edge.ranking.reports import of_artifacts
from pepr_edge.records import BenchResult, DeviceFacts, DeviceProfile, FieldReport
from pepr_edge.run_dir.reader import Results
from pepr_edge.scoring.percentiles import early_stopping_percentile

# What a device measures of an artifact, in SI units: the two resources of deployment, and the energy of one answer.
MEMORY = "peak_memory"
FIGURES = ("latency", MEMORY, "inference_energy")
ABSENT = "not measured in the field: no report holds it. Bench its bundle too"
UNAVAILABLE = "unavailable"


class FieldFigure(NamedTuple):
    """A value in SI units and how it was obtained."""

    value: float | None
    method: str


@dataclass(frozen=True)
class FieldFindings:
    """What devices say of one artifact.

    `figures` take the place of those of home; `against` is why it must not be used there, empty where it may; `warnings` go with the row.
    """

    figures: Mapping[str, FieldFigure] = field(default_factory=dict)
    against: str = ""
    warnings: tuple[str, ...] = ()


# By sha256 of the artifact; one that is not in it was not measured.
Measured = Mapping[str, FieldFindings]


@dataclass(frozen=True)
class DeviceClass:
    """Devices that are alike and ran the models alike, the reports of them by name, and what these found."""

    name: str
    reports: tuple[str, ...]
    emulated: bool
    found: Measured


def device_classes(reports: Mapping[str, FieldReport], results: Results) -> tuple[DeviceClass, ...]:
    """Reports by class of device, sorted by its name; in a class a figure is the median over its reports.

    Alike is what has the same processor, cores, memory to a GiB and GPU, and ran the models as at home, or with the same changes.
    """
    home = {entry.artifact.sha256: entry.profile for entry in results.entries if entry.artifact}
    groups: defaultdict[object, dict[str, FieldReport]] = defaultdict(dict)
    for name, report in sorted(reports.items()):
        groups[_kind(report, home)][name] = report
    return tuple(
        sorted((_class(group, home) for group in groups.values()), key=lambda one: (one.name, one.reports))
    )


def worst_case(classes: Sequence[DeviceClass]) -> Measured:
    """The worst of each artifact's figures over all classes: a model has to serve on every device."""
    return {sha256: _worst(sha256, classes) for one in classes for sha256 in one.found}


def _kind(report: FieldReport, home: Mapping[str, DeviceProfile | None]) -> object:
    device = report.device
    changes = {
        change
        for result in of_artifacts(report, home)
        for change in _changes(report, result, home[result.artifact_sha256])
    }
    return (
        device.cpu,
        device.architecture,
        device.cores,
        _gib(report),
        device.gpu,
        report.emulated,
        frozenset(changes),
    )


def _gib(report: FieldReport) -> int | None:
    # A system keeps a part of its memory for itself, which differs between devices of one kind.
    return None if report.device.memory_bytes is None else round(report.device.memory_bytes / 2**30)


def _changes(
    report: FieldReport, result: BenchResult, profile: DeviceProfile | None
) -> Iterator[tuple[str, object]]:
    """How a model was run otherwise than at home, though the device could have run it so: somebody asked for it."""
    if profile is None or result.fallback:
        return
    device, home = report.device, profile.settings
    if result.threads != min(home.threads, _usable_cores(device)):
        yield "threads", result.threads
    if result.runtime != (home.runtime if home.runtime in device.versions else "onnxruntime"):
        yield "runtime", result.runtime
    if device.gpu and result.settings is not None and result.settings.provider != home.provider:
        yield "provider", result.settings.provider


def _usable_cores(device: DeviceFacts) -> int:
    """As `bench` counted them there (`device.cpu.usable_cores`)."""
    limit = device.cgroup_cpu_limit
    return max(1, min(device.affinity or device.cores, device.cores if limit is None else math.ceil(limit)))


def _class(group: Mapping[str, FieldReport], home: Mapping[str, DeviceProfile | None]) -> DeviceClass:
    held = {result.artifact_sha256 for report in group.values() for result in of_artifacts(report, home)}
    results = [result for report in group.values() for result in of_artifacts(report, home)]
    some = next(iter(group.values()))
    name = _name(some, results)
    return DeviceClass(
        name, tuple(group), some.emulated, {sha256: _found(sha256, group, name) for sha256 in held}
    )


def _name(report: FieldReport, results: Sequence[BenchResult]) -> str:
    """Such as `Intel Atom x5-Z8350 (x86_64, 4 cores, 2 GiB, 1 thread)`."""
    device, threads = report.device, sorted({result.threads for result in results})
    gib, runtimes = _gib(report), sorted({result.runtime for result in results})
    parts = [
        device.architecture,
        f"{device.cores} core{'s' * (device.cores != 1)}",
        *([f"{gib} GiB"] if gib is not None else []),
    ]
    parts += [f"{' or '.join(map(str, threads))} thread{'s' * (threads != [1])}"]
    parts += [" or ".join(runtimes)] if runtimes != ["onnxruntime"] else []
    parts += [device.gpu.partition(",")[0]] if device.gpu else []
    return f"{device.cpu} ({', '.join([*parts, *(['emulated'] if report.emulated else [])])})"


def _found(sha256: str, group: Mapping[str, FieldReport], name: str) -> FieldFindings:
    """What the reports of one class say of an artifact."""
    held = {file: results for file, report in group.items() if (results := of_artifacts(report, {sha256}))}
    against = [reason for file, results in held.items() for reason in _against(results, group[file], file)]
    each = [_figures(results) for results in held.values()]
    figures = {what: _pooled([figures[what] for figures in each], median) for what in FIGURES}
    warnings = [
        f"in the field ({file}): {warning}"
        for file, results in held.items()
        for one in results
        for warning in one.warnings
    ]
    if next(iter(group.values())).emulated:
        figures = {MEMORY: figures[MEMORY]} if figures[MEMORY].value is not None else {}
        warnings = [f"its latency is that of home: {name} is no device, so its times say nothing"]
    return FieldFindings(figures, "; ".join(dict.fromkeys(against)), tuple(dict.fromkeys(warnings)))


def _against(results: Sequence[BenchResult], report: FieldReport, name: str) -> Iterator[str]:
    for result in results:
        if result.selftest is not None and not result.selftest.passed:
            yield f"its self-test failed on {report.device.cpu} ({name})"
        if not result.validity.valid and not report.emulated:
            yield f"its measurement in the field ({name}) is INVALID: {'; '.join(result.validity.reasons)}"


def _figures(results: Sequence[BenchResult]) -> dict[str, FieldFigure]:
    """The worst of what one report says of an artifact. Under paced load a processor slows down between images: only its memory counts."""
    single = [result for result in results if result.scenario == "single_stream"]
    latencies = [
        FieldFigure(early_stopping_percentile(result.latencies_s, 0.9), "measured") for result in single
    ]
    memories = [FieldFigure(result.peak_memory_bytes, "measured") for result in results]
    energies = [FieldFigure(result.energy_j_per_inference, result.energy_method) for result in single]
    return {
        what: _pooled(known, max)
        for what, known in zip(FIGURES, (latencies, memories, energies), strict=True)
    }


def _pooled(
    figures: Sequence[FieldFigure], pick: Callable[[list[float]], float], every: bool = False
) -> FieldFigure:
    """One figure out of those that are known; with `every`, none where one is not known.

    The median or the worst of a counter's reading and an estimate is neither: there is none either.
    """
    known = [figure.value for figure in figures if figure.value is not None]
    methods = sorted({way for figure in figures for way in figure.method.split(" and ")} - {UNAVAILABLE})
    if len(methods) > 1:
        return FieldFigure(None, " and ".join(methods))
    if not known or (every and len(known) < len(figures)):
        return FieldFigure(None, UNAVAILABLE)
    return FieldFigure(pick(known), methods[0])


def _worst(sha256: str, classes: Sequence[DeviceClass]) -> FieldFindings:
    """What all classes say of an artifact. An emulated one need not hold it, and gives no doubt where a device was measured."""
    found = [one.found[sha256] for one in classes if sha256 in one.found]
    real = [one for one in classes if not one.emulated]
    lacking = [
        f"not measured on {one.name}. Bench its bundle there too" for one in real if sha256 not in one.found
    ]
    against = [*(one.against for one in found if one.against), *lacking]
    known = {what: [one.figures[what] for one in found if what in one.figures] for what in FIGURES}
    figures = {what: _pooled(values, max, every=True) for what, values in known.items() if values}
    doubting = [one.found[sha256] for one in real if sha256 in one.found] or found
    warnings = dict.fromkeys(doubt for one in doubting for doubt in one.warnings)
    return FieldFindings(figures, "; ".join(dict.fromkeys(against)), tuple(warnings))
