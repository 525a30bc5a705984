"""Benchmark bundles on this device, into one report that goes home."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

from pepr_edge.device.cpu import emulated
from pepr_edge.device.facts import facts
from pepr_edge.device.interference import InterferenceMonitor
from pepr_edge.errors import BundleError, MeasurementError, OutputError
from pepr_edge.field.report_checksum import sealed
from pepr_edge.measure import selftest
from pepr_edge.measure.profile import EnergyCounter, profile
from pepr_edge.measure.rules import sustained
from pepr_edge.measure.secondary_metrics import preprocessing, thread_sweep, throughput
from pepr_edge.records import (
    BenchResult,
    DeviceProfile,
    FieldReport,
    Manifest,
    SelfTestResult,
    SessionSettings,
)
from pepr_edge.run_dir.owned import check_replaceable
from pepr_edge.run_dir.store import write_record
from pepr_edge.scoring.percentiles import percentiles
from pepr_edge.untrusted.documents import RECORD_BYTES, content

# Number of the bundle, share of it done in [0, 1], median of its latest latencies in seconds.
Progress = Callable[[int, float, float], None]

# The report is written when so much of a bundle was measured, and then at most so often. It takes CPU time, which the model needs where
# there is one core only: at most this share of it.
FIRST_S, PERIOD_S, MAX_WRITE_SHARE = 2.0, 5.0, 1 / 400


class Subject(NamedTuple):
    """A bundle to be measured: its folder, how it is to run, and whether it is its fallback that is meant."""

    folder: Path
    manifest: Manifest
    settings: SessionSettings
    fallback: bool = False


class Plan(NamedTuple):
    """What is measured of each bundle, and how.

    `rules`: how long. `paced_s`: one image every so many seconds, as in a clinic; None: each follows the last. `watts_per_core`: declared
    power of a busy core, to state the energy of an inference where no `counter` measures it. `extras`: preprocessing and throughput too.
    `sweep`: numbers of threads too.
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
    progress: Progress | None = None,
    warn: Callable[[str], None] | None = None,
    fail: Callable[[str], None] | None = None,
) -> FieldReport:
    """Test and measure each bundle. What is measured is on the disk soon, marked partial until all is done.

    Args:
        subjects: the bundles.
        plan: what is measured of each.
        out: file of the report; None: it is only returned.
        progress: called about twice a second.
        warn: called with each warning as soon as it is known, once for all bundles.
        fail: called with the reason why a bundle cannot be measured at all; the next one's turn comes. None: it is raised.
    Raises:
        BundleError, MeasurementError: a bundle cannot be measured at all, or the report not be written. The report so far stays.
        Interrupted: in place of a KeyboardInterrupt, once what was measured is in the report.
    """
    _check_writable(out)
    draft, tell = _UnfinishedReport(out), _once(warn)
    try:
        for number, subject in enumerate(subjects):
            monitor = InterferenceMonitor(subject.settings, first=number == 0, tell=tell)
            told = None if progress is None else partial(progress, number)
            draft.begin()
            try:
                for result in _stages(subject, plan, monitor, draft, told):
                    draft.put(result)
            except (BundleError, MeasurementError) as fault:
                if fail is None or isinstance(fault, UnwritableError):
                    raise
                fail(f"{subject.folder.resolve().name}: {fault}")
        draft.finish()
    except KeyboardInterrupt:
        raise Interrupted(draft.cut()) from None
    return draft.report


def _stages(
    subject: Subject,
    plan: Plan,
    monitor: InterferenceMonitor,
    draft: _UnfinishedReport,
    progress: Callable[[float, float], None] | None,
) -> Iterator[BenchResult]:
    """The result of one bundle as soon as it is whole, then again with each thing that was measured besides."""
    folder, manifest, settings, fallback = subject
    tested = selftest.run(folder, manifest, settings, fallback)
    file = selftest.file_of(folder, manifest, fallback)

    def result_of(measured: DeviceProfile) -> BenchResult:
        return to_result(folder.resolve().name, tested, fallback, monitor.warnings, measured)

    def keep(make: Callable[[], DeviceProfile]) -> None:
        monitor.check()
        draft.keep(lambda: result_of(make()))

    measured = profile(
        folder / file,
        manifest.files[file],
        settings,
        rules=plan.rules,
        input_shape=(1, *manifest.input.shape[1:]),
        watts_per_core=plan.watts_per_core,
        paced_s=plan.paced_s,
        progress=progress,
        keep=keep,
        counter=plan.counter,
    )
    monitor.end(measured)
    result = result_of(measured)
    yield result
    if plan.extras:
        more = {
            "preprocessing": preprocessing(manifest.preprocess),
            "throughput": throughput(folder / file, measured),
        }
        result = result.model_copy(update=more)
        yield result
    if plan.sweep:
        yield result.model_copy(update={"thread_sweep": thread_sweep(folder / file, measured)})


