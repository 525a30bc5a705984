"""From logits to calibrated probabilities and decisions, and how temperature and threshold are fitted.

Both are fitted on validation. A temperature divides the logits; a threshold is on the calibrated probability
of the positive of two classes. Needs numpy alone.
"""

from __future__ import annotations

import math
import re
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pepr_edge.tasks import multilabel, ordinal, single_label
from pepr_edge.tasks.task import Decisions, Labels, Logits, TaskKind

Floats = NDArray[np.float64]
MAX_TEMPERATURE = 100.0
BISECTIONS = 60
TARGET_SYNTAX = '"argmax", "youden", "f1", "sensitivity >= 0.90", "specificity >= 0.90" or "cost 1:5"'
_LEVEL = re.compile(r"(sensitivity|specificity)\s*>=\s*(\d*\.?\d+)")
_COST = re.compile(r"cost\s+(\d*\.?\d+)\s*:\s*(\d*\.?\d+)")


class Rule(NamedTuple):
    """How a file decides. `threshold` None: as its task decides. `positive` is a class number.

    Of several findings, `temperatures` and `thresholds` have a number for each; empty: 1 and one half.
    """

    positive: int = 1
    temperature: float = 1.0
    threshold: float | None = None
    kind: TaskKind = "multiclass"
    temperatures: tuple[float, ...] = ()
    thresholds: tuple[float, ...] = ()


class Target(NamedTuple):
    """What a threshold is to reach.

    `level`: of "sensitivity" and "specificity". `false_alarm` and `miss`: the costs of one of each.
    """

    kind: Literal["argmax", "youden", "f1", "sensitivity", "specificity", "cost"]
    level: float = 0.0
    false_alarm: float = 1.0
    miss: float = 1.0


def parse_target(text: str) -> Target:
    """Return the target that a recipe names.

    Raises:
        ValueError: it is none. The text says what was expected.
    """
    plain = text.strip()
    if plain == "argmax":
        return Target("argmax")
    if plain == "youden":
        return Target("youden")
    if plain == "f1":
        return Target("f1")
    level = _LEVEL.fullmatch(plain)
    if level is not None and 0 < float(level[2]) < 1:
        return Target("sensitivity" if level[1] == "sensitivity" else "specificity", float(level[2]))
    cost = _COST.fullmatch(plain)
    if cost is not None and float(cost[1]) > 0 and float(cost[2]) > 0:
        return Target("cost", false_alarm=float(cost[1]), miss=float(cost[2]))
    raise ValueError(f"{TARGET_SYNTAX} (a level between 0 and 1; the costs of a false alarm and of a miss)")


def calibrated(logits: Logits, rule: Rule) -> Floats:
    """Return the calibrated probability of each class or finding, shape (n, classes)."""
    if rule.kind == "multilabel":
        return multilabel.probabilities(logits.astype(np.float64) / _temperatures(rule))
    return single_label.probabilities(logits.astype(np.float64) / rule.temperature)


def decide_by(logits: Logits, rule: Rule) -> Decisions:
    """Return the class number that the rule decides for, shape (n,); or 0 and 1 for each finding."""
    if rule.kind == "multilabel":
        return np.asarray(calibrated(logits, rule) >= _thresholds(rule), dtype=np.int64)
    if rule.kind == "ordinal":
        return ordinal.decide(logits)
    if rule.threshold is None:
        return single_label.decide(logits)
    is_positive = calibrated(logits, rule)[:, rule.positive] >= rule.threshold
    return np.where(is_positive, rule.positive, 1 - rule.positive).astype(np.int64)


def margin_by(logits: Logits, rule: Rule) -> NDArray[np.float32]:
    """Return how far the difference of two logits is from another decision, shape (n,)."""
    if rule.kind == "ordinal":
        return ordinal.margin(logits)
    if rule.kind == "multilabel":
        return _margin_of_findings(logits, rule)
    if rule.threshold is None:
        return single_label.margin(logits)
    if not 0 < rule.threshold < 1:
        return single_label.margin(logits)  # one answer for all images, whatever the logits
    values = logits.astype(np.float64)
    border = rule.temperature * math.log(rule.threshold / (1 - rule.threshold))
    distance = values[:, rule.positive] - values[:, 1 - rule.positive] - border
    return np.abs(distance).astype(np.float32)


def agree_by(logits: Logits, others: Logits, rule: Rule) -> NDArray[np.bool_]:
    """True for each image on which the rule decides alike for two sets of logits, shape (n,)."""
    same = decide_by(logits, rule) == decide_by(others, rule)
    return np.asarray(same.all(axis=1) if same.ndim == 2 else same)


def _temperatures(rule: Rule) -> Floats:
    return np.array(rule.temperatures or (1.0,))


def _thresholds(rule: Rule) -> Floats:
    return np.array(rule.thresholds or (0.5,))


