"""Metrics of grades agree with scikit-learn, and their intervals contain the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from made_logits import Labels, Logits, classified, made
from sklearn.metrics import cohen_kappa_score, mean_absolute_error

from pepr_edge.scoring.chance import above_chance
from pepr_edge.scoring.intervals import estimate, estimates, mcnemar, paired_errors_test, resample_counts
from pepr_edge.scoring.metrics import fits, metric, performance_fault, resampled
from pepr_edge.tasks import ordinal


@settings(deadline=None)
@given(classified())
def test_metrics_of_grades_equal_scikit_learn(case: tuple[Logits, Labels]) -> None:
    logits, labels = case
    decisions = ordinal.decide(logits)
    kappa = metric("quadratic_kappa", kind="ordinal")(logits, labels)
    assert kappa == pytest.approx(cohen_kappa_score(labels, decisions, weights="quadratic"), abs=1e-9)
    error = metric("mean_absolute_error", kind="ordinal")(logits, labels)
    assert error == pytest.approx(mean_absolute_error(labels, decisions))


def test_resampled_values_are_those_of_the_drawn_images() -> None:
    logits, labels = made(n=60, classes=4)
    counts = resample_counts(np.zeros_like(labels), 5)
    values = resampled("quadratic_kappa", logits, labels, counts, kind="ordinal")
    for drawn, value in zip(counts, values, strict=True):
        chosen = np.repeat(np.arange(60), drawn)
        again = metric("quadratic_kappa", kind="ordinal")(logits[chosen], labels[chosen])
        assert value == pytest.approx(again)


def test_kappa_is_not_defined_where_all_agree_by_chance() -> None:
    logits = np.tile(np.float32([5, 0, 0]), (4, 1))
    assert math.isnan(metric("quadratic_kappa", kind="ordinal")(logits, np.zeros(4, np.int64)))


def test_an_ordinal_task_reports_its_metrics_with_intervals() -> None:
    logits, labels = made(n=200, classes=4)
    found = estimates({"val": logits}, {"val": labels}, kind="ordinal")
    assert set(found) == {f"val_{name}" for name in ordinal.METRICS}
    for result in found.values():
        assert result.ci[0] <= result.value <= result.ci[1]


def test_metrics_of_grades_are_of_ordinal_tasks_alone() -> None:
    assert fits("quadratic_kappa", "ordinal")
    assert not fits("quadratic_kappa", "multiclass")
    assert performance_fault("quadratic_kappa") == ""
    assert "lower" in performance_fault("mean_absolute_error")


def test_the_test_of_errors_is_mcnemars_for_right_and_wrong() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 80)) < 0.7
    assert paired_errors_test((~a).astype(float), (~b).astype(float)) == mcnemar(a, b)


def test_grades_near_the_label_are_above_chance_although_never_right() -> None:
    labels = np.arange(60) % 5
    near = np.clip(labels + np.where(labels < 4, 1, -1), 0, 4)
    assert above_chance(near, labels, by_distance=True) < 0.001
    assert above_chance(near, labels) > 0.5
    assert above_chance(np.full(60, 2), labels, by_distance=True) > 0.4


@pytest.mark.slow
@pytest.mark.parametrize("name", ["quadratic_kappa", "mean_absolute_error"])
def test_intervals_contain_the_true_value(name: str) -> None:
    truth = metric(name, kind="ordinal")(*made(n=200_000, classes=4, seed=1))
    inside = 0
    for seed in range(300):
        found = estimate(name, *made(n=600, classes=4, seed=seed + 10), "test", kind="ordinal")
        assert found is not None
        inside += found.ci[0] <= truth <= found.ci[1]
    assert 0.92 <= inside / 300 <= 0.98
