"""Figures of quantisation: performance by variant; ROC, calibration and confusion before and after export."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pepr_edge.records import Artifact, Ranking
from pepr_edge.report import diagnostics, plots
from pepr_edge.report.diagnostics import DiagnosticLine
from pepr_edge.report.figure import FigureData, ReportFigure, Value
from pepr_edge.report.findings import findings_figures
from pepr_edge.report.predictions import AS_TRAINED, GRID, MIN_IN_BIN, ModelPredictions, roc_curve
from pepr_edge.scoring.intervals import wilson
from pepr_edge.scoring.metrics import calibration_gaps, confusion, confusion_matrix
from pepr_edge.scoring.metrics import metric as metric_of
from pepr_edge.tasks import decide_by
from pepr_edge.text.units import metric, plural, printable, score

MAX_CANDIDATES = 3
FLOAT32 = "fp32"
AT_THRESHOLD = ", threshold"

Floats = NDArray[np.float64]
Logits = NDArray[np.floating]


def variants(ranking: Ranking, artifacts: Sequence[Artifact]) -> ReportFigure:
    """Return the test performance of each candidate's variants, with the decisions that changed."""
    title = "Effect of quantisation"
    name = ranking.performance_metric
    values: dict[str, dict[str, tuple[float, tuple[float, float]]]] = {}
    flips: dict[str, list[str]] = {}
    rows: list[tuple[Value, ...]] = []
    for artifact in artifacts:
        estimate = artifact.performance.get(name)
        if estimate is None:
            continue
        label = printable(artifact.candidate.id)
        variant = printable(artifact.variant)
        changed = artifact.flips
        values.setdefault(label, {})[variant] = (estimate.value, estimate.ci)
        if artifact.variant != FLOAT32:
            flips.setdefault(label, []).append(f"{changed.count}/{changed.n}")
        rows.append((label, variant, estimate.value, *estimate.ci, changed.count, changed.n))
    if all(len(by_variant) < 2 for by_variant in values.values()):
        reason = "no candidate has more than one variant with a test performance"
        return ReportFigure("variants", title, f"Not drawn: {reason}.")
    caption = (
        f"Test {metric(name)} of each ONNX file, with 95 % intervals. At the right, without fp32: the number "
        "of test images on which the file and PyTorch decide differently."
    )
    alt = (
        f"Dot plot of test {metric(name)} by variant of {plural(len(values), 'candidate')}. {caption} "
        "The table below holds the same figures."
    )
    candidates = [
        plots.VariantPerformance(label, by_variant, ", ".join(flips.get(label, [])))
        for label, by_variant in values.items()
    ]
    picture = plots.variants(candidates, "variants", alt, f"test {metric(name)}")
    header = ("candidate", "variant", f"test_{name}", "ci_low", "ci_high", "decisions_changed", "images")
    return ReportFigure("variants", title, caption, picture, FigureData(header, tuple(rows)))


def prediction_figures(
    predictions: Sequence[ModelPredictions], classes: Sequence[str], positive: int = 1
) -> tuple[ReportFigure, ...]:
    """Return ROC, reliability and confusion of each candidate in turn.

    Args:
        predictions: of each candidate.
        classes: the labels.
        positive: class number of the positive of two classes.
    """
    names = [printable(label) for label in classes]
    figures: list[ReportFigure] = []
    for number, model in enumerate(predictions, 1):
        if model.kind == "multilabel":
            figures += findings_figures(model, names, number)
            continue
        figures += [
            _roc(model, names, number, positive),
            _reliability(model, number),
            _confusion(model, names, number),
        ]
    return tuple(figures)


def _roc(model: ModelPredictions, classes: Sequence[str], number: int, positive: int) -> ReportFigure:
    name = f"roc_{number}"
    title = f"ROC of {printable(model.candidate)}, before and after export"
    lines: list[DiagnosticLine] = []
    rows: list[tuple[Value, ...]] = []
    for variant, logits in model.models().items():
        x, y = _mean_roc_curve(logits, model.labels, positive)
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            return ReportFigure(name, title, "Not drawn: the test split has only one class.")
        summary = f"area {score(metric_of('auroc')(logits, model.labels))}"
        lines.append(DiagnosticLine(printable(variant), summary, x, y, variant == AS_TRAINED))
        rows += [(variant, float(a), float(b)) for a, b in zip(x, y, strict=True)]
    which = f"of {classes[positive]!r}" if len(classes) == 2 else "mean over each class against the others"
    caption = (
        f"On the {len(model.labels)} test images, {which}. Area: AUROC. "
        "Dashed: the model as trained, in PyTorch."
    )
    alt = f"ROC curves of {_summaries(lines)}. {caption}"
    drawn = diagnostics.roc(lines, name, alt, "sensitivity", "1 - specificity")
    data = FigureData(("model", "one_minus_specificity", "sensitivity"), tuple(rows))
    return ReportFigure(name, title, caption, drawn, data)


