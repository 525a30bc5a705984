"""Temperature, threshold and decision: fitted on validation, mirrored with the positive class."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_logits import made
from scipy.optimize import minimize_scalar

from pepr_edge.scoring.intervals import resample_counts
from pepr_edge.tasks import (
    Rule,
    calibrated,
    decide_by,
    fit_temperature,
    fit_thresholds,
    margin_by,
    parse_target,
    task_of,
)

SEEDS = st.integers(0, 2**32 - 1)
MIRRORED = {
    "sensitivity >= 0.9": "specificity >= 0.9",
    "specificity >= 0.75": "sensitivity >= 0.75",
    "youden": "youden",
    "cost 1:5": "cost 5:1",
}


def two_classes(seed: int, n: int = 60, grid: bool = False) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3 // 2
    logits = rng.normal(size=(n, 2)) + 1.5 * np.eye(2)[labels]
    return (logits.round(1) if grid else logits).astype(np.float32), labels


def threshold_of(logits: np.ndarray, labels: np.ndarray, positive: int, target: str) -> float:
    probability = calibrated(logits, Rule())[:, positive]
    once = np.ones((1, len(labels)), np.uint8)
    return float(fit_thresholds(probability, labels == positive, parse_target(target), once)[0])


def shares(logits: np.ndarray, labels: np.ndarray, rule: Rule) -> tuple[float, float]:
    """Sensitivity and specificity."""
    alarm = decide_by(logits, rule) == rule.positive
    is_positive = labels == rule.positive
    return float(alarm[is_positive].mean()), float((~alarm[~is_positive]).mean())


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("factor", [0.2, 1.0, 4.0])
def test_the_temperature_has_the_lowest_cross_entropy(classes: int, factor: float) -> None:
    logits, labels = made(classes=classes)
    logits = logits * np.float32(factor)
    counts = np.bincount(labels)[labels][:, None]
    is_label = np.arange(classes) == labels[:, None]
    targets = (is_label * counts + 1.0) / (counts + classes)

    def loss(log_temperature: float) -> float:
        rule = Rule(temperature=math.exp(log_temperature))
        return float(-(targets * np.log(calibrated(logits, rule))).sum())

    expected = minimize_scalar(loss, bounds=(-5, 5), method="bounded", options={"xatol": 1e-9}).x
    assert fit_temperature(logits, labels) == pytest.approx(math.exp(expected), rel=1e-4)


def test_a_model_without_an_error_on_validation_is_not_infinitely_certain() -> None:
    labels = np.arange(40) % 2
    temperature = fit_temperature(np.eye(2, dtype=np.float32)[labels], labels)
    sure = calibrated(np.eye(2, dtype=np.float32)[labels], Rule(temperature=temperature)).max()
    assert sure == pytest.approx(21 / 22, abs=1e-6)  # Platt's target for 20 images
    assert fit_temperature(np.zeros((4, 2), np.float32), labels[:4]) == 1.0
    wrong = fit_temperature(np.eye(2, dtype=np.float32)[1 - labels], labels)
    assert wrong == pytest.approx(100)


def test_a_temperature_changes_no_decision_by_the_highest_logit() -> None:
    logits, _ = made()
    assert np.array_equal(decide_by(logits, Rule(temperature=7.3)), task_of().decide(logits))
    assert np.array_equal(calibrated(logits, Rule()), task_of().probabilities(logits))
    assert np.array_equal(margin_by(logits, Rule(temperature=7.3)), task_of().margin(logits))


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.booleans())
def test_a_level_is_reached_and_no_better_threshold_reaches_it(seed: int, grid: bool) -> None:
    logits, labels = two_classes(seed, grid=grid)
    probability = calibrated(logits, Rule())[:, 1]
    rules = [Rule(threshold=float(value)) for value in (*probability, *(np.nextafter(probability, 1)))]
    possible = [shares(logits, labels, rule) for rule in rules]
    for name, index in (("sensitivity", 0), ("specificity", 1)):
        threshold = threshold_of(logits, labels, 1, f"{name} >= 0.9")
        found = shares(logits, labels, Rule(threshold=threshold))
        assert found[index] >= 0.9
        assert found[1 - index] >= max(pair[1 - index] for pair in possible if pair[index] >= 0.9)
    threshold = threshold_of(logits, labels, 1, "youden")
    assert sum(shares(logits, labels, Rule(threshold=threshold))) >= max(map(sum, possible)) - 1e-12


@pytest.mark.parametrize("target", sorted(MIRRORED))
def test_nothing_is_given_up_without_a_gain(target: str) -> None:
    """A model without an error on validation stays without one, whatever level is asked for."""
    labels = np.arange(40) % 2
    logits = np.eye(2, dtype=np.float32)[labels] * np.linspace(1, 4, 40, dtype=np.float32)[:, None]
    rule = Rule(threshold=threshold_of(logits, labels, 1, target))
    assert shares(logits, labels, rule) == (1, 1)


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.sampled_from(sorted(MIRRORED)))
def test_the_other_positive_class_mirrors_the_decisions(seed: int, target: str) -> None:
    logits, labels = two_classes(seed)
    others, other_labels = two_classes(seed + 1)
    temperature = fit_temperature(logits, labels)
    assert temperature == pytest.approx(fit_temperature(logits[:, ::-1], 1 - labels))
    threshold = threshold_of(logits, labels, 1, target)
    mirrored = threshold_of(logits, labels, 0, MIRRORED[target])
    assert mirrored == pytest.approx(1 - threshold)
    of_second = shares(others, other_labels, Rule(1, 1.0, threshold))
    of_first = shares(others, other_labels, Rule(0, 1.0, mirrored))
    assert of_first == of_second[::-1]


def test_costs_weigh_a_miss_against_a_false_alarm() -> None:
    logits, labels = two_classes(3, n=300)
    thresholds = [threshold_of(logits, labels, 1, f"cost 1:{miss}") for miss in (0.1, 1, 10)]
    assert thresholds == sorted(thresholds, reverse=True)
    assert thresholds[0] > thresholds[-1]


def test_resamples_give_the_threshold_of_the_drawn_images() -> None:
    logits, labels = two_classes(1)
    probability = calibrated(logits, Rule())[:, 1]
    counts = resample_counts(labels, 5)
    target = parse_target("sensitivity >= 0.9")
    for drawn, threshold in zip(
        counts, fit_thresholds(probability, labels == 1, target, counts), strict=True
    ):
        images = np.repeat(np.arange(len(labels)), drawn)
        sensitivity, specificity = shares(logits[images], labels[images], Rule(threshold=threshold))
        assert sensitivity >= 0.9
        alone = threshold_of(logits[images], labels[images], 1, "sensitivity >= 0.9")
        assert (sensitivity, specificity) == shares(logits[images], labels[images], Rule(threshold=alone))


def test_within_half_the_margin_no_decision_changes() -> None:
    logits, _ = two_classes(5)
    rule = Rule(0, 1.7, 0.2)
    margin = margin_by(logits, rule)[:, None]
    decisions = decide_by(logits, rule)
    moved = np.array([0.49, -0.49])
    for sign in (1, -1):
        assert np.array_equal(decide_by(logits + sign * margin * moved, rule), decisions)
        beyond = decide_by(logits + sign * margin * moved * 1.1, rule)
        assert set(beyond[decisions != beyond].tolist()) <= {0, 1}
    flipped = (decide_by(logits + margin * moved * 1.1, rule) != decisions) | (
        decide_by(logits - margin * moved * 1.1, rule) != decisions
    )
    assert flipped.all()


@pytest.mark.parametrize(
    "text", ["", "max", "sensitivity", "sensitivity >= 1", "sensitivity > 0.9", "cost 0:1", "cost 1", "auto"]
)
def test_an_unknown_target_names_the_known_ones(text: str) -> None:
    with pytest.raises(ValueError, match="youden"):
        parse_target(text)
