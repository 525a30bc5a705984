"""The predictions on validation that a ranking rests on. They are read when they are first needed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pepr_edge.errors import RunError
from pepr_edge.records import RankingRow
from pepr_edge.run_dir.reader import VariantState
from pepr_edge.scoring import robustness
from pepr_edge.scoring.intervals import resample_counts, strata
from pepr_edge.scoring.learning_curve import unselected
from pepr_edge.scoring.metrics import metric as metric_of
from pepr_edge.scoring.metrics import resampled
from pepr_edge.scoring.resampling import Counts
from pepr_edge.tasks import DEFAULT_TASK, TaskKind

Floats = NDArray[np.float64]


class Validation:
    """Logits of a run's artifacts on its validation images, with resamples that all of them share."""

    def __init__(
        self, entries: Sequence[VariantState], positive: int = 1, kind: TaskKind = DEFAULT_TASK
    ) -> None:
        """Prepare to read.

        Args:
            entries: artifacts of the run.
            positive: class number of the positive of two classes.
            kind: of task.
        """
        self.kind = kind
        self._positive = positive
        self._entries = {(entry.candidate.id, entry.variant): entry for entry in entries}
        self._logits: dict[tuple[str, str], NDArray[np.float32]] = {}
        self._labels: NDArray[np.int64] | None = None
        self._counts: dict[bytes, Counts] = {}

    @property
    def labels(self) -> NDArray[np.int64]:
        """Labels of the validation images, shape (n,); empty if no predictions were read yet."""
        return np.zeros(0, np.int64) if self._labels is None else self._labels

    def logits(self, row: RankingRow) -> NDArray[np.float32]:
        """Return the logits of a row's artifact, shape (n, classes).

        Raises:
            RunError: the file is missing or torn, or it is of other validation images than those read before.
        """
        key = row.candidate, row.variant or ""
        if key not in self._logits:
            self._logits[key] = self._read(key)
        return self._logits[key]

    def _read(self, key: tuple[str, str]) -> NDArray[np.float32]:
        predictions = self._entries[key].predictions("val")
        labels = predictions["val_labels"].astype(np.int64)
        if self._labels is None:
            self._labels = labels
        elif not np.array_equal(labels, self._labels):
            name = f"{key[0]} {key[1]}"
            raise RunError(
                f"{name}: its predictions are of other validation images than those of the other models. "
                "Run it again."
            )
        return predictions["val"]

    def selection_gain(self, metric: str, row: RankingRow) -> float:
        """Return by how much the choice of the best epoch may have raised a row's performance, at least 0.

        Epochs are compared on the same images as models. The mean over its trainings; 0 if their epochs were
        compared by another metric, or are not known.
        """
        entry = self._entries.get((row.candidate, row.variant or ""))
        if entry is None or entry.trained is None:
            return 0.0
        gains = []
        for trained in entry.repeats or (entry.trained,):
            curve = [epoch.val_performance for epoch in trained.epochs]
            if trained.performance_metric == metric and curve:
                gains.append(max(0.0, curve[trained.best_epoch - 1] - unselected(curve)))
        return sum(gains) / len(gains) if gains else 0.0

    def value(self, metric: str, logits: NDArray[np.float32]) -> float:
        """Return a metric of the validation images; NaN where undefined."""
        return metric_of(metric, self._positive, self.kind)(logits, self.labels)

    def resampled(self, metric: str, logits: NDArray[np.float32]) -> Floats:
        """Return a metric of each resample of the validation images, shape (draws,); NaN where undefined.

        All models get the same images, so differences between models are paired.
        """
        groups = strata(metric, self.labels)
        key = groups.tobytes()
        if key not in self._counts:
            self._counts[key] = resample_counts(groups, robustness.DRAWS)
        return resampled(metric, logits, self.labels, self._counts[key], self._positive, self.kind)
