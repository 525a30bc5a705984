"""Benchmark bundles on this device, into one report for the workstation."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

from pepr_edge.bundle.read import bundle_around
from pepr_edge.device.cpu import emulated
from pepr_edge.device.facts import facts
from pepr_edge.device.interference import InterferenceMonitor
from pepr_edge.errors import BundleError, MeasurementError, OutputError
from pepr_edge.field.report_checksum import is_intact, with_checksum
from pepr_edge.measure import selftest
from pepr_edge.measure.bundle_model import model_file
from pepr_edge.measure.inference_process import InferenceProcess
from pepr_edge.measure.profile import EnergyCounter, profile
from pepr_edge.measure.rules import sustained
from pepr_edge.measure.secondary_metrics import preprocessing, thread_sweep, throughput
from pepr_edge.records import (
    BenchResult,
    DeviceProfile,
    EvaluationReport,
    FieldReport,
    Manifest,
    ProfileRequest,
    SelfTestResult,
    SessionSettings,
    parse_record,
)
from pepr_edge.run_dir.owned import check_replaceable
from pepr_edge.run_dir.store import write_bytes, write_record
from pepr_edge.scoring.percentiles import percentiles
from pepr_edge.signing import signatures
from pepr_edge.signing.key_files import Signer
from pepr_edge.untrusted.files import RECORD_BYTES, content
from pepr_edge.untrusted.shown import shown

# Called with the number of the bundle, the share of it done in [0, 1], and the median of its latest latencies
# in seconds.
Progress = Callable[[int, float, float], None]

# The report is written after the first seconds of a bundle, then with at least this period in between.
# Writing takes CPU time, which the model needs on a single core: at most MAX_WRITE_SHARE of it.
FIRST_WRITE_S = 2.0
WRITE_PERIOD_S = 5.0
MAX_WRITE_SHARE = 1 / 400

# Fields of a profile that a result holds unchanged. Its energy is a number there, not a quantity.
PROFILE_FIELDS = (BenchResult.model_fields.keys() & DeviceProfile.model_fields.keys()) - {
    "energy_j_per_inference"
}


class Subject(NamedTuple):
    """A bundle to be measured, with its runtime settings. `fallback`: measure its fallback instead."""

    folder: Path
    manifest: Manifest
    settings: SessionSettings
    fallback: bool = False


class Plan(NamedTuple):
    """What is measured of each bundle, and how.

    `rules`: how long. `paced_s`: seconds from the start of one image to the next, as in a clinic; None: each
    follows the last. `watts_per_core`: declared power of a busy core, for the energy of an inference if no
    `counter` measures it. `extras`: also preprocessing and throughput. `sweep`: also other numbers of
    threads.
    """

    rules: Literal["full", "quick"] = "full"
    paced_s: float | None = None
    watts_per_core: float | None = None
    extras: bool = False
    sweep: bool = False
    counter: EnergyCounter | None = None


def bench(
    subjects: Sequence[Subject],
    plan: Plan,
    *,
    out: Path | None = None,
    force: bool = False,
    signer: Signer | None = None,
    progress: Progress | None = None,
    warn: Callable[[str], None] | None = None,
    fail: Callable[[str], None] | None = None,
) -> FieldReport:
    """Test and measure each bundle. The report is written while it grows, marked partial until all is done.

    Args:
        subjects: the bundles.
        plan: what is measured of each.
        out: file of the report; None: it is only returned.
        force: also replace a file that is not a report.
        signer: signs the complete report, into OUT.sig; a partial one is never signed. None: nobody does.
        progress: called about twice a second.
        warn: called with each warning as soon as it is known, once for all bundles.
        fail: called with the reason if a bundle cannot be measured; the next bundle follows. None: it is
            raised.
    Raises:
        BundleError, MeasurementError: a bundle cannot be measured, or the report cannot be written. The
            report so far stays.
        Interrupted: in place of a KeyboardInterrupt, after all that was measured is in the report.
    """
    _check_writable(out)
    writer = _ReportWriter(out, force, signer)
    warn_once = _once(warn)
    try:
        for number, subject in enumerate(subjects):
            monitor = InterferenceMonitor(subject.settings, first=number == 0, warn=warn_once)
            on_progress = None if progress is None else partial(progress, number)
            writer.begin_bundle()
            try:
                for result in _measure(subject, plan, monitor, writer, on_progress):
                    writer.put(result)
            except (BundleError, MeasurementError) as error:
                if fail is None or isinstance(error, UnwritableError):
                    raise
                fail(f"{shown(subject.folder.resolve().name)}: {error}")
        writer.finish()
    except KeyboardInterrupt:
        raise Interrupted(writer.cut_short()) from None
    return writer.report


def _measure(
    subject: Subject,
    plan: Plan,
    monitor: InterferenceMonitor,
    writer: _ReportWriter,
    progress: Callable[[float, float], None] | None,
) -> Iterator[BenchResult]:
    """Yield the result of one bundle when it is complete, then again with each secondary metric."""
    folder, manifest, settings, fallback = subject
    with InferenceProcess() as process:
        # Ended before anything is measured: its memory is needed.
        tested = selftest.run(folder, manifest, settings, fallback, process)
    file = model_file(folder, manifest, fallback)

    def to_result(measured: DeviceProfile) -> BenchResult:
        return bench_result(shown(folder.resolve().name), measured, tested, fallback, monitor.warnings)

    def on_partial(make_profile: Callable[[], DeviceProfile]) -> None:
        monitor.check()
        writer.update(lambda: to_result(make_profile()))

    request = ProfileRequest(
        sha256=manifest.files[file],
        settings=settings,
        rules=plan.rules,
        input_shape=(1, *manifest.input.shape[1:]),
        watts_per_core=plan.watts_per_core,
        paced_s=plan.paced_s,
    )
    measured = profile(folder / file, request, progress, on_partial=on_partial, counter=plan.counter)
    monitor.end(measured)
    result = to_result(measured)
    yield result
    if plan.extras:
        metrics = {
            "preprocessing": preprocessing(manifest.preprocess),
            "throughput": throughput(folder / file, measured),
        }
        result = result.model_copy(update=metrics)
        yield result
    if plan.sweep:
        yield result.model_copy(update={"thread_sweep": thread_sweep(folder / file, measured)})


def bench_result(
    bundle: str,
    measured: DeviceProfile,
    tested: SelfTestResult | None,
    fallback: bool,
    warnings: tuple[str, ...],
) -> BenchResult:
    """Return a profile as a report holds it. `bundle` is the name of the folder, without its path."""
    return BenchResult(
        bundle=bundle,
        runtime=measured.settings.runtime,
        threads=measured.settings.threads,
        percentiles_s=percentiles(measured.latencies_s),
        sustained=sustained(measured.latencies_s),
        energy_j_per_inference=measured.energy_j_per_inference.value,
        energy_method=measured.energy_j_per_inference.method,
        selftest=tested,
        fallback=fallback,
        warnings=warnings,
        **{name: getattr(measured, name) for name in PROFILE_FIELDS},
    )


def _once(warn: Callable[[str], None] | None) -> Callable[[str], None]:
    """Return a function that passes each message on once."""
    known: set[str] = set()

    def warn_once(message: str) -> None:
        if warn is not None and message not in known:
            warn(message)
        known.add(message)

    return warn_once


class Interrupted(KeyboardInterrupt):
    """The user ended the bench. `report` is the report that was written, None if nothing was."""

    def __init__(self, report: FieldReport | None) -> None:
        super().__init__()
        self.report = report


class UnwritableError(MeasurementError):
    """The report cannot be written."""


class _ReportWriter:
    """The growing report: complete results, and from time to time the partial result of the current bundle.

    A complete report of an earlier bench in the same place, with its signature, is kept as a backup until
    this one is complete.
    """

    def __init__(self, out: Path | None, force: bool, signer: Signer | None) -> None:
        self.report = FieldReport(emulated=emulated(), partial=True, device=facts(), results=())
        self._out = out
        self._force = force
        self._signer = signer
        self._results_before: tuple[BenchResult, ...] = ()
        self._make_partial: Callable[[], BenchResult] | None = None
        self._next_write_s = 0.0
        self._is_first_write = True
        self._backup: Path | None = None

    def begin_bundle(self) -> None:
        """Start the next bundle. The partial result of a bundle that failed is dropped."""
        self._results_before = self.report.results
        self._make_partial = None

    def update(self, make_partial: Callable[[], BenchResult]) -> None:
        """Take a new partial result. It is made and written only if the next write is due."""
        if self._make_partial is None:
            self._next_write_s = max(self._next_write_s, time.perf_counter() + FIRST_WRITE_S)
        self._make_partial = make_partial
        if self._out is None or time.perf_counter() < self._next_write_s:
            return
        try:
            self._write()
        except UnwritableError:
            # On Windows another program may be reading the file. The write at the end of the bundle must
            # succeed.
            self._next_write_s = time.perf_counter() + WRITE_PERIOD_S

    def put(self, result: BenchResult) -> None:
        """Take a complete result of the current bundle, in place of the one before."""
        self._make_partial = None
        self.report = self.report.model_copy(update={"results": (*self._results_before, result)})
        self.report = self._write()

    def finish(self) -> None:
        """Write the complete report, and delete the backup."""
        self._make_partial = None
        if not self.report.results:
            return
        self.report = self.report.model_copy(update={"partial": False})
        self.report = self._write()
        self._sign()
        if self._backup is not None:
            self._backup.unlink(missing_ok=True)
            signatures.signature_path(self._backup).unlink(missing_ok=True)

    def _sign(self) -> None:
        """Sign the file as it was written."""
        if self._signer is None or self._out is None:
            return
        path = signatures.signature_path(self._out)
        try:
            text = content(self._out, RECORD_BYTES)
            write_bytes(path, signatures.sign(text, self._signer, signatures.REPORT))
        except OSError as error:
            raise _unwritable(path, error) from None

    def cut_short(self) -> FieldReport | None:
        """Write and return all results so far; None if nothing was measured or the report has no file."""
        if self._out is None or (not self.report.results and self._make_partial is None):
            return None
        return self._write()

    def _write(self) -> FieldReport:
        """Write the report with its checksum, and decide when the next write is due."""
        begin_s = time.process_time()
        report = self.report
        if self._make_partial is not None:
            result = self._make_partial().model_copy(update={"partial": True})
            report = report.model_copy(update={"results": (*report.results, result)})
        report = with_checksum(report)
        if self._out is not None:
            self._back_up(self._out)
            try:
                write_record(self._out, report)
            except OSError as error:
                raise _unwritable(self._out, error) from None
        rest_s = (time.process_time() - begin_s) / MAX_WRITE_SHARE
        self._next_write_s = time.perf_counter() + max(WRITE_PERIOD_S, rest_s)
        return report

    def _back_up(self, out: Path) -> None:
        """Move a complete report of an earlier bench to a free name, before the first write."""
        if not self._is_first_write:
            return
        self._is_first_write = False
        check_replaceable(out, _is_report, self._force)  # again: measuring takes its time
        with suppress(OSError, ValueError):
            if not parse_record(content(out, RECORD_BYTES), FieldReport).partial:
                backup = _free_backup(out)
                out.rename(backup)
                self._backup = backup
                signature = signatures.signature_path(out)
                if signatures.is_signature(signature):
                    signature.rename(signatures.signature_path(backup))


def check_out(
    out: Path | None,
    bundles: Sequence[Path],
    force: bool = False,
    signed: bool = False,
    kind: type[FieldReport | EvaluationReport] = FieldReport,
) -> None:
    """Refuse a place for the report if another file would be lost.

    Args:
        out: file of the report; None: it is only returned.
        bundles: folders of the bundles that are measured.
        force: also replace a file that is not a report. Files of a bundle are never replaced.
        signed: a signature is written beside it.
        kind: the kind of report that is written; it replaces no other.
    Raises:
        OutputError: a file there is not an unchanged report, that at the place of its signature is none, or
            the place is inside a bundle.
    """
    if out is None:
        return
    measured = {bundle.resolve() for bundle in bundles}
    folder = bundle_around(out) or next((part for part in out.resolve().parents if part in measured), None)
    if folder is not None:
        raise OutputError(
            f"{out}: lies inside the bundle {folder.name}, which must not change. Give another --out."
        )
    check_replaceable(out, partial(_is_report, kind=kind), force)
    if signed:
        check_replaceable(signatures.signature_path(out), signatures.is_signature, force)


def _is_report(path: Path, kind: type[FieldReport | EvaluationReport] = FieldReport) -> bool:
    return is_intact(parse_record(content(path, RECORD_BYTES), kind))


def _free_backup(out: Path) -> Path:
    """Return a free name for an earlier complete report, which is kept until the new one is complete."""
    number = 1
    backup = out.with_name(f"{out.stem}.before{out.suffix}")
    while os.path.lexists(backup) or os.path.lexists(signatures.signature_path(backup)):
        number += 1
        backup = out.with_name(f"{out.stem}.before-{number}{out.suffix}")
    return backup


def _check_writable(out: Path | None) -> None:
    """Raise an error before an hour of measuring if the report cannot be written. No empty file is left."""
    if out is None:
        return
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out.parent):
            pass
    except OSError as error:
        raise _unwritable(out, error) from None


def _unwritable(out: Path, error: OSError) -> UnwritableError:
    return UnwritableError(f"{out}: the report cannot be written ({error.strerror}). Give another --out.")
