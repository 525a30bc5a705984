"""The figures of what quantisation changed: performance by variant, and of the first candidates ROC, calibration and confusion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pepr_edge.records import Artifact, Ranking
from pepr_edge.report import diagnostics, plots
from pepr_edge.report.figure import Figure, FigureData, Value
from pepr_edge.scoring.intervals import wilson
from pepr_edge.scoring.metrics import (
    auroc,
    calibration_gaps,
    confusion_matrix,
    expected_calibration_error,
    log_odds,
)
from pepr_edge.text.units import metric, printable, score

SHOWN = 3  # candidates
GRID = np.linspace(0, 1, 201)
AS_TRAINED = "PyTorch"
FEWEST_IN_BIN = 5  # images; of fewer the share that is right says nothing

Floats = NDArray[np.float64]
Answers = NDArray[np.floating]


@dataclass(frozen=True)
class Answered:
    """A candidate's logits on the test split, shape (n, classes): as trained, and of its files by variant, the best ranked first."""

    candidate: str
    labels: NDArray[np.int64]
    trained: Answers
    files: dict[str, Answers]

    def models(self) -> dict[str, Answers]:
        """All of them by name, as trained first."""
        return {AS_TRAINED: self.trained, **self.files}


def variants(ranking: Ranking, artifacts: Sequence[Artifact]) -> Figure:
    """Test performance of each candidate's variants, with the decisions that changed."""
    title = "What quantisation changed"
    name = ranking.performance_metric
    changes: dict[str, plots.Change] = {}
    rows: list[tuple[Value, ...]] = []
    for artifact in artifacts:
        if (found := artifact.performance.get(name)) is None:
            continue
        label, variant = printable(artifact.candidate.id), printable(artifact.variant)
        before = changes.get(label, plots.Change(label, {}, ""))
        flips = f"{artifact.flips.count}/{artifact.flips.n}" if artifact.variant != "fp32" else ""
        note = ", ".join(part for part in (before.note, flips) if part)
        changes[label] = plots.Change(label, {**before.values, variant: (found.value, found.ci)}, note)
        rows.append((label, variant, found.value, *found.ci, artifact.flips.count, artifact.flips.n))
    if not any(len(change.values) > 1 for change in changes.values()):
        return Figure(
            "variants", title, "Not drawn: no candidate has more than one variant with a test performance."
        )
    caption = (
        f"Test {metric(name)} of each ONNX file, with 95 % intervals. Right: decisions on the test split that differ from PyTorch's, "
        "fp32 left out."
    )
    alt = f"Dot plot of test {metric(name)} by variant of {len(changes)} candidates. {caption} The table below holds the same figures."
    data = FigureData(
        ("candidate", "variant", f"test_{name}", "ci_low", "ci_high", "decisions_changed", "images"),
        tuple(rows),
    )
    return Figure(
        "variants",
        title,
        caption,
        plots.variants(list(changes.values()), "variants", alt, f"test {metric(name)}"),
        data,
    )


def answers(answered: Sequence[Answered], classes: Sequence[str]) -> tuple[Figure, ...]:
    """ROC, reliability and confusion of each candidate in turn."""
    names = [printable(one) for one in classes]
    made = (
        (_roc(one, names, number), _reliability(one, number), _confusion(one, names, number))
        for number, one in enumerate(answered, 1)
    )
    return tuple(figure for figures in made for figure in figures)


def _roc(one: Answered, classes: Sequence[str], number: int) -> Figure:
    title = f"ROC of {printable(one.candidate)}, before and after"
    lines, rows = [], []
    for name, logits in one.models().items():
        x, y = _curve(logits, one.labels)
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            return Figure(f"roc_{number}", title, "Not drawn: only one class occurs in the test split.")
        area = score(auroc(logits, one.labels))
        lines.append(diagnostics.DiagnosticLine(printable(name), f"area {area}", x, y, name == AS_TRAINED))
        rows += [(name, float(a), float(b)) for a, b in zip(x, y, strict=True)]
    of = f"of {classes[1]!r}" if len(classes) == 2 else "mean of each class against the others"
    caption = (
        f"On the {len(one.labels)} test images, {of}. Area: AUROC. Dashed: the model as trained, in PyTorch."
    )
    alt = f"ROC curves of {_listed(lines)}. {caption}"
    x_label = "1 - specificity"
    drawn = diagnostics.roc(lines, f"roc_{number}", alt, "sensitivity", x_label)
    return Figure(
        f"roc_{number}",
        title,
        caption,
        drawn,
        FigureData(("model", "one_minus_specificity", "sensitivity"), tuple(rows)),
    )


