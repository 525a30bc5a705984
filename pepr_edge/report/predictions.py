"""A candidate's logits on the test images, and curves over them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pepr_edge.scoring.metrics import log_odds
from pepr_edge.tasks import Rule, TaskKind

GRID = np.linspace(0, 1, 201)
AS_TRAINED = "PyTorch"
MIN_IN_BIN = 5  # images; with fewer, the share of correct predictions says nothing

Floats = NDArray[np.float64]
Logits = NDArray[np.floating]


@dataclass(frozen=True)
class ModelPredictions:
    """A candidate's logits on the test split, shape (n, classes).

    `trained`: of the PyTorch model. `files`: of its ONNX files by variant, best-ranked first. `kind`: of the
    task. `rule`: how the first file decides; None: not known.
    """

    candidate: str
    labels: NDArray[np.int64]
    trained: Logits
    files: dict[str, Logits]
    kind: TaskKind = "multiclass"
    rule: Rule | None = None

    def models(self) -> dict[str, Logits]:
        """Return all logits by name, those of the model as trained first."""
        return {AS_TRAINED: self.trained, **self.files}


def roc_curve(logits: Logits, labels: NDArray[np.int64], label: int) -> tuple[Floats, Floats]:
    """Return false-alarm rate and sensitivity at each threshold on a class's probability, (0, 0) to (1, 1).

    NaN if no image, or every image, is of that class.
    """
    return curve_of(-log_odds(logits, label), labels == label)


def curve_of(falling: Floats, is_positive: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Return the same curve of the negative of any score, shape (n,)."""
    order = np.argsort(falling, kind="stable")
    # Index of the last image of each group of equal scores.
    last = np.append(np.flatnonzero(np.diff(falling[order])), len(order) - 1)
    hits = np.concatenate([[0], np.cumsum(is_positive[order])[last]])
    false_alarms = np.concatenate([[0], last + 1]) - hits
    with np.errstate(invalid="ignore"):
        return false_alarms / false_alarms[-1], hits / hits[-1]
