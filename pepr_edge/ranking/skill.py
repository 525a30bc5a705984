"""Skill: whether a model is shown to beat models that look at no image.

PePR would rank a cheap model that has learnt nothing before a good one: the majority-class baseline costs
nothing, so its PePR is its whole performance. A model without skill therefore gets no rank.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pepr_edge.ranking.validation import Validation
from pepr_edge.records import DataInfo, RankingRow
from pepr_edge.scoring.chance import above_chance, paired_test, sign_test
from pepr_edge.scoring.intervals import wilson
from pepr_edge.scoring.metrics import DECISION_METRICS, guessing_level, metric
from pepr_edge.tasks import DEFAULT_TASK, TaskKind, task_of
from pepr_edge.text.sentences import TOO_FEW
from pepr_edge.text.units import metric as metric_name
from pepr_edge.text.units import printable, score

# One-sided level of the tests.
LEVEL = 0.05
# The area under the ROC curve of guesses.
GUESSING = 0.5


@dataclass(frozen=True)
class ConstantModel:
    """The model that always makes the same decision: the best of them by the metric of a ranking.

    `logits` have the shape (1, classes). `label` is the class number, `performance` its value on validation.
    """

    label: int
    logits: NDArray[np.floating]
    performance: float


def best_constant(
    name: str,
    class_counts: Sequence[int],
    labels: NDArray[np.int64],
    positive: int = 1,
    kind: TaskKind = DEFAULT_TASK,
    images: int = 0,
) -> ConstantModel | None:
    """Return the best model that always makes the same decision; None if the metric is undefined for all.

    It decides for the most frequent class of training, or another one that is better by this metric, such as
    F1, which is of one class alone.

    Args:
        name: the metric.
        class_counts: training images of each class.
        labels: of validation, shape (n,).
        positive: class number of the positive of two classes.
        kind: of task.
        images: number of training images.
    """
    best = None
    for label, logits in task_of(kind).constant_logits(class_counts, images).items():
        performance = metric(name, positive, kind)(np.repeat(logits, len(labels), axis=0), labels)
        if not np.isnan(performance) and (best is None or performance > best.performance):
            best = ConstantModel(label, logits, performance)
    return best


def constant_name(label: int, data: DataInfo) -> str:
    """Return the answer of a constant model by its class number."""
    if data.kind == "multilabel":
        return "frequencies"
    return data.labels[label]


class SkillCheck:
    """Compares the rows of a ranking with the best constant model and with chance, on validation."""

    def __init__(self, name: str, data: DataInfo, validation: Validation, floor: float | None) -> None:
        """Prepare the check.

        Args:
            name: the metric of the ranking.
            data: of the run.
            validation: predictions of its artifacts.
            floor: the min performance that the recipe asks for; None: no such limit.
        """
        self._name = name
        self._data = data
        self._validation = validation
        self._floor = floor
        self._reasons: dict[str, str] = {}
        self._baseline: ConstantModel | None = None

    def baseline(self) -> ConstantModel | None:
        """Return the best constant model; None if no predictions were read, or training is not described."""
        labels = self._validation.labels
        if not labels.size or "train" not in self._data.splits:
            return None
        if self._name in DECISION_METRICS:
            return None  # one that always says positive finds all: only both figures together show skill
        if self._baseline is None:
            data = self._data
            train = data.splits["train"]
            self._baseline = best_constant(
                self._name, train.class_counts, labels, data.positive_index, data.kind, train.images
            )
        return self._baseline

    def reason(self, row: RankingRow) -> str:
        """Return why a row has no skill, empty if it is shown to have skill.

        Raises:
            RunError: its predictions cannot be read.
        """
        key = f"{row.candidate} {row.variant}"
        if key not in self._reasons:
            self._reasons[key] = self._compare(row)
        return self._reasons[key]

    def margin(self, row: RankingRow) -> float:
        """Return by how much a row's performance is above the least that shows skill.

        It is infinite without such a limit, and at most 0 for a row without skill. The comparison with
        chance is not part of it.

        Raises:
            RunError: its predictions cannot be read.
        """
        margin = math.inf
        baseline = self.baseline()
        if row.performance is not None:
            if baseline is not None:
                low = (row.performance_ci or (row.performance,))[0]
                margin = low - self._validation.selection_gain(self._name, row) - self._level(baseline)
            if self._floor is not None:
                margin = min(margin, row.performance - self._floor)
        return min(margin, 0.0) if self.reason(row) else margin

    def _level(self, baseline: ConstantModel) -> float:
        """Return what a model without skill reaches at most."""
        return max(baseline.performance, guessing_level(self._name) or 0.0)

    def _compare(self, row: RankingRow) -> str:
        logits = self._validation.logits(row)
        parts = [self._against_baseline(row, logits), self._against_chance(logits), self._against_floor(row)]
        return "; ".join(part for part in parts if part)

    def _against_baseline(self, row: RankingRow, logits: NDArray[np.float32]) -> str:
        baseline = self.baseline()
        if baseline is None or row.performance is None:
            return ""
        level = self._level(baseline)
        low, high = row.performance_ci or (row.performance, row.performance)
        gain = self._validation.selection_gain(self._name, row)
        is_above = low > level
        is_better = is_above and self._is_better(logits, baseline)
        if is_better and low - gain > level:
            return ""
        # The interval alone may suggest that it does.
        shown = "not shown by a paired test" if is_above and not is_better else "not shown"
        label = repr(printable(constant_name(baseline.label, self._data)))
        value = f"validation {metric_name(self._name)} {score(row.performance)}"
        interval = f"(95 % interval {score(low)} to {score(high)})"
        reason = f"{shown} to beat always predicting {label}, {score(level)}: {value} {interval}"
        if is_better:
            reason += f" in the best epoch, {score(row.performance - gain)} in the last ones"
        return reason

    def _is_better(self, logits: NDArray[np.float32], baseline: ConstantModel) -> bool:
        """True if a paired one-sided test shows that logits are better than the baseline."""
        labels = self._validation.labels
        constant = np.repeat(baseline.logits, len(labels), axis=0).astype(np.float32)
        if self._name == "accuracy":
            correct = task_of(self._data.kind).correct
            return paired_test(correct(logits, labels), correct(constant, labels)) < LEVEL
        drawn = self._validation.resampled(self._name, logits)
        gain = drawn - self._validation.resampled(self._name, constant)
        gain = gain[~np.isnan(gain)]
        return gain.size == 0 or float(np.quantile(gain, LEVEL)) > 0

    def _against_chance(self, logits: NDArray[np.float32]) -> str:
        labels = self._validation.labels
        kind = self._data.kind
        if kind == "multilabel":
            return self._against_guessing(logits)
        is_ordinal = kind == "ordinal"
        if above_chance(task_of(kind).decide(logits), labels, by_distance=is_ordinal) < LEVEL:
            return ""
        gate = task_of(kind).GATE_METRIC
        value = metric(gate, kind=kind)(logits, labels)
        chance = 0.0 if is_ordinal else 1 / len(np.unique(labels))
        return f"validation {metric_name(gate)} {score(value)} not shown to be above chance, {score(chance)}"

    def _against_guessing(self, logits: NDArray[np.float32]) -> str:
        """Compare the order of the images by the probability of each finding with an order by chance."""
        value = self._validation.value("mean_auroc", logits)
        drawn = self._validation.resampled("mean_auroc", logits)
        drawn = drawn[~np.isnan(drawn)]
        if drawn.size == 0 or float(np.quantile(drawn, LEVEL)) > GUESSING:
            return ""
        name = metric_name("mean_auroc")
        return f"validation {name} {score(value)} not shown to be above chance, {score(GUESSING)}"

    def _against_floor(self, row: RankingRow) -> str:
        if self._floor is None or row.performance is None or row.performance >= self._floor:
            return ""
        return (
            f"{metric_name(self._name)} {score(row.performance)} on validation, score.floor {self._floor:g}"
        )


def lowest_skilled(name: str, data: DataInfo, floor: float | None) -> tuple[float, float]:
    """Return the performance of the best constant model, and the lowest that can show skill beside it.

    Wilson's interval stands for that of any metric: it is close enough to plan a search.

    Args:
        name: the metric of the ranking.
        data: of the run, with the class counts of training and validation.
        floor: the min performance that the recipe asks for; None: no such limit.
    """
    lowest = floor or 0.0
    if not {"train", "val"} <= set(data.splits):
        return 0.0, lowest
    val = data.splits["val"]
    labels = task_of(data.kind).example_labels(val.class_counts, val.images)
    train = data.splits["train"]
    constant = best_constant(name, train.class_counts, labels, data.positive_index, data.kind, train.images)
    if constant is None or not len(labels):
        return 0.0, lowest
    level = max(constant.performance, guessing_level(name) or 0.0)
    n = len(labels)
    constant_right = round(constant.performance * n) if name == "accuracy" else None
    # The interval begins below its proportion, so lower proportions need no look.
    for right in range(int(level * n), n + 1):
        # At best, the model is right wherever the constant one is.
        is_better = constant_right is None or sign_test(max(0, right - constant_right), 0) < LEVEL
        if is_better and wilson(right, n)[0] > level:
            return constant.performance, max(lowest, right / n)
    return constant.performance, 1.0


def too_few_images(name: str, data: DataInfo) -> str:
    """Say that validation has too few images to show skill, even of a model without errors; else empty.

    Args:
        name: the metric of the ranking.
        data: of the run, with the class counts of training and validation.
    """
    if data.kind == "multilabel" or not {"train", "val"} <= set(data.splits):
        return ""
    val = data.splits["val"]
    labels = task_of(data.kind).example_labels(val.class_counts, val.images)
    if not len(labels) or _perfect_shows_skill(name, data, labels):
        return ""
    return (
        f"{TOO_FEW}: with {len(labels)}, not even a model without errors is shown to beat one that looks at "
        "no image, so no model gets a rank. Raise data.val_fraction, or add images."
    )


def _perfect_shows_skill(name: str, data: DataInfo, labels: NDArray[np.int64]) -> bool:
    if above_chance(labels, labels, by_distance=data.kind == "ordinal") >= LEVEL:
        return False
    if name != "accuracy":
        return True
    counts = data.splits["train"].class_counts
    constant = best_constant(name, counts, labels, data.positive_index, data.kind)
    if constant is None:
        return True
    n = len(labels)
    is_better = paired_test(np.ones(n, np.bool_), labels == constant.label) < LEVEL
    return is_better and wilson(n, n)[0] > constant.performance