def roc_curve(logits: Answers, labels: NDArray[np.int64], label: int) -> tuple[Floats, Floats]:
    """Share of the others that pass and sensitivity, at each threshold on one class's probability, from (0, 0) to (1, 1).

    NaN where no image, or every one, is of that class.
    """
    falling = -log_odds(logits, label)
    order = np.argsort(falling, kind="stable")
    last = np.append(np.flatnonzero(np.diff(falling[order])), len(order) - 1)  # of each group of equal scores
    found = np.concatenate([[0], np.cumsum(labels[order] == label)[last]])
    passed = np.concatenate([[0], last + 1]) - found
    with np.errstate(invalid="ignore"):
        return passed / passed[-1], found / found[-1]


def _listed(lines: Sequence[diagnostics.DiagnosticLine]) -> str:
    return ", ".join(f"{line.variant} ({line.summary})" for line in lines)


def _curve(logits: Answers, labels: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """The ROC curve of class 1 of two; of more classes the mean over those that occur of one against the rest."""
    if logits.shape[1] == 2:
        return roc_curve(logits, labels, 1)
    curves = [roc_curve(logits, labels, int(label)) for label in np.unique(labels)]
    return GRID, np.mean([np.interp(GRID, x, y) for x, y in curves], axis=0)


def _reliability(one: Answered, number: int) -> Figure:
    title = f"Calibration of {printable(one.candidate)}, before and after"
    lines, rows = [], []
    for name, logits in one.models().items():
        probability, member, gaps = calibration_gaps(logits, one.labels)
        images = member.sum(axis=1)
        kept = images >= FEWEST_IN_BIN
        if not kept.any():
            return Figure(
                f"reliability_{number}",
                title,
                f"Not drawn: no bin holds {FEWEST_IN_BIN} of the {len(one.labels)} test images.",
            )
        says = (member[kept] @ probability) / images[kept]
        right = np.clip(says + gaps[kept].sum(axis=1) / images[kept], 0, 1)
        ends = np.array(
            [wilson(round(share * n), round(n)) for share, n in zip(right, images[kept], strict=True)]
        )
        error = score(expected_calibration_error(logits, one.labels))
        lines.append(
            diagnostics.DiagnosticLine(
                printable(name), f"ECE {error}", says, right, name == AS_TRAINED, ends[:, 0], ends[:, 1]
            )
        )
        columns = (says.tolist(), right.tolist(), *ends.T.tolist(), images[kept].astype(int).tolist())
        rows += [(name, *values) for values in zip(*columns, strict=True)]
    caption = f"On the {len(one.labels)} test images, in bins by probability; those of fewer than {FEWEST_IN_BIN} are not drawn, but count "
    caption += "in the ECE, the expected calibration error. Below the dotted line a model is surer than it is right. Bars: 95 % intervals."
    alt = f"Reliability diagram of {_listed(lines)}. {caption}"
    data = FigureData(("model", "probability", "share_right", "ci_low", "ci_high", "images"), tuple(rows))
    return Figure(
        f"reliability_{number}",
        title,
        caption,
        diagnostics.reliability(lines, f"reliability_{number}", alt),
        data,
    )


def _confusion(one: Answered, classes: Sequence[str], number: int) -> Figure:
    """As trained, and of the file that ranks best."""
    title = f"Decisions of {printable(one.candidate)}, before and after"
    shown = list(one.models().items())[:2]
    tables = [(printable(name), confusion_matrix(logits, one.labels)) for name, logits in shown]
    caption = f"The {len(one.labels)} test images by true class and decision, shaded by the share of the true class."
    told = [f"{name}: {_told(table, classes)}." for name, table in tables]
    alt = f"Confusion matrices. {caption} {' '.join(told)}"
    rows = tuple(
        (name, classes[row], classes[column], int(table[row, column]))
        for name, table in tables
        for row, column in np.ndindex(len(classes), len(classes))
    )
    drawn = diagnostics.confusion(tables, classes, f"confusion_{number}", alt)
    return Figure(
        f"confusion_{number}",
        title,
        caption,
        drawn,
        FigureData(("model", "true_class", "decision", "images"), rows),
    )


def _told(table: NDArray[np.int64], classes: Sequence[str]) -> str:
    """How many of each class are decided rightly, in words."""
    return ", ".join(f"{table[at, at]} of {table[at].sum()} {name} right" for at, name in enumerate(classes))
