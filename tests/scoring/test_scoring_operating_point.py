"""Decisions fitted on validation, and the figures at them on test."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_logits import made
from scipy.stats import beta, binom

from pepr_edge.records import Split
from pepr_edge.scoring.intervals import exact_interval
from pepr_edge.scoring.operating_point import (
    AT_DECISION,
    CALIBRATED,
    at_decision,
    fit_decision,
    predictive_values,
)
from pepr_edge.scoring.rule import rule_of
from pepr_edge.tasks import decide_by

NAMES = ("malignant", "benign")
TARGETS = ("argmax", "youden", "sensitivity >= 0.90", "specificity >= 0.90", "cost 1:5")


def splits(seed: int = 0, n: int = 200) -> tuple[dict[Split, np.ndarray], dict[Split, np.ndarray]]:
    made_splits = {"val": made(n, 2, seed), "test": made(n + 50, 2, seed + 1)}
    return (
        {name: logits for name, (logits, _) in made_splits.items()},  # type: ignore[misc]
        {name: labels for name, (_, labels) in made_splits.items()},  # type: ignore[misc]
    )


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 1000), st.sampled_from(TARGETS), st.sampled_from([0, 1]))
def test_the_test_labels_change_no_threshold_and_no_temperature(
    seed: int, target: str, positive: int
) -> None:
    logits, labels = splits(seed)
    decision = fit_decision(logits["val"], labels["val"], NAMES, positive, target)
    figures = at_decision(decision, logits, labels, NAMES)
    other = labels | {"test": 1 - labels["test"]}
    again = fit_decision(logits["val"], labels["val"], NAMES, positive, target)
    changed = at_decision(again, logits, other, NAMES)
    assert again == decision
    assert {name: value for name, value in figures.items() if value.split == "val"} == {
        name: value for name, value in changed.items() if value.split == "val"
    }
    assert figures["sensitivity_at_decision"] != changed["sensitivity_at_decision"]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("positive", [0, 1])
def test_the_figures_are_those_of_the_decisions(target: str, positive: int) -> None:
    logits, labels = splits()
    decision = fit_decision(logits["val"], labels["val"], NAMES, positive, target)
    assert (decision.positive, decision.target, decision.fitted_on) == (NAMES[positive], target, "val")
    assert (decision.kind == "argmax") == (target == "argmax") == (decision.threshold is None)
    figures = at_decision(decision, logits, labels, NAMES)
    alarm = decide_by(logits["test"], rule_of(decision, NAMES)) == positive
    is_positive = labels["test"] == positive
    for name, hits, members in (
        ("sensitivity_at_decision", alarm, is_positive),
        ("specificity_at_decision", ~alarm, ~is_positive),
        ("ppv_at_decision", is_positive, alarm),
        ("npv_at_decision", ~is_positive, ~alarm),
    ):
        assert figures[name].value == hits[members].mean(), name
        assert figures[name].n == members.sum(), name
        assert figures[name].ci[0] <= figures[name].value <= figures[name].ci[1]
    if decision.threshold is not None:
        assert decision.threshold_ci is not None
        assert decision.threshold_ci[0] <= decision.threshold <= decision.threshold_ci[1]
    for name, level in (("sensitivity", 0.9), ("specificity", 0.9)):
        if target.startswith(name):
            assert figures[f"val_{name}_at_decision"].value >= level


def test_calibration_lowers_the_error_of_an_overconfident_model() -> None:
    logits, labels = splits(n=2000)
    logits = {split: 6 * values for split, values in logits.items()}
    decision = fit_decision(logits["val"], labels["val"], NAMES, 1, "argmax")
    assert decision.temperature > 3
    before = at_decision(decision.replace(temperature=1.0), logits, labels, NAMES)[CALIBRATED]
    after = at_decision(decision, logits, labels, NAMES)[CALIBRATED]
    assert after.value < before.value / 2


def test_of_more_classes_only_the_temperature_is_fitted() -> None:
    logits, labels = made(300, 3)
    decision = fit_decision(logits, labels, ("a", "b", "c"), 1, "argmax")
    assert (decision.kind, decision.positive, decision.threshold) == ("argmax", None, None)
    assert decision.temperature != 1
    assert set(at_decision(decision, {"test": logits}, {"test": labels}, ("a", "b", "c"))) == {CALIBRATED}


def test_a_share_of_no_images_is_absent() -> None:
    logits = np.array([[9.0, 0.0]] * 4, np.float32)
    labels = np.zeros(4, np.int64)
    decision = fit_decision(logits, labels, NAMES, 1, "argmax")
    figures = at_decision(decision, {"test": logits}, {"test": labels}, NAMES)
    assert set(AT_DECISION) & set(figures) == {"specificity_at_decision", "npv_at_decision"}


@pytest.mark.parametrize(("successes", "n"), [(0, 5), (5, 5), (1, 2), (50, 56), (997, 1000), (1, 20_000)])
def test_the_exact_interval_is_clopper_and_pearsons(successes: int, n: int) -> None:
    low = beta.ppf(0.025, successes, n - successes + 1) if successes else 0.0
    high = beta.ppf(0.975, successes + 1, n - successes) if successes < n else 1.0
    assert exact_interval(successes, n) == pytest.approx((low, high), abs=1e-9)


@pytest.mark.parametrize(("n", "sensitivity"), [(21, 0.95), (42, 0.9), (56, 0.85), (56, 0.98)])
def test_the_interval_of_a_sensitivity_contains_it_in_95_percent_of_cases(n: int, sensitivity: float) -> None:
    """At a fixed threshold the number of found images is binomial, so the coverage is known exactly."""
    intervals = [exact_interval(found, n) for found in range(n + 1)]
    contained = [low <= sensitivity <= high for low, high in intervals]
    assert float(binom.pmf(np.arange(n + 1), n, sensitivity) @ contained) >= 0.95


def test_predictive_values_follow_the_prevalence() -> None:
    assert predictive_values(0.9, 0.8, 0.5) == pytest.approx((0.45 / 0.55, 0.4 / 0.45))
    assert predictive_values(0.9, 0.8, 0.01) == pytest.approx((0.009 / 0.207, 0.792 / 0.793))
    assert predictive_values(0.0, 1.0, 0.1) == (0.0, pytest.approx(0.9))