def _margin_of_findings(logits: Logits, rule: Rule) -> NDArray[np.float32]:
    """Return twice the distance of the nearest logit from its finding's threshold, shape (n,)."""
    thresholds = np.broadcast_to(_thresholds(rule), logits.shape[1:])
    decides = (thresholds > 0) & (thresholds < 1)  # others give one answer for all images
    if not decides.any():
        return multilabel.margin(logits)
    odds = np.log(thresholds[decides] / (1 - thresholds[decides]))
    border = np.broadcast_to(_temperatures(rule), thresholds.shape)[decides] * odds
    distance = np.abs(logits.astype(np.float64)[:, decides] - border)
    return np.asarray(2 * distance.min(axis=1), dtype=np.float32)


def fit_temperature(logits: Logits, labels: Labels) -> float:
    """Return the temperature with the lowest cross-entropy, between 1 / MAX_TEMPERATURE and MAX_TEMPERATURE.

    The targets are a little below 1, as a class with n images has n + 1 with one image of doubt for each
    class: without it, a model without an error on these images would be infinitely certain.

    Args:
        logits: of validation, shape (n, classes).
        labels: shape (n,).
    Source: Guo et al. 2017, On calibration of modern neural networks; the targets as Platt 1999.
    """
    n, classes = logits.shape
    if n == 0 or np.ptp(logits, axis=1).max() == 0:
        return 1.0
    counts = np.bincount(labels, minlength=classes)[labels][:, None]
    targets = np.where(np.arange(classes) == labels[:, None], counts + 1.0, 1.0) / (counts + classes)
    values = logits.astype(np.float64)
    values -= values.max(axis=1, keepdims=True)
    wanted = (targets * values).sum(axis=1)

    def slope(log_factor: float) -> float:
        """Derivative of the cross-entropy by the factor 1 / temperature; it rises with the factor."""
        exponentials = np.exp(values * math.exp(log_factor))
        mean = (exponentials * values).sum(axis=1) / exponentials.sum(axis=1)
        return float((mean - wanted).mean())

    low = -math.log(MAX_TEMPERATURE)
    high = math.log(MAX_TEMPERATURE)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if slope(middle) < 0:
            low = middle
        else:
            high = middle
    return math.exp(-(low + high) / 2)


def fit_thresholds(
    probability: Floats, is_positive: NDArray[np.bool_], target: Target, counts: NDArray[np.integer[Any]]
) -> Floats:
    """Return the threshold of each resample that reaches a target, shape (resamples,).

    Thresholds lie in the middle between neighbouring probabilities. For a level, it is the one that gives up
    least of the other quantity, and of these the one with most of its own; of equally good ones, the nearest
    to 0.5.

    Args:
        probability: of the positive class on validation, shape (n,).
        is_positive: the images of that class, shape (n,).
        target: another one than "argmax".
        counts: how often a resample contains each image, shape (resamples, n).
    """
    distinct, starts = np.unique(np.sort(probability), return_index=True)
    order = np.argsort(probability, kind="stable")
    cuts = np.concatenate([[distinct[0] / 2], (distinct[1:] + distinct[:-1]) / 2])
    if distinct[-1] < 1:
        cuts = np.append(cuts, (distinct[-1] + 1) / 2)
        starts = np.append(starts, len(probability))
    chosen = []
    for drawn in counts:
        below = np.concatenate([[0], np.cumsum(drawn[order] * is_positive[order], dtype=np.int64)])
        below_all = np.concatenate([[0], np.cumsum(drawn[order], dtype=np.int64)])
        missed = below[starts]
        rejected = below_all[starts] - missed
        chosen.append(
            _best_cut(cuts, missed, rejected, int(below[-1]), int(below_all[-1] - below[-1]), target)
        )
    return np.array(chosen)


def _best_cut(
    cuts: Floats,
    missed: NDArray[np.int64],
    rejected: NDArray[np.int64],
    positives: int,
    negatives: int,
    target: Target,
) -> float:
    """Return the best threshold, from the missed positives and the rejected negatives at each."""
    if target.kind == "sensitivity":
        reached = (positives - missed) / max(1, positives) >= target.level
        return _cut_at_level(cuts, reached, rejected, -missed)
    if target.kind == "specificity":
        reached = rejected / max(1, negatives) >= target.level
        return _cut_at_level(cuts, reached, -missed, rejected)
    if target.kind == "f1":
        hits = positives - missed
        named = hits + negatives - rejected
        gain = 2 * hits / np.maximum(1, named + positives)
    elif target.kind == "youden":
        gain = ((positives - missed) * negatives + rejected * positives).astype(np.float64)
    else:
        gain = -(target.false_alarm * (negatives - rejected) + target.miss * missed)
    return _nearest_to_half(cuts[gain == gain.max()])


def _cut_at_level(
    cuts: Floats, reached: NDArray[np.bool_], other: NDArray[np.int64], own: NDArray[np.int64]
) -> float:
    """Return the threshold that reaches a level with most of the other quantity, and then most of its own."""
    if not reached.any():  # probabilities of 1 leave no threshold above them
        return float(cuts[-1])
    with_other = reached & (other == other[reached].max())
    return _nearest_to_half(cuts[with_other & (own == own[with_other].max())])


def _nearest_to_half(cuts: Floats) -> float:
    return float(cuts[np.argmin(np.abs(cuts - 0.5))])
