"""Targets of what `evaluate` reads and writes: the table of a site's images, and the report brought home."""

from __future__ import annotations

from pathlib import Path

import tiny_bundle

from pepr_edge.field import report_checksum
from pepr_edge.field.labelled import class_targets, finding_targets, group_columns, read_labelled
from pepr_edge.ranking import reports
from pepr_edge.ranking.sites import site_figure
from pepr_edge.records import (
    CalibrationResult,
    EvaluationReport,
    EvaluationResult,
    Figure,
    GroupResult,
    Subgroups,
)
from pepr_edge.untrusted.shown import is_plain

LABELS = ("x", "y")
TABLES = [
    b"path,label,sex,age_band\na.png,x,f,40-59\nb.png,y,m,60-79\n",
    b"sep=;\npath;label\na.png;x|y\nb.png;No Finding\n",
    b"path\tx\ty\tsplit\na.png\t1\t0\ttest\nb.png\t0.0\t1.0\ttrain\n",
    b"\xef\xbb\xbfPath,Label\r\nA.png,X\r\nb.png,y \r\n",
]


def feed_table(path: Path) -> None:
    """Read a site's table as one of a class, and of several findings, an image."""
    for name in ("a.png", "b.png"):
        path.with_name(name).touch()
    images = read_labelled(path)
    for note in images.notes:
        assert is_plain(note)
    groups = group_columns(images, [], ["sex", "age_band"])
    assert all(len(values) == len(images.paths) for values in groups.values())
    assert finding_targets(images, LABELS).shape == (len(images.paths), 2)
    if images.labels is not None and not any("|" in label for label in images.labels):
        assert class_targets(images, LABELS).shape == (len(images.paths),)


def evaluations() -> list[bytes]:
    """Return reports of evaluate: of one class, and of several findings, an image."""
    device = tiny_bundle.profile("0" * 64).device
    figure = Figure(value=0.75, ci=(0.5, 0.9))
    group = GroupResult(group="f", n=20, metrics={"accuracy": figure, "auroc": None})
    result = EvaluationResult(
        bundle="01-tiny@16-fp32",
        artifact_sha256="1" * 64,
        runtime="onnxruntime",
        task="binary",
        labels=LABELS,
        decision=None,
        n=40,
        metrics={"accuracy": figure, "auroc": None},
        confusion=((15, 5), (5, None)),
        calibration=CalibrationResult(error=figure, mean_probability=0.8, share_correct=0.7),
        subgroups=(Subgroups(column="sex", metric="accuracy", groups=(group,), hidden_groups=1),),
        notes=("A note.",),
    )
    several = result.replace(confusion=(((15, 5), (5, None)), ((9, 9), (9, 9))))
    return [
        report_checksum.with_checksum(EvaluationReport(device=device, results=(one,)))
        .model_dump_json(indent=1)
        .encode()
        for one in (result, several)
    ]


def feed_report(path: Path) -> None:
    """Read a report as `rank --field` does, and compare its figures."""
    report = reports._read(path)
    if not isinstance(report, EvaluationReport):
        return
    artifacts = {result.artifact_sha256 for result in report.results[:1]}
    labels = report.results[0].labels if report.results else ()
    if reports._evaluation_fault(report, artifacts, path.parent, labels):
        return
    for result in report.results:
        result.confusion_tables()
        for name, figure in result.metrics.items():
            if figure is not None:
                site_figure(name, figure, figure)
