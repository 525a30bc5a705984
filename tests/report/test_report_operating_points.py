"""The operating points of the first files, in a table of the report."""

from __future__ import annotations

from dataclasses import replace

import report_records as records

from pepr_edge.records import Decision, Estimate
from pepr_edge.report.html import PageFigures, _content
from pepr_edge.report.operating_points import OperatingPoint, operating_points_table
from pepr_edge.report.tables import quality

FIGURES = {
    "sensitivity_at_decision": Estimate(value=0.911, ci=(0.85, 0.96), split="test", n=56),
    "expected_calibration_error": Estimate(value=0.21, ci=(0.1, 0.3), split="test", n=156),
    "calibrated_expected_calibration_error": Estimate(value=0.04, ci=(0.0, 0.1), split="test", n=156),
}


def test_a_row_has_the_fixed_decision_and_its_figures() -> None:
    decision = Decision(
        kind="threshold", positive="sick", temperature=1.7345, threshold=0.31, target="sensitivity >= 0.90"
    )
    table = operating_points_table([OperatingPoint("net@64", "int8", decision, FIGURES)])
    assert table is not None
    assert "sensitivity >= 0.90" in table.caption
    (row,) = table.rows
    by_name = dict(zip(table.header, row, strict=True))
    assert by_name["temperature"].text == "1.73"
    assert by_name["threshold"].text == "0.310"
    assert by_name["sensitivity of its decisions"].text == "0.911"
    assert by_name["specificity of its decisions"].kind == "missing"
    assert by_name["expected calibration error"].text == "0.210"
    assert by_name["expected calibration error, calibrated"].text == "0.040"


def test_of_several_classes_there_is_no_threshold() -> None:
    table = operating_points_table([OperatingPoint("net@64", "fp32", Decision(), FIGURES)])
    assert table is not None
    assert "sensitivity of its decisions" not in table.header
    assert [len(row) for row in table.rows] == [len(table.header)]
    assert operating_points_table([]) is None


def test_grades_have_no_target() -> None:
    table = operating_points_table(
        [OperatingPoint("net@64", "fp32", Decision(kind="median", target="median"), FIGURES)]
    )
    assert table is not None
    assert "[decision]" not in table.caption


def test_a_metric_of_another_task_is_no_column() -> None:
    artifact = records.run().artifacts[0]
    artifact = artifact.replace(performance={"mean_auroc": FIGURES["sensitivity_at_decision"]})
    table = quality([artifact])
    assert table.header == ("candidate", "variant", "mean AUROC, PyTorch", "mean AUROC, ONNX file")
    assert table.rows[0][3].text == "0.911"


def test_the_report_has_the_table() -> None:
    point = OperatingPoint("net@64", "fp32", Decision(positive="sick"), FIGURES)
    report = records.report_input(records.run())
    content = _content(replace(report, operating_points=(point,)), PageFigures())
    assert content["decisions"].rows[0][0].text == "net@64"
    assert _content(report, PageFigures())["decisions"] is None
