"""Figures of models that give several findings an image: ROC, calibration, and each finding by itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pepr_edge.report import diagnostics, plots
from pepr_edge.report.diagnostics import DiagnosticLine
from pepr_edge.report.figure import FigureData, ReportFigure, Value
from pepr_edge.report.predictions import AS_TRAINED, GRID, MIN_IN_BIN, ModelPredictions, curve_of
from pepr_edge.scoring.intervals import lowest_perfect, resample_counts, wilson
from pepr_edge.scoring.metrics import metric as metric_of
from pepr_edge.scoring.multilabel_metrics import auroc_of
from pepr_edge.scoring.resampling import BINS
from pepr_edge.tasks import multilabel
from pepr_edge.text.units import count, printable, score

Floats = NDArray[np.float64]
RESAMPLES = 200


def findings_figures(
    model: ModelPredictions, findings: Sequence[str], number: int
) -> tuple[ReportFigure, ...]:
    """Return ROC, reliability, and the area under the ROC curve of each finding.

    Args:
        model: logits and labels of shape (n, findings).
        findings: their names.
        number: of the candidate, from 1.
    """
    return _roc(model, number), _reliability(model, number), _by_finding(model, findings, number)


def _roc(model: ModelPredictions, number: int) -> ReportFigure:
    name = f"roc_{number}"
    title = f"ROC of {printable(model.candidate)}, before and after export"
    lines: list[DiagnosticLine] = []
    rows: list[tuple[Value, ...]] = []
    known = _known(model.labels)
    if not known:
        return ReportFigure(name, title, "Not drawn: no finding is in some test images and not in others.")
    for variant, logits in model.models().items():
        curves = [
            curve_of(-logits[:, finding].astype(np.float64), model.labels[:, finding] == 1)
            for finding in known
        ]
        y = np.mean([np.interp(GRID, x, sensitivity) for x, sensitivity in curves], axis=0)
        area = metric_of("mean_auroc", kind="multilabel")(logits, model.labels)
        summary = f"area {score(area)}"
        lines.append(DiagnosticLine(printable(variant), summary, GRID, y, variant == AS_TRAINED))
        rows += [(variant, float(a), float(b)) for a, b in zip(GRID, y, strict=True)]
    caption = (
        f"On the {len(model.labels)} test images, mean over {len(known)} findings. Area: mean AUROC. "
        "Dashed: the model as trained, in PyTorch."
    )
    alt = f"ROC curves of {_summaries(lines)}. {caption}"
    drawn = diagnostics.roc(lines, name, alt, "sensitivity", "1 - specificity")
    data = FigureData(("model", "one_minus_specificity", "sensitivity"), tuple(rows))
    return ReportFigure(name, title, caption, drawn, data)


def _known(labels: NDArray[np.int64]) -> list[int]:
    """Return the findings that some images have, and some have not."""
    counts = labels.sum(axis=0)
    return [int(finding) for finding in np.flatnonzero((counts > 0) & (counts < len(labels)))]


def _summaries(lines: Sequence[DiagnosticLine]) -> str:
    return ", ".join(f"{line.variant} ({line.summary})" for line in lines)


def _reliability(model: ModelPredictions, number: int) -> ReportFigure:
    name = f"reliability_{number}"
    title = f"Calibration of {printable(model.candidate)}, before and after export"
    lines: list[DiagnosticLine] = []
    rows: list[tuple[Value, ...]] = []
    for variant, logits in model.models().items():
        drawn_bins = _bins(logits, model.labels)
        if not drawn_bins:
            return ReportFigure(name, title, f"Not drawn: no bin holds {MIN_IN_BIN} answers.")
        predicted, present, low, high, _ = np.array(drawn_bins).T
        error = metric_of("expected_calibration_error", kind="multilabel")(logits, model.labels)
        before = variant == AS_TRAINED
        summary = f"ECE {score(error)}"
        lines.append(DiagnosticLine(printable(variant), summary, predicted, present, before, low, high))
        for row in drawn_bins:
            rows.append((variant, *row[:-1], int(row[-1])))
    caption = (
        f"On the {len(model.labels)} test images and all findings, in bins of probability: how often a "
        f"finding is there. Bins with fewer than {MIN_IN_BIN} answers are not drawn, but count in the ECE, "
        "the expected calibration error. Below the dotted line a model names a finding too readily."
    )
    alt = f"Reliability diagram of {_summaries(lines)}. {caption}"
    header = ("model", "probability", "share_present", "ci_low", "ci_high", "answers")
    drawn = diagnostics.reliability(
        lines, name, alt, x_label="probability of a finding", y_label="share in which it is there"
    )
    return ReportFigure(name, title, caption, drawn, FigureData(header, tuple(rows)))


def _bins(logits: NDArray[np.floating], labels: NDArray[np.int64]) -> list[tuple[float, ...]]:
    """Return mean probability, share present with interval, and number of answers of each bin with enough."""
    probability = multilabel.probabilities(logits).ravel()
    present = labels.ravel()
    bins = np.searchsorted(np.arange(1, BINS) / BINS, probability)
    found: list[tuple[float, ...]] = []
    for number in range(BINS):
        members = bins == number
        n = int(members.sum())
        if n >= MIN_IN_BIN:
            hits = int(present[members].sum())
            found.append((float(probability[members].mean()), hits / n, *wilson(hits, n), float(n)))
    return found


def _by_finding(model: ModelPredictions, findings: Sequence[str], number: int) -> ReportFigure:
    name = f"findings_{number}"
    title = f"Each finding of {printable(model.candidate)}"
    counts = resample_counts(np.zeros(len(model.labels), np.int64), RESAMPLES).T
    once = np.ones((len(model.labels), 1), np.uint8)
    rows: list[tuple[Value, ...]] = []
    drawn = []
    for finding in _known(model.labels):
        is_present = model.labels[:, finding] == 1
        images = int(is_present.sum())
        values = {}
        for variant, logits in list(model.models().items())[:2]:
            area = auroc_of(logits[:, finding], is_present)
            value = float(area(once)[0])
            low, high = np.nanquantile(area(counts), [0.025, 0.975])
            if low == high == value == 1:
                low = lowest_perfect("auroc", model.labels[:, finding])
            ci = min(float(low), value), max(float(high), value)
            values[printable(variant)] = (value, ci)
            rows.append((findings[finding], variant, value, *ci, images))
        drawn.append(plots.VariantPerformance(findings[finding], values, count(images)))
    if not drawn:
        return ReportFigure(name, title, "Not drawn: no finding is in some test images and not in others.")
    caption = (
        "Test AUROC of each finding, with 95 % intervals, of the model as trained and of its best-ranked "
        "file. At the right: the number of test images that have the finding."
    )
    alt = f"Dot plot of test AUROC by finding. {caption} The table below holds the same figures."
    picture = plots.variants(drawn, name, alt, "test AUROC")
    header = ("finding", "model", "test_auroc", "ci_low", "ci_high", "images")
    return ReportFigure(name, title, caption, picture, FigureData(header, tuple(rows)))
