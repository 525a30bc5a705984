"""The decision of a file that gives several findings an image: a temperature and a threshold for each."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pepr_edge.records import Decision, Estimate, Split
from pepr_edge.scoring.intervals import estimate, lowest_perfect, resample_counts
from pepr_edge.scoring.multilabel_metrics import (
    auroc_of,
    average_precision_of,
    mean_f1,
    mean_sensitivity,
    mean_specificity,
)
from pepr_edge.scoring.resampling import Counts, Resampler, chunks
from pepr_edge.scoring.rule import rule_of
from pepr_edge.tasks import Labels, Logits, Mask, calibrated, decide_by, fit_temperature, fit_thresholds
from pepr_edge.tasks import parse_target as parsed

# "argmax", the default of a recipe, would name a rare finding on hardly any image.
DEFAULT_TARGET = "f1"
F1 = "mean_f1_at_decision"
SENSITIVITY = "mean_sensitivity_at_decision"
SPECIFICITY = "mean_specificity_at_decision"
OF_FINDINGS: dict[str, Callable[[Labels, Labels], Resampler]] = {
    F1: mean_f1,
    SENSITIVITY: mean_sensitivity,
    SPECIFICITY: mean_specificity,
}


def fit_findings(logits: Logits, labels: Labels, target: str) -> Decision:
    """Fit a temperature and a threshold for each finding.

    A finding that no image of validation has, or each of them, keeps temperature 1 and threshold 0.5.

    Args:
        logits: of the very file on validation, shape (n, findings).
        labels: 0 or 1, shape (n, findings).
        target: as in the recipe, for each finding by itself; "argmax" stands for DEFAULT_TARGET.
    """
    reached = DEFAULT_TARGET if parsed(target).kind == "argmax" else target
    temperatures = []
    thresholds = []
    once = np.ones((1, len(labels)), np.uint8)
    for number in range(labels.shape[1]):
        of_finding = labels[:, number]
        temperature = 1.0
        threshold = 0.5
        if 0 < of_finding.sum() < len(of_finding):
            # Two classes of logits 0 and z have the sigmoid of z as the probability of the second.
            pairs = np.stack([np.zeros(len(labels), np.float32), logits[:, number]], axis=1)
            temperature = fit_temperature(pairs, of_finding)
            rule = rule_of(Decision(temperature=temperature), ("absent", "present"))
            probability = calibrated(pairs, rule)[:, 1]
            threshold = float(fit_thresholds(probability, of_finding == 1, parsed(reached), once)[0])
        temperatures.append(temperature)
        thresholds.append(threshold)
    return Decision(
        kind="thresholds", temperatures=tuple(temperatures), thresholds=tuple(thresholds), target=reached
    )


def figures_of_findings(
    decision: Decision, logits: Logits, labels: Labels, split: Split, calibrated_name: str
) -> dict[str, Estimate]:
    """Return the figures at the fixed decision: means over the findings, with bootstrap intervals.

    Args:
        decision: of the file.
        logits, labels: shape (n, findings).
        split: of the images.
        calibrated_name: the name of the calibration error of the calibrated probabilities.
    """
    rule = rule_of(decision, ())
    decisions = decide_by(logits, rule)
    counts = resample_counts(np.zeros(len(labels), np.int64))
    figures = {}
    for name, made in OF_FINDINGS.items():
        found = _estimate(name, made(decisions, labels), labels, counts, split)
        if found is not None:
            figures[name] = found
    after = logits.astype(np.float64) / np.array(rule.temperatures or (1.0,))
    error = estimate("expected_calibration_error", after, labels, split, kind="multilabel")
    if error is not None:
        figures[calibrated_name] = error
    return figures


def curves_of_finding(scores: Logits, is_present: Mask, split: Split) -> dict[str, Estimate]:
    """Return AUROC and average precision of one finding, where some images have it and some have not.

    Args:
        scores: its logits, shape (n,).
        is_present: the images that have it, shape (n,).
        split: of the images.
    """
    if is_present.all() or not is_present.any():
        return {}
    # As many with and without the finding in each resample as there are.
    labels = is_present.astype(np.int64)
    counts = resample_counts(labels)
    made = {
        "auroc": auroc_of(scores, is_present),
        "average_precision": average_precision_of(scores, is_present),
    }
    found = {name: _estimate(name, values_of, labels, counts, split) for name, values_of in made.items()}
    return {name: figure for name, figure in found.items() if figure is not None}


def _estimate(
    name: str, values_of: Resampler, labels: Labels, counts: Counts, split: Split
) -> Estimate | None:
    n = len(labels)
    value = float(values_of(np.ones((n, 1), np.uint8))[0])
    if np.isnan(value):
        return None
    drawn = np.concatenate([values_of(counts[chunk].T) for chunk in chunks(len(counts), n)])
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    if low == high == value == 1:
        low = lowest_perfect(name, labels)
    return Estimate(value=value, ci=(min(float(low), value), max(float(high), value)), split=split, n=n)
