"""Benchmark bundles on this device, into one report that goes home."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

from pepr_edge.errors import MeasurementError
from pepr_edge.field import selftest
from pepr_edge.field.cpu import emulated
from pepr_edge.field.facts import facts
from pepr_edge.field.profile import profile
from pepr_edge.field.rules import percentiles, sustained
from pepr_edge.field.seal import sealed
from pepr_edge.records import BenchResult, DeviceProfile, FieldReport, Manifest, SelfTestResult, SessionSettings
from pepr_edge.store import write_record

# Number of the bundle, share of it done in [0, 1], median of its latest latencies in seconds.
Progress = Callable[[int, float, float], None]


class Subject(NamedTuple):
    """A bundle to be measured: its folder, how it is to run, and whether it is its fallback that is meant."""

    folder: Path
    manifest: Manifest
    settings: SessionSettings
    fallback: bool = False


def bench(
    subjects: Sequence[Subject],
    *,
    rules: Literal["full", "quick"],
    paced_s: float | None = None,
    watts_per_core: float | None = None,
    out: Path | None = None,
    progress: Progress | None = None,
) -> FieldReport:
    """Test and measure each bundle. What is measured is on the disk at once, marked partial until all are done.

    Args:
        subjects: the bundles.
        rules: how long to measure.
        paced_s: one image every so many seconds, as in a clinic; None: each follows the last.
        watts_per_core: declared power of a busy core, to state the energy of an inference.
        out: file of the report; None: it is only returned.
        progress: called about twice a second.
    Raises:
        BundleError, MeasurementError: a bundle cannot be measured at all, or the report not be written. The report so far stays.
    """
    _check_writable(out)
    report = FieldReport(emulated=emulated(), partial=True, device=facts(), results=())
    for number, (folder, manifest, settings, fallback) in enumerate(subjects):
        tested = selftest.run(folder, manifest, settings, fallback)
        file = selftest.file_of(folder, manifest, fallback)
        measured = profile(
            folder / file,
            manifest.files[file],
            settings,
            rules=rules,
            input_shape=(1, *manifest.input.shape[1:]),
            watts_per_core=watts_per_core,
            paced_s=paced_s,
            progress=None if progress is None else partial(progress, number),
        )
        results = (*report.results, to_result(folder.resolve().name, measured, tested, fallback))
        report = sealed(report.model_copy(update={"results": results, "partial": len(results) < len(subjects)}))
        _write(out, report)
    return report


def _check_writable(out: Path | None) -> None:
    """That a report cannot be written is said before an hour of measuring, and leaves none that is empty."""
    if out is None:
        return
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out.parent):
            pass
    except OSError as fault:
        raise _unwritable(out, fault) from None


def _write(out: Path | None, report: FieldReport) -> None:
    if out is None:
        return
    try:
        write_record(out, report)
    except OSError as fault:
        raise _unwritable(out, fault) from None


def _unwritable(out: Path, fault: OSError) -> MeasurementError:
    return MeasurementError(f"{out}: the report cannot be written ({fault.strerror}). Give another --out.")


def to_result(name: str, measured: DeviceProfile, tested: SelfTestResult | None, fallback: bool = False) -> BenchResult:
    """A profile as a report holds it. `name` is the folder's own, without the path to it."""
    return BenchResult(
        bundle=name,
        artifact_sha256=measured.artifact_sha256,
        runtime=measured.settings.runtime,
        provider_used=measured.provider_used,
        threads=measured.settings.threads,
        scenario=measured.scenario,
        rules=measured.rules,
        validity=measured.validity,
        latencies_s=measured.latencies_s,
        percentiles_s=percentiles(measured.latencies_s),
        import_s=measured.import_s,
        load_s=measured.load_s,
        first_s=measured.first_s,
        peak_memory_bytes=measured.peak_memory_bytes,
        memory_stages_bytes=measured.memory_stages_bytes,
        cpu_s_per_inference=measured.cpu_s_per_inference,
        energy_j_per_inference=measured.energy_j_per_inference.value,
        energy_method=measured.energy_j_per_inference.method,
        selftest=tested,
        settings=measured.settings,
        paced_s=measured.paced_s,
        warmup_runs=measured.warmup_runs,
        load_before=measured.load_before,
        load_after=measured.load_after,
        steal_s=measured.steal_s,
        fallback=fallback,
        sustained=sustained(measured.latencies_s),
    )
