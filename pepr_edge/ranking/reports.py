"""Field reports brought home from devices, and the checks before a ranking uses them."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from pepr_edge.errors import ScoreError, SignatureError
from pepr_edge.field import report_checksum
from pepr_edge.ranking.evaluations import figures_fault
from pepr_edge.records import (
    BenchResult,
    EvaluationReport,
    FieldReport,
    first_fault,
    other_version,
    parse_record,
)
from pepr_edge.run_dir.reader import Results
from pepr_edge.scoring.percentiles import percentiles
from pepr_edge.signing import signatures
from pepr_edge.signing.key_files import Trust
from pepr_edge.untrusted.documents import json_document
from pepr_edge.untrusted.files import RECORD_BYTES
from pepr_edge.untrusted.read import read_file
from pepr_edge.untrusted.shown import shown

# Latencies are kept in nanoseconds.
CLOCK_S = 1e-9
EXPECTED_REPORT = "the file that `pepr-edge bench --out` or `evaluate --out` wrote on the device."
# What `rank --field` takes.
Report = FieldReport | EvaluationReport


def read_reports(paths: Sequence[Path], results: Results, trust: Trust | None = None) -> dict[str, Report]:
    """Read field reports, of bench and of evaluate, and return them by the names of their files.

    They are in the order given. The names stand in rankings, which may be passed on; the folders of the files
    do not.

    Args:
        paths: of the reports.
        results: of the run.
        trust: the keys of which one must have signed each report; None: a signature is not asked for.
    Raises:
        ScoreError: one line for each file that is not a report, is of another version, is given twice, is not
            signed by a trusted key, or is refused by `check`.
    """
    reports: dict[str, Report] = {}
    faults = []
    known: set[Path] = set()
    for path in paths:
        if path in known:
            faults.append(f"{shown(str(path))}: given twice. Give each report once.")
            continue
        known.add(path)
        try:
            reports[_free_name(path, reports)] = _read(path, trust)
        except ScoreError as fault:
            faults.append(str(fault))
    _raise([*faults, *_faults(reports, results)])
    return reports


def of_bench(reports: Mapping[str, Report]) -> dict[str, FieldReport]:
    """Return the reports of bench among field reports."""
    return {name: report for name, report in reports.items() if isinstance(report, FieldReport)}


def of_evaluate(reports: Mapping[str, Report]) -> dict[str, EvaluationReport]:
    """Return the reports of evaluate among field reports."""
    return {name: report for name, report in reports.items() if isinstance(report, EvaluationReport)}


def _free_name(path: Path, taken: Container[str]) -> str:
    """Return the name of a file, numbered if another report has the same."""
    name = shown(path.name)
    number = 1
    while name in taken:
        number += 1
        name = f"{shown(path.stem)}-{number}{shown(path.suffix)}"
    return name


def check(reports: Mapping[str, Report], results: Results) -> None:
    """Refuse reports that a ranking of this run cannot use.

    A report with some INVALID results is accepted; their artifacts get no rank. The timing of an emulated
    machine is not used, so it may be INVALID.

    Raises:
        ScoreError: one line for each report that is partial, altered, of another run, INVALID throughout or
            given twice.
    """
    _raise(_faults(reports, results))


def _faults(reports: Mapping[str, Report], results: Results) -> list[str]:
    artifacts = {entry.artifact.sha256 for entry in results.entries if entry.artifact}
    faults = []
    accepted = {}
    for name, report in reports.items():
        if isinstance(report, EvaluationReport):
            fault = _evaluation_fault(report, artifacts, results.folder, results.info.data.labels)
        else:
            fault = _fault(report, artifacts, results.folder)
        if fault:
            faults.append(f"{name}: {fault}")
        else:
            accepted[name] = report
    return [*faults, *_duplicates(accepted)]


def of_artifacts(report: FieldReport, artifacts: Container[str]) -> list[BenchResult]:
    """Return the results of a report for these artifacts, given by sha256."""
    return [result for result in report.results if result.artifact_sha256 in artifacts]


def _raise(faults: Sequence[str]) -> None:
    if faults:
        raise ScoreError("\n".join(f"--field {fault}" for fault in faults))


def _read(path: Path, trust: Trust | None = None) -> Report:
    text = read_file(path, RECORD_BYTES, ScoreError, EXPECTED_REPORT)
    if trust is not None:
        try:
            signatures.check(path, text, trust, signatures.REPORT)
        except SignatureError as fault:
            raise ScoreError(f"{shown(str(path))}: {fault}") from None
    try:
        document = json_document(text)
        if isinstance(document, dict) and document.get("kind") == "evaluation":
            return parse_record(text, EvaluationReport)
        return parse_record(text, FieldReport)
    except ValidationError as fault:
        version = other_version(fault)
        if version is not None:
            raise ScoreError(
                f"{shown(str(path))}: schema_version = {version!r:.40}, this pepr_edge reads 1. "
                "Rank with the pepr_edge that measured, or measure with this one."
            ) from None
        raise _no_report(path, first_fault(fault)) from None
    except ValueError as fault:
        raise _no_report(path, str(fault)) from None


def _no_report(path: Path, reason: str) -> ScoreError:
    advice = "Give the file that bench or evaluate wrote on the device."
    return ScoreError(
        f"{shown(str(path))}: not a report of `pepr-edge bench --out` or `evaluate --out` ({reason}). "
        f"{advice}"
    )


def _fault(report: FieldReport, artifacts: set[str], folder: Path) -> str:
    """Return why a report cannot be used at all; empty if it can."""
    if report.partial or any(result.partial for result in report.results):
        return "a partial report: the measurement was interrupted. Run `pepr-edge bench` again."
    if not report_checksum.is_intact(report):
        return (
            "altered since bench wrote it, or by an earlier pepr_edge: its checksum does not match. "
            "Copy it again, or measure again."
        )
    results = of_artifacts(report, artifacts)
    if not results:
        advice = ""
        if any(result.fallback for result in report.results):
            advice = " Its fallbacks are not ranked there: bench without --fallback."
        return f"holds no artifact of {folder}. It belongs to another run.{advice}"
    for result in results:
        fault = _latencies_fault(result)
        if fault:
            return fault
    if not report.emulated and not any(result.validity.valid for result in results):
        others = f" So are the other {len(results) - 1} of this run." if len(results) > 1 else ""
        return f"INVALID: {shown(results[0].bundle)}: {' '.join(results[0].validity.reasons)}{others}"
    return ""


def _evaluation_fault(
    report: EvaluationReport, artifacts: set[str], folder: Path, labels: Sequence[str]
) -> str:
    """Return why a report of evaluate cannot be used; empty if it can."""
    if not report_checksum.is_intact(report):
        return (
            "altered since evaluate wrote it: its checksum does not match. Copy it again, or evaluate again."
        )
    if not any(result.artifact_sha256 in artifacts for result in report.results):
        return f"holds no artifact of {folder}. It belongs to another run."
    fault = figures_fault(report, labels)
    return f"{fault} Evaluate again." if fault else ""


def _latencies_fault(result: BenchResult) -> str:
    """Return why the latencies of a result cannot be those that were measured; empty if they can."""
    name = shown(result.bundle)
    if any(0 < latency_s < CLOCK_S for latency_s in result.latencies_s):
        return f"latencies_s of {name} are below {CLOCK_S:g} s. Measure again."
    if percentiles(result.latencies_s) != result.percentiles_s:
        return f"percentiles_s of {name} do not follow from its latencies_s. Measure again."
    return ""


def _duplicates(reports: Mapping[str, Report]) -> Iterator[str]:
    """Yield a fault for each copy of a report under another name, since one device would count as two."""
    names: dict[str | None, str] = {}
    for name, report in sorted(reports.items()):
        first = names.setdefault(report.checksum, name)
        if first != name and report.checksum is not None:
            yield f"{name}: the same report as {first}. Give each report once."
