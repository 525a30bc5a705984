"""Reports that came home from devices: which of them a ranking may rest on."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from pepr_edge.errors import ScoreError
from pepr_edge.field import report_checksum
from pepr_edge.records import BenchResult, FieldReport, first_fault, other_version
from pepr_edge.run_dir.reader import Results
from pepr_edge.scoring.percentiles import percentiles
from pepr_edge.untrusted.documents import RECORD_BYTES, content, json_document


def read_reports(paths: Sequence[Path], results: Results) -> dict[str, FieldReport]:
    """Field reports by their path, in the order given.

    Raises:
        ScoreError: files that are no such reports, of another version or given twice, and those that `check` refuses: a line each.
    """
    reports: dict[str, FieldReport] = {}
    faults = []
    for path in paths:
        if str(path) in reports:
            faults.append(f"{path}: given twice. Give each report once.")
            continue
        try:
            reports[str(path)] = _read(path)
        except ScoreError as fault:
            faults.append(str(fault))
    _raise([*faults, *_faults(reports, results)])
    return reports


def check(reports: Mapping[str, FieldReport], results: Results) -> None:
    """Refuse reports that a ranking of this run cannot rest on.

    Of a report in which some results are INVALID, only the artifacts of these get no rank. The timing of an emulated machine counts for
    nothing, so it may be INVALID.

    Raises:
        ScoreError: reports that are partial, altered, of another run, INVALID throughout or there twice: a line each, with its name.
    """
    _raise(_faults(reports, results))


def _faults(reports: Mapping[str, FieldReport], results: Results) -> list[str]:
    ours = {entry.artifact.sha256 for entry in results.entries if entry.artifact}
    faults = {
        name: fault for name, report in reports.items() if (fault := _fault(report, ours, results.folder))
    }
    return [
        *(f"{name}: {fault}" for name, fault in faults.items()),
        *_twice({name: reports[name] for name in reports.keys() - faults}),
    ]


def of_artifacts(report: FieldReport, ours: Container[str]) -> list[BenchResult]:
    """The results of a report that are of these artifacts."""
    return [result for result in report.results if result.artifact_sha256 in ours]


def _raise(faults: Sequence[str]) -> None:
    if faults:
        raise ScoreError("\n".join(f"--field {fault}" for fault in faults))


def _read(path: Path) -> FieldReport:
    try:
        text = content(path, RECORD_BYTES)
        report = FieldReport.model_validate_json(text)
        json_document(text)
        return report
    except FileNotFoundError:
        raise ScoreError(f"{path}: no such file. Give the file that bench wrote on the device.") from None
    except OSError as fault:
        raise ScoreError(
            f"{path}: cannot be read ({fault.strerror}). Give the file that bench wrote on the device."
        ) from None
    except ValidationError as fault:
        if (version := other_version(fault)) is not None:
            advice = "Rank with the pepr_edge that measured, or measure with this one."
            raise ScoreError(
                f"{path}: schema_version = {version!r:.40}, this pepr_edge reads 1. {advice}"
            ) from None
        raise _no_report(path, first_fault(fault)) from None
    except ValueError as fault:
        raise _no_report(path, str(fault)) from None


def _no_report(path: Path, reason: str) -> ScoreError:
    return ScoreError(
        f"{path}: not a report of `pepr-edge bench --out` ({reason}). Give the file that bench wrote on the device."
    )


def _fault(report: FieldReport, ours: set[str], folder: Path) -> str:
    """Why a report cannot be relied on at all, in words; empty where it can."""
    if report.partial or any(result.partial for result in report.results):
        return "a partial report, its measuring was cut short. Run `pepr-edge bench` again."
    if not report_checksum.is_whole(report):
        return "altered since bench wrote it, or by an earlier pepr_edge: its checksum does not fit. Copy it again, or measure again."
    results = of_artifacts(report, ours)
    if not results:
        fallbacks = (
            " Its fallbacks are not ranked there: bench without --fallback."
            if any(one.fallback for one in report.results)
            else ""
        )
        return f"holds no artifact of {folder}. It belongs to another run.{fallbacks}"
    for result in results:
        if percentiles(result.latencies_s) != result.percentiles_s:
            return f"percentiles_s of {result.bundle} do not follow from its latencies_s. Measure again."
    if not report.emulated and not any(result.validity.valid for result in results):
        more = f" So are the other {len(results) - 1} of this run." if len(results) > 1 else ""
        return f"INVALID: {results[0].bundle}: {' '.join(results[0].validity.reasons)}{more}"
    return ""


def _twice(reports: Mapping[str, FieldReport]) -> Iterator[str]:
    """Reports that are there under two names: one device would count for two."""
    first: dict[str | None, str] = {}
    for name, report in sorted(reports.items()):
        before = first.setdefault(report.checksum, name)
        if before != name and report.checksum is not None:
            yield f"{name}: the same report as {before}. Give each report once."
