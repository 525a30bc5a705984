from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import tiny_bundle
from made_records import bench, digest, entry, field_report, results

from pepr_edge.errors import ScoreError
from pepr_edge.field.report_checksum import with_checksum
from pepr_edge.ranking import rank, read_reports, sites
from pepr_edge.ranking.sites import site_figure
from pepr_edge.records import (
    CalibrationResult,
    Decision,
    EvaluationReport,
    EvaluationResult,
    Figure,
    Refer,
    Referred,
)
from pepr_edge.report.sites import sites_table
from pepr_edge.report.terminal import sites_table as sites_text
from pepr_edge.run_dir.reader import Results
from pepr_edge.run_dir.store import write_record
from pepr_edge.scoring.intervals import wilson


def figure(hits: int, n: int) -> Figure:
    return Figure(value=hits / n, ci=wilson(hits, n))


def evaluation(name: str = "small", **changes: Any) -> EvaluationReport:
    """A report of a site on which a model is right in half of the images."""
    values: dict[str, Any] = {
        "bundle": f"01-{name}",
        "artifact_sha256": digest(f"onnx {name}"),
        "runtime": "onnxruntime",
        "task": "binary",
        "labels": ("no", "yes"),
        "decision": None,
        "n": 100,
        "metrics": {"accuracy": figure(50, 100), "auroc": None},
        "confusion": ((25, 25), (25, 25)),
        "calibration": CalibrationResult(error=None, mean_probability=0.9, share_correct=0.5),
    }
    result = EvaluationResult.model_validate({**values, **changes})
    return with_checksum(EvaluationReport(device=tiny_bundle.profile("0" * 64).device, results=(result,)))


@pytest.fixture
def run(tmp_path: Path) -> Results:
    small = entry(tmp_path, "small")
    assert small.artifact is not None
    home = small.artifact.performance["val_accuracy"]
    known = {"val_accuracy": home, "accuracy": home.replace(split="test")}
    small = dataclasses.replace(small, artifact=small.artifact.replace(performance=known))
    return results(tmp_path, small, entry(tmp_path, "large"))


def test_the_interval_of_a_difference_is_newcombes() -> None:
    """Newcombe 1998, table II (a): 56 of 70 against 48 of 80, method 10."""
    compared = site_figure("accuracy", figure(48, 80), figure(56, 70))
    assert compared.difference_ci == pytest.approx((0.0524, 0.3339), abs=5e-5)
    assert not compared.worse
    assert site_figure("accuracy", figure(56, 70), figure(48, 80)).worse
    name = "calibrated_expected_calibration_error"  # lower is better
    assert site_figure(name, figure(48, 80), figure(56, 70)).worse
    assert not site_figure("accuracy", figure(56, 70), figure(52, 70)).worse


@pytest.mark.parametrize("with_bench", [False, True])
def test_what_is_worse_on_site_is_said(run: Results, with_bench: bool) -> None:
    field: dict[str, Any] = {"site.json": evaluation()}
    home = rank(run)
    if with_bench:
        field["bench.json"] = field_report(bench("small"), bench("large"))
    ranking = rank(run, field=field)
    (comparison,) = ranking.sites
    assert (comparison.report, comparison.candidate, comparison.images) == ("site.json", "small@64", 100)
    assert [(one.metric, one.worse) for one in comparison.figures] == [("accuracy", True)]
    assert len(ranking.devices) == with_bench
    assert [row.rank for row in ranking.rows] == [row.rank for row in home.rows]  # it changes no figure
    small, large = sorted(ranking.rows, key=lambda row: row.architecture, reverse=True)
    assert any("worse on site" in warning and "0.500 against 0.900" in warning for warning in small.warnings)
    assert not any("site" in warning for warning in large.warnings)
    assert "worse than at home by more than chance" in sites_text(ranking)
    table = sites_table(ranking)
    assert table is not None
    assert [cell.text for cell in table.rows[0]][-1] == "worse"
    assert sites_text(home) == ""
    assert sites_table(home) is None


