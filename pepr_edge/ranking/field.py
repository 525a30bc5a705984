"""What devices in the field measured of a run's artifacts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pepr_edge.errors import ScoreError
from pepr_edge.field.rules import early_stopping_percentile
from pepr_edge.records import BenchResult, FieldReport
from pepr_edge.results import Results

# What a device measures of an artifact, in SI units: the two resources of deployment, and the energy of one answer.
FIGURES = ("latency", "peak_memory", "inference_energy")


@dataclass
class Measured:
    """What devices in the field said of artifacts, by sha256: the worst figures, and why one must not be used there or be trusted."""

    figures: dict[str, dict[str, float | None]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    doubts: dict[str, str] = field(default_factory=dict)
    energy_methods: dict[str, set[str]] = field(default_factory=dict)

    def of(self, sha256: str) -> tuple[dict[str, float | None], dict[str, str]]:
        """The figures of an artifact, and how each was obtained."""
        figures = self.figures.get(sha256, dict.fromkeys(FIGURES))
        methods = {name: "measured" if value is not None else "unavailable" for name, value in figures.items()}
        if figures["inference_energy"] is not None:
            how = self.energy_methods[sha256]
            methods["inference_energy"] = " and ".join(sorted(how))
            if len(how) > 1:  # the worst of a counter's reading and an estimate is neither
                figures = {**figures, "inference_energy": None}
        return figures, methods

    def reason_against(self, sha256: str) -> str:
        """Why an artifact gets no rank; empty where it may."""
        absent = "" if sha256 in self.figures else "not measured in the field: no report holds it. Bench its bundle too"
        return self.refused.get(sha256, absent)


def brought_home(reports: Mapping[str, FieldReport], results: Results) -> Measured | None:
    """The worst of each artifact's figures over all reports: a model has to serve on every device. None without reports."""
    if not reports:
        return None
    ours = {entry.artifact.sha256 for entry in results.entries if entry.artifact}
    measured = Measured()
    found = measured.figures
    for number, (name, report) in enumerate(reports.items(), start=1):
        if report.partial:
            raise ScoreError(f"{name}: a partial report, its measuring was cut short. Run `pepr-edge bench` again.")
        if not ours & {result.artifact_sha256 for result in report.results}:
            raise ScoreError(f"{name}: holds no artifact of {results.folder}. It belongs to another run.")
        for result in report.results:
            if not result.validity.valid:
                reasons = "; ".join(result.validity.reasons)
                measured.refused[result.artifact_sha256] = f"its measurement in the field ({name}) is INVALID: {reasons}"
            if result.selftest is not None and not result.selftest.passed:
                measured.refused[result.artifact_sha256] = f"its self-test failed on {report.device.cpu} ({name})"
            if report.emulated:
                measured.doubts[result.artifact_sha256] = f"measured on an emulated machine ({name}), so not as fast as a device"
            figures = _figures(result)
            if result.energy_j_per_inference is not None:
                measured.energy_methods.setdefault(result.artifact_sha256, set()).add(result.energy_method)
            # Not in an earlier report: it is not known to serve on every device.
            before = found.get(result.artifact_sha256, figures if number == 1 else {})
            found[result.artifact_sha256] = {what: _worst(figures[what], before.get(what)) for what in figures}
        seen = {result.artifact_sha256 for result in report.results}
        found |= {sha: dict.fromkeys(FIGURES) for sha in found if sha not in seen}
    return measured


def _figures(result: BenchResult) -> dict[str, float | None]:
    return {
        "latency": early_stopping_percentile(result.latencies_s, 0.9),
        "peak_memory": result.peak_memory_bytes,
        "inference_energy": result.energy_j_per_inference,
    }


def _worst(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else max(a, b)
