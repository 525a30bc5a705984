"""The operating points of the first files as a table: calibration, threshold, and test figures."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pepr_edge.records import Decision, Estimate
from pepr_edge.report.tables import Cell, ReportTable, estimate_cell, number
from pepr_edge.scoring.findings import OF_FINDINGS
from pepr_edge.scoring.operating_point import AT_DECISION, CALIBRATED
from pepr_edge.scoring.refer import REFER_FIGURES
from pepr_edge.text.units import metric, printable, score


class OperatingPoint(NamedTuple):
    """A file with its decision, and its figures by name.

    `curve`: of a file that refers images, the share of answered test images, and of wrong ones among them.
    """

    candidate: str
    variant: str
    decision: Decision
    performance: dict[str, Estimate]
    curve: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None


def operating_points_table(points: Iterable[OperatingPoint]) -> ReportTable | None:
    """Return the table; None without files."""
    rows = []
    figures: tuple[str, ...] = (CALIBRATED,)
    chosen = ""
    for point in points:
        decision = point.decision
        if decision.positive is not None:
            figures = (*AT_DECISION, CALIBRATED)
        if decision.kind == "thresholds":
            figures = (*OF_FINDINGS, CALIBRATED)
        if decision.refer is not None and not set(REFER_FIGURES) <= set(figures):
            figures = (*figures, *REFER_FIGURES)
        chosen = f"[decision] target: {printable(decision.target)}."
        if decision.kind == "median":
            chosen = "Grades are decided by the median of their probabilities."
        cells = (
            Cell(printable(point.candidate)),
            Cell(printable(point.variant)),
            _temperature(decision),
            _threshold(decision),
            estimate_cell(point.performance.get("expected_calibration_error")),
        )
        rows.append((*cells, *(estimate_cell(point.performance.get(name)) for name in figures)))
    if not rows:
        return None
    header = (
        "candidate",
        "variant",
        "temperature",
        "threshold",
        "expected calibration error",
        *(metric(name) for name in figures),
    )
    caption = (
        f"{chosen} Temperature and threshold were fitted on validation; all "
        "figures are on the test images at this fixed decision, with 95 % intervals."
    )
    return ReportTable("decisions", "Operating point", caption, header, tuple(rows))


def _temperature(decision: Decision) -> Cell:
    if decision.kind == "thresholds":
        return Cell("one each", "missing")
    return number(decision.temperature, _significant)


def _threshold(decision: Decision) -> Cell:
    texts = {"argmax": "highest", "median": "median", "thresholds": "one each"}
    if decision.threshold is None:
        return Cell(texts[decision.kind], "missing")
    return number(decision.threshold, score)


def _significant(value: float) -> str:
    return f"{value:.3g}"
