"""The decision of a file, fitted on validation, and how well it does at that fixed decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pepr_edge.records import Decision, Estimate, Split
from pepr_edge.scoring.findings import curves_of_finding, figures_of_findings, fit_findings
from pepr_edge.scoring.intervals import estimate, exact_interval, resample_counts
from pepr_edge.scoring.rule import rule_of
from pepr_edge.tasks import Labels, Logits, TaskKind, calibrated, decide_by, fit_temperature, fit_thresholds
from pepr_edge.tasks import parse_target as parsed

THRESHOLD_RESAMPLES = 200
CALIBRATED = "calibrated_expected_calibration_error"
AT_DECISION = ("sensitivity_at_decision", "specificity_at_decision", "ppv_at_decision", "npv_at_decision")


def fit_decision(
    logits: Logits,
    labels: Labels,
    names: Sequence[str],
    positive: int,
    target: str,
    kind: TaskKind | None = None,
) -> Decision:
    """Fit temperature and threshold.

    Args:
        logits: of the very file on validation, shape (n, classes).
        labels: shape (n,).
        names: of the classes.
        positive: class number of the positive of two classes.
        target: as in the recipe. Of more than two classes the highest logit decides.
        kind: of task; None: one of the classes. Of grades the median decides; of findings see `findings`.
    """
    if kind == "multilabel":
        return fit_findings(logits, labels, target)
    wanted = parsed(target)
    two_classes = len(names) == 2 and kind != "ordinal"
    calibrating = Decision(
        kind="median" if kind == "ordinal" else "argmax",
        positive=names[positive] if two_classes else None,
        temperature=fit_temperature(logits, labels),
        target="median" if kind == "ordinal" else "argmax",
    )
    if not two_classes or wanted.kind == "argmax":
        return calibrating
    probability = calibrated(logits, rule_of(calibrating, names))[:, positive]
    once = np.ones((1, len(labels)), np.uint8)
    (threshold,) = fit_thresholds(probability, labels == positive, wanted, once)
    drawn = fit_thresholds(
        probability, labels == positive, wanted, resample_counts(labels, THRESHOLD_RESAMPLES)
    )
    low, high = np.quantile(drawn, [0.025, 0.975])
    return calibrating.replace(
        kind="threshold",
        threshold=float(threshold),
        threshold_ci=(min(float(low), float(threshold)), max(float(high), float(threshold))),
        target=target,
    )


def at_decision(
    decision: Decision, logits: Mapping[Split, Logits], labels: Mapping[Split, Labels], names: Sequence[str]
) -> dict[str, Estimate]:
    """Return the figures at a fixed decision: `<name>` on test and `val_<name>` on validation.

    Of two classes: sensitivity, specificity and the predictive values, with exact intervals. `n` is the
    number of images that each is a share of; without any, the figure is absent. Of any number of classes:
    the expected calibration error of the calibrated probabilities. Of findings: means over them.
    """
    rule = rule_of(decision, names)
    figures: dict[str, Estimate] = {}
    for split, of_split in logits.items():
        if decision.kind == "thresholds":
            made = figures_of_findings(decision, of_split, labels[split], split, CALIBRATED)
            figures |= _named(made, split)
            continue
        has_positive = decision.positive is not None
        made = _shares(decide_by(of_split, rule), labels[split], rule.positive, split) if has_positive else {}
        after = of_split.astype(np.float64) / rule.temperature
        error = estimate("expected_calibration_error", after, labels[split], split)
        if error is not None:
            made[CALIBRATED] = error
        figures |= _named(made, split)
    return figures


def each_finding(
    decision: Decision, logits: Logits, labels: Labels, names: Sequence[str], split: Split = "test"
) -> dict[str, dict[str, Estimate]]:
    """Return the figures of each finding by itself, by its name.

    The areas under the ROC curve and the precision-recall curve, and at its threshold sensitivity,
    specificity and the predictive values; a figure that is not defined is absent.
    """
    decisions = decide_by(logits, rule_of(decision, names))
    figures = {}
    for number, name in enumerate(names):
        of_finding = labels[:, number]
        curves = curves_of_finding(logits[:, number], of_finding == 1, split)
        figures[name] = curves | _shares(decisions[:, number], of_finding, 1, split)
    return figures


def _named(figures: Mapping[str, Estimate], split: Split) -> dict[str, Estimate]:
    return {name if split == "test" else f"{split}_{name}": value for name, value in figures.items()}


def _shares(decisions: Labels, labels: Labels, positive: int, split: Split) -> dict[str, Estimate]:
    is_positive = labels == positive
    alarm = decisions == positive
    parts = zip(
        AT_DECISION,
        (is_positive & alarm, ~is_positive & ~alarm, is_positive & alarm, ~is_positive & ~alarm),
        (is_positive, ~is_positive, alarm, ~alarm),
        strict=True,
    )
    shares = {}
    for name, hits, members in parts:
        n = int(members.sum())
        if n:
            count = int(hits.sum())
            shares[name] = Estimate(value=count / n, ci=exact_interval(count, n), split=split, n=n)
    return shares


def predictive_values(sensitivity: float, specificity: float, prevalence: float) -> tuple[float, float]:
    """Return positive and negative predictive value at another prevalence; Bayes' theorem.

    A value is 0 if no image would get this answer.
    """
    true_alarms = sensitivity * prevalence
    alarms = true_alarms + (1 - specificity) * (1 - prevalence)
    true_rejections = specificity * (1 - prevalence)
    rejections = true_rejections + (1 - sensitivity) * prevalence
    return (true_alarms / alarms if alarms else 0.0), (true_rejections / rejections if rejections else 0.0)