def _once(tell: Callable[[str], None] | None) -> Callable[[str], None]:
    """Tells nothing twice."""
    told: set[str] = set()

    def tell_once(words: str) -> None:
        if tell is not None and words not in told:
            tell(words)
        told.add(words)

    return tell_once


class Interrupted(KeyboardInterrupt):
    """Somebody ended it. `report` is what was written, None where nothing was."""

    def __init__(self, report: FieldReport | None) -> None:
        super().__init__()
        self.report = report


class UnwritableError(MeasurementError):
    """The report cannot be written."""


class _UnfinishedReport:
    """The report as it grows: each result once it is whole, and of the one that is being measured what there is, now and then."""

    def __init__(self, out: Path | None) -> None:
        self.report = FieldReport(emulated=emulated(), partial=True, device=facts(), results=())
        self._out, self._due_s = out, 0.0
        self._latest: Callable[[], BenchResult] | None = None
        self._done: tuple[BenchResult, ...] = ()
        self._ours = False
        self._before = None if out is None else _before(out)

    def begin(self) -> None:
        """The next bundle's turn; what was torn of the last is left out."""
        self._latest, self._done = None, self.report.results

    def keep(self, make: Callable[[], BenchResult]) -> None:
        """More was measured of a bundle that is not done. It is made into a result, and written, only where that is due."""
        if self._latest is None:
            self._due_s = max(self._due_s, time.perf_counter() + FIRST_S)
        self._latest = make
        if self._out is not None and time.perf_counter() >= self._due_s:
            try:
                self._write()
            except (
                UnwritableError
            ):  # For now: on Windows another program may be reading it. When the bundle is done it has to be.
                self._due_s = time.perf_counter() + PERIOD_S

    def put(self, result: BenchResult) -> None:
        """The result of the bundle is whole, or holds more than it did."""
        self._latest = None
        self.report = self.report.model_copy(update={"results": (*self._done, result)})
        self.report = self._write()

    def finish(self) -> None:
        """All bundles are done."""
        self._latest = None
        if self.report.results:
            self.report = self.report.model_copy(update={"partial": False})
            self.report = self._write()
            if self._before is not None:
                self._before.unlink(missing_ok=True)

    def cut(self) -> FieldReport | None:
        """Write all that there is, and return it; None where nothing was measured, or nothing is to be written."""
        if self._out is None or not (self.report.results or self._latest):
            return None
        return self._write()

    def _write(self) -> FieldReport:
        begin_s, report = time.process_time(), self.report
        if self._latest is not None:
            torn = self._latest().model_copy(update={"partial": True})
            report = report.model_copy(update={"results": (*report.results, torn)})
        report = sealed(report)
        if self._out is not None:
            self._put_aside()
            _write(self._out, report)
        self._due_s = time.perf_counter() + max(PERIOD_S, (time.process_time() - begin_s) / MAX_WRITE_SHARE)
        return report

    def _put_aside(self) -> None:
        """A whole report of before is kept beside this one until this is whole too."""
        assert self._out is not None
        assert self._before is not None
        if self._ours:
            return
        self._ours = True
        # Not there, not a report, or not to be moved: it is written over, as asked.
        with suppress(OSError, ValueError):
            if not FieldReport.model_validate_json(self._out.read_bytes()).partial:
                self._out.replace(self._before)


def check_out(out: Path | None, bundles: Sequence[Path], force: bool = False) -> None:
    """Refuse a place for the report where something would be lost.

    Args:
        out: file of the report; None: it is only returned.
        bundles: folders of the bundles that are measured.
        force: replace a file that is no report, too; a bundle's files are never replaced.
    Raises:
        OutputError: a file is there that is no report, or the place is inside a bundle.
    """
    if out is None:
        return
    for bundle in bundles:
        if bundle.resolve() in out.resolve().parents:
            raise OutputError(
                f"{out}: lies inside the bundle {bundle}, which must stay as it was made. Give another --out."
            )
    check_replaceable(out, _is_report, force)
    check_replaceable(_before(out), _is_report)


def _is_report(path: Path) -> bool:
    FieldReport.model_validate_json(content(path, RECORD_BYTES))
    return True


def _before(out: Path) -> Path:
    """Where an earlier whole report is kept until the new one is whole."""
    return out.with_name(f"{out.stem}.before{out.suffix}")


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


def _write(out: Path, report: FieldReport) -> None:
    try:
        write_record(out, report)
    except OSError as fault:
        raise _unwritable(out, fault) from None


def _unwritable(out: Path, fault: OSError) -> UnwritableError:
    return UnwritableError(f"{out}: the report cannot be written ({fault.strerror}). Give another --out.")


def to_result(
    name: str,
    tested: SelfTestResult | None,
    fallback: bool,
    warnings: tuple[str, ...],
    measured: DeviceProfile,
) -> BenchResult:
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
        warnings=warnings,
    )
