"""Measurements of a run's artifacts in the field, by class of devices, and their worst case."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median, stdev
from typing import NamedTuple

from pepr_edge.ranking.reports import of_artifacts
from pepr_edge.records import BenchResult, DeviceFacts, DeviceProfile, FieldReport
from pepr_edge.run_dir.reader import Results
from pepr_edge.scoring.percentiles import early_stopping_percentile, p90_error

# The values that a device measures of an artifact, in SI units: two resources, and the energy of an
# inference.
MEMORY = "peak_memory"
FIGURES = ("latency", MEMORY, "inference_energy")
ABSENT = "not measured in the field: no report holds it. Bench its bundle too"
UNAVAILABLE = "unavailable"
# The runtime of the page of a web kit. A browser tells no page how much memory it takes.
BROWSER_RUNTIME = "onnxruntime-web"

# By sha256 of the artifact. The value is None for an artifact that was not measured at home.
HomeProfiles = Mapping[str, DeviceProfile | None]


class FieldFigure(NamedTuple):
    """A value in SI units, how it was obtained, and its standard error; None if that is not known."""

    value: float | None
    method: str
    error: float | None = None


@dataclass(frozen=True)
class FieldMeasurement:
    """What some devices measured of one artifact.

    `figures` replace the values measured at home. `unusable` is the reason why the artifact must not be used
    there; empty if it can. `warnings` are added to the row.
    """

    figures: Mapping[str, FieldFigure] = field(default_factory=dict)
    unusable: str = ""
    warnings: tuple[str, ...] = ()


# By sha256 of the artifact; an artifact that was not measured is missing.
FieldMeasurements = Mapping[str, FieldMeasurement]


@dataclass(frozen=True)
class DeviceClass:
    """Equal devices that ran the models in the same way, their reports and their measurements."""

    name: str
    reports: tuple[str, ...]
    emulated: bool
    measurements: FieldMeasurements


def device_classes(reports: Mapping[str, FieldReport], results: Results) -> tuple[DeviceClass, ...]:
    """Group reports by class of device, sorted by name. A value of a class is the median over its reports.

    Devices are of one class if they have the same processor, cores, memory (in GiB) and GPU, and ran the
    models with the settings of home, or with the same changes.
    """
    home = {entry.artifact.sha256: entry.profile for entry in results.entries if entry.artifact}
    groups: defaultdict[object, dict[str, FieldReport]] = defaultdict(dict)
    for name, report in sorted(reports.items()):
        groups[_class_key(report, home)][name] = report
    classes = [_device_class(group, home) for group in groups.values()]
    return tuple(sorted(classes, key=lambda device: (device.name, device.reports)))


def worst_case(classes: Sequence[DeviceClass]) -> FieldMeasurements:
    """Return the worst values of each artifact over all classes, for a model that serves every device."""
    worst: dict[str, FieldMeasurement] = {}
    for device in classes:
        for sha256 in device.measurements:
            if sha256 not in worst:
                worst[sha256] = _worst(sha256, classes)
    return worst


def _class_key(report: FieldReport, home: HomeProfiles) -> object:
    device = report.device
    changes: set[tuple[str, object]] = set()
    for result in of_artifacts(report, home):
        changes.update(_changes(report, result, home[result.artifact_sha256]))
    return (
        device.cpu,
        device.architecture,
        device.cores,
        _memory_gib(report),
        device.gpu,
        report.emulated,
        frozenset(changes),
    )


def _memory_gib(report: FieldReport) -> int | None:
    # Rounded, because the system reserves a part of the memory, which varies between equal devices.
    return None if report.device.memory_bytes is None else round(report.device.memory_bytes / 2**30)


def _changes(
    report: FieldReport, result: BenchResult, profile: DeviceProfile | None
) -> Iterator[tuple[str, object]]:
    """Yield the settings that a user changed from those of home, although the device supports those."""
    if profile is None or result.fallback:
        return
    device = report.device
    home = profile.settings
    if result.threads != min(home.threads, _usable_cores(device)):
        yield "threads", result.threads
    runtime = home.runtime if home.runtime in device.versions else "onnxruntime"
    if result.runtime != runtime:
        yield "runtime", result.runtime
    if result.runtime == BROWSER_RUNTIME:
        yield "provider", result.provider_used
    if device.gpu and result.settings is not None and result.settings.provider != home.provider:
        yield "provider", result.settings.provider


def _usable_cores(device: DeviceFacts) -> int:
    """Return the cores that `bench` could use there, counted as in `device.cpu.usable_cores`."""
    limit = device.cgroup_cpu_limit
    cores = device.cores if limit is None else math.ceil(limit)
    return max(1, min(device.affinity or device.cores, cores))


def _device_class(group: Mapping[str, FieldReport], home: HomeProfiles) -> DeviceClass:
    results: list[BenchResult] = []
    for report in group.values():
        results += of_artifacts(report, home)
    first = next(iter(group.values()))
    name = _class_name(first, results)
    artifacts = dict.fromkeys(result.artifact_sha256 for result in results)
    measurements = {sha256: _measurement(sha256, group, name) for sha256 in artifacts}
    return DeviceClass(name, tuple(group), first.emulated, measurements)


def _class_name(report: FieldReport, results: Sequence[BenchResult]) -> str:
    """Return the name of a class, such as `Intel Atom x5-Z8350 (x86_64, 4 cores, 2 GiB, 1 thread)`."""
    device = report.device
    memory_gib = _memory_gib(report)
    threads = sorted({result.threads for result in results})
    runtimes = sorted({result.runtime for result in results})
    parts = [device.architecture, f"{device.cores} core" if device.cores == 1 else f"{device.cores} cores"]
    if memory_gib is not None:
        parts.append(f"{memory_gib} GiB")
    parts.append("1 thread" if threads == [1] else f"{' or '.join(map(str, threads))} threads")
    if runtimes != ["onnxruntime"]:
        parts.append(" or ".join(runtimes))
    if runtimes == [BROWSER_RUNTIME]:
        parts.append(" or ".join(sorted({result.provider_used for result in results})))
    if device.gpu:
        parts.append(device.gpu.partition(",")[0])
    if report.emulated:
        parts.append("emulated")
    return f"{device.cpu} ({', '.join(parts)})"


def _measurement(sha256: str, group: Mapping[str, FieldReport], class_name: str) -> FieldMeasurement:
    """Return the measurement of an artifact by one class of devices."""
    problems: list[str] = []
    warnings: list[str] = []
    by_report = []
    is_browser = False
    for file, report in group.items():
        results = of_artifacts(report, {sha256})
        is_browser = is_browser or any(result.runtime == BROWSER_RUNTIME for result in results)
        if results:
            problems += _problems(results, report, file)
            by_report.append(_figures(results))
        for result in results:
            warnings += [f"in the field ({file}): {warning}" for warning in result.warnings]
    figures = {}
    for name in FIGURES:
        figures[name] = _combined([of_report[name] for of_report in by_report], median)
    if next(iter(group.values())).emulated:
        # The times of an emulated machine mean nothing.
        figures = {MEMORY: figures[MEMORY]} if figures[MEMORY].value is not None else {}
        warnings = [f"its latency is that of home: {class_name} is no device, so its times say nothing"]
    elif is_browser and figures[MEMORY].value is None:
        del figures[MEMORY]
        warnings.append(f"its memory is that of home: {class_name} does not tell it")
    return FieldMeasurement(figures, "; ".join(dict.fromkeys(problems)), tuple(dict.fromkeys(warnings)))


def _problems(results: Sequence[BenchResult], report: FieldReport, name: str) -> Iterator[str]:
    """Yield why an artifact must not be used on a device."""
    for result in results:
        if result.selftest is not None and not result.selftest.passed:
            yield f"its self-test failed on {report.device.cpu} ({name})"
        if not result.validity.valid and not report.emulated:
            yield f"its measurement in the field ({name}) is INVALID: {'; '.join(result.validity.reasons)}"


def _figures(results: Sequence[BenchResult]) -> dict[str, FieldFigure]:
    """Return the worst values of an artifact in one report.

    Under paced load a processor slows down between images, so only the memory counts.
    """
    latencies = []
    memories = []
    energies = []
    for result in results:
        memories.append(FieldFigure(result.peak_memory_bytes, "measured"))
        if result.scenario == "single_stream":
            latency_s = early_stopping_percentile(result.latencies_s, 0.9)
            latencies.append(FieldFigure(latency_s, "measured", p90_error(result.latencies_s)))
            energies.append(FieldFigure(result.energy_j_per_inference, result.energy_method))
    values = zip(FIGURES, (latencies, memories, energies), strict=True)
    return {name: _combined(figures, max) for name, figures in values}


def _combined(
    figures: Sequence[FieldFigure], pick: Callable[[list[float]], float], need_all: bool = False
) -> FieldFigure:
    """Combine the known values into one by `pick`; with `need_all`, into None if a value is not known.

    Values obtained by different methods, such as a counter's reading and an estimate, are not combined: None.
    """
    known = [figure.value for figure in figures if figure.value is not None]
    methods: set[str] = set()
    for figure in figures:
        methods.update(figure.method.split(" and "))
    methods.discard(UNAVAILABLE)
    if len(methods) > 1:
        return FieldFigure(None, " and ".join(sorted(methods)))
    if not known or (need_all and len(known) < len(figures)):
        return FieldFigure(None, UNAVAILABLE)
    return FieldFigure(pick(known), methods.pop(), _error(figures, known))


def _error(figures: Sequence[FieldFigure], known: Sequence[float]) -> float | None:
    """Return the standard error of combined values: the largest of theirs, or that between them."""
    errors = [figure.error for figure in figures if figure.error is not None]
    if len(known) > 1:
        errors.append(stdev(known) / math.sqrt(len(known)))
    return max(errors, default=None)


def _worst(sha256: str, classes: Sequence[DeviceClass]) -> FieldMeasurement:
    """Return the measurement of an artifact by all classes.

    An emulated machine need not have measured it, and its warnings count only if no device measured it.
    """
    found = [device.measurements[sha256] for device in classes if sha256 in device.measurements]
    real = [device for device in classes if not device.emulated]
    problems = [measurement.unusable for measurement in found if measurement.unusable]
    for device in real:
        if sha256 not in device.measurements:
            problems.append(f"not measured on {device.name}. Bench its bundle there too")
    figures = {}
    for name in FIGURES:
        values = [measurement.figures[name] for measurement in found if name in measurement.figures]
        if values:
            figures[name] = _combined(values, max, need_all=True)
    of_devices = [device.measurements[sha256] for device in real if sha256 in device.measurements]
    warnings: list[str] = []
    for measurement in of_devices or found:
        warnings += measurement.warnings
    return FieldMeasurement(figures, "; ".join(dict.fromkeys(problems)), tuple(dict.fromkeys(warnings)))