def _mean_roc_curve(logits: Logits, labels: NDArray[np.int64], positive: int) -> tuple[Floats, Floats]:
    """Return the ROC curve of the positive of two classes; of more, the mean over each against the rest."""
    if logits.shape[1] == 2:
        return roc_curve(logits, labels, positive)
    curves = [roc_curve(logits, labels, int(label)) for label in np.unique(labels)]
    return GRID, np.mean([np.interp(GRID, x, y) for x, y in curves], axis=0)


def _summaries(lines: Sequence[DiagnosticLine]) -> str:
    return ", ".join(f"{line.variant} ({line.summary})" for line in lines)


def _reliability(model: ModelPredictions, number: int) -> ReportFigure:
    name = f"reliability_{number}"
    title = f"Calibration of {printable(model.candidate)}, before and after export"
    images = len(model.labels)
    lines: list[DiagnosticLine] = []
    rows: list[tuple[Value, ...]] = []
    for variant, logits in model.models().items():
        probability, member, gaps = calibration_gaps(logits, model.labels)
        enough = member.sum(axis=1) >= MIN_IN_BIN
        if not enough.any():
            reason = f"no bin holds {MIN_IN_BIN} of the {images} test images"
            return ReportFigure(name, title, f"Not drawn: {reason}.")
        counts = member[enough].sum(axis=1)
        predicted = (member[enough] @ probability) / counts
        correct = np.clip(predicted + gaps[enough].sum(axis=1) / counts, 0, 1)
        intervals = [wilson(round(share * n), round(n)) for share, n in zip(correct, counts, strict=True)]
        low, high = np.array(intervals).T
        summary = f"ECE {score(metric_of('expected_calibration_error')(logits, model.labels))}"
        before = variant == AS_TRAINED
        lines.append(DiagnosticLine(printable(variant), summary, predicted, correct, before, low, high))
        for row in zip(predicted, correct, low, high, counts, strict=True):
            rows.append((variant, *(float(value) for value in row[:-1]), int(row[-1])))
    caption = (
        f"On the {images} test images, in bins of probability. Bins with fewer than {MIN_IN_BIN} images are "
        "not drawn, but count in the ECE, the expected calibration error. Below the dotted line a model is "
        "more confident than it should be. Bars: 95 % intervals."
    )
    alt = f"Reliability diagram of {_summaries(lines)}. {caption}"
    header = ("model", "probability", "share_right", "ci_low", "ci_high", "images")
    drawn = diagnostics.reliability(lines, name, alt)
    return ReportFigure(name, title, caption, drawn, FigureData(header, tuple(rows)))


def _confusion(model: ModelPredictions, classes: Sequence[str], number: int) -> ReportFigure:
    """Return the confusion matrices of the model as trained and of its best-ranked file.

    Both take the more probable class. If the file has a threshold, a third one is at that threshold.
    """
    name = f"confusion_{number}"
    title = f"Decisions of {printable(model.candidate)}, before and after export"
    shown = list(model.models().items())[:2]
    tables = [
        (printable(variant), confusion_matrix(logits, model.labels, model.kind)) for variant, logits in shown
    ]
    caption = (
        f"The {len(model.labels)} test images by true and predicted class. "
        "The darker a cell, the larger its share of the true class."
    )
    if model.rule is not None and model.rule.threshold is not None and model.files:
        variant, logits = next(iter(model.files.items()))
        decisions = decide_by(logits, model.rule)
        tables.append(
            (f"{printable(variant)}{AT_THRESHOLD}", confusion(decisions, model.labels, len(classes)))
        )
        caption += (
            " predict decides as the last one, at the threshold; the others take the more probable class."
        )
    hits = " ".join(f"{variant}: {_hits(table, classes)}." for variant, table in tables)
    alt = f"Confusion matrices. {caption} {hits}"
    rows: list[tuple[Value, ...]] = []
    for variant, table in tables:
        for row, column in np.ndindex(len(classes), len(classes)):
            rows.append((variant, classes[row], classes[column], int(table[row, column])))
    drawn = diagnostics.confusion(tables, classes, name, alt)
    data = FigureData(("model", "true_class", "decision", "images"), tuple(rows))
    return ReportFigure(name, title, caption, drawn, data)


def _hits(table: NDArray[np.int64], classes: Sequence[str]) -> str:
    """Return how many images of each class are predicted correctly."""
    parts = [
        f"{table[index, index]} of {table[index].sum()} {name} correct" for index, name in enumerate(classes)
    ]
    return ", ".join(parts)