def test_a_model_that_does_as_well_is_not_worse(run: Results) -> None:
    ranking = rank(run, field={"site.json": evaluation(metrics={"accuracy": figure(88, 100)})})
    assert not ranking.sites[0].figures[0].worse
    assert "not shown to be worse" in sites_text(ranking)
    ranking = rank(run, field={"site.json": evaluation(metrics={"unknown": figure(88, 100)})})
    assert "no figure" in sites_text(ranking)


DECISION = Decision(kind="thresholds", temperatures=(1.0, 2.0), thresholds=(0.3, 0.4), target="f1")


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        ({"target": "youden"}, True),  # what it was fitted for decides nothing
        ({"thresholds": (0.3, 0.5)}, False),
        ({"temperatures": (1.0, 3.0)}, False),
        ({"threshold": 0.5}, False),
        ({"refer": Refer(asked="refer_share = 0.1")}, False),
    ],
)
def test_figures_are_compared_at_the_same_decision_only(changed: dict[str, Any], same: bool) -> None:
    assert (sites._rule(DECISION) == sites._rule(DECISION.replace(**changed))) is same


REFERRED = Referred(n=10, share=None, reasons={}, metrics_of_others={})
WRONG = {
    "altered": evaluation().replace(checksum=digest("other")),
    "another run": evaluation("foreign"),
    "within its interval": evaluation(metrics={"accuracy": Figure(value=0.5, ci=(0.6, 0.7))}),
    "the same report": evaluation(),
    "in the report twice": with_checksum(
        evaluation().replace(results=evaluation().results * 2, checksum=None)
    ),
    "expected 0 to 1": evaluation(metrics={"accuracy": Figure(value=50, ci=(40, 60))}),
    "accuracy = -1": evaluation(metrics={"accuracy": Figure(value=-1, ci=(-1, 0))}),
    "= 1.5, expected 0 to 1": evaluation(metrics={"mean_absolute_error": Figure(value=1.5, ci=(1, 2))}),
    "labels are not": evaluation(labels=("yes", "no")),
    "and 101 images": evaluation(n=101),
    "and 90 images": evaluation(n=90),
    "labels and 100": evaluation(confusion=((25, 25, 50),)),
    "the labels and": evaluation(task="multilabel"),
    "200 referred": evaluation(referred=REFERRED.replace(n=200)),
    "a subgroup of more": evaluation(
        subgroups=(
            {"column": "sex", "metric": "accuracy", "groups": ({"group": "f", "n": 101, "metrics": {}},)},
        )
    ),
}
FITS: dict[str, dict[str, Any]] = {
    "hidden cells": {"n": 56, "confusion": ((50, None), (None, None))},
    "as many referred as images": {"referred": REFERRED.replace(n=100)},
    "a kappa below 0": {"metrics": {"cohen_kappa": Figure(value=-0.1, ci=(-0.3, 0.1))}},
}


@pytest.mark.parametrize("message", WRONG)
def test_unusable_reports_are_refused(run: Results, message: str, tmp_path: Path) -> None:
    write_record(tmp_path / "a.json", evaluation())
    write_record(tmp_path / "b.json", WRONG[message])
    with pytest.raises(ScoreError, match=f"--field b.json: .*{message}") as fault:
        read_reports([tmp_path / "a.json", tmp_path / "b.json"], run)
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize("name", FITS)
def test_figures_that_fit_each_other_are_used(run: Results, name: str, tmp_path: Path) -> None:
    write_record(tmp_path / "a.json", evaluation(**FITS[name]))
    assert len(read_reports([tmp_path / "a.json"], run)) == 1


def test_reports_are_read_as_they_were_written(run: Results, tmp_path: Path) -> None:
    write_record(tmp_path / "a.json", evaluation())
    assert read_reports([tmp_path / "a.json"], run) == {"a.json": evaluation()}
    text = (tmp_path / "a.json").read_text()
    for before, after in (
        ('"n": 100', '"n": 4'),
        ('"kind"', '"knd"'),
        ('"confusion": [', '"confusion": [3,'),
    ):
        (tmp_path / "b.json").write_text(text.replace(before, after, 1))
        with pytest.raises(ScoreError, match="not a report"):
            read_reports([tmp_path / "b.json"], run)
