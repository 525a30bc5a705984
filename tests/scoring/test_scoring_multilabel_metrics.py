"""Metrics of several findings agree with scikit-learn, and their intervals contain the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_logits import found
from sklearn.metrics import average_precision_score, f1_score, recall_score, roc_auc_score

from pepr_edge.records import Decision
from pepr_edge.scoring.findings import curves_of_finding, figures_of_findings, fit_findings
from pepr_edge.scoring.intervals import estimate, estimates, lowest_perfect, resample_counts
from pepr_edge.scoring.metrics import fits, metric, performance_fault, resampled
from pepr_edge.scoring.operating_point import CALIBRATED, at_decision, each_finding, fit_decision
from pepr_edge.scoring.rule import rule_of
from pepr_edge.tasks import decide_by, multilabel

SEEDS = st.integers(0, 2**32 - 1)
NAMES = ("a", "b", "c", "d")


def value_of(name: str, logits: np.ndarray, labels: np.ndarray) -> float:
    return metric(name, kind="multilabel")(logits, labels)


@settings(deadline=None, max_examples=50)
@given(SEEDS, st.booleans(), st.integers(5, 60))
def test_means_over_findings_equal_scikit_learn_ties_included(seed: int, grid: bool, n: int) -> None:
    logits, labels = found(n=n, seed=seed, grid=grid)
    assert value_of("mean_auroc", logits, labels) == pytest.approx(
        roc_auc_score(labels, logits, average="macro"), abs=1e-9
    )
    assert value_of("mean_average_precision", logits, labels) == pytest.approx(
        average_precision_score(labels, logits, average="macro"), abs=1e-9
    )


def test_a_finding_without_an_image_is_left_out_of_the_mean() -> None:
    logits, labels = found(n=50)
    none = labels * [1, 1, 1, 0]
    expected = roc_auc_score(labels[:, :3], logits[:, :3], average="macro")
    assert value_of("mean_auroc", logits, none) == pytest.approx(expected)
    assert math.isnan(value_of("mean_auroc", logits, 0 * labels))


@pytest.mark.parametrize("name", multilabel.METRICS)
def test_resampled_values_are_those_of_the_drawn_images(name: str) -> None:
    logits, labels = found(n=60)
    counts = resample_counts(np.zeros(60, np.int64), 6)
    values = resampled(name, logits, labels, counts, kind="multilabel")
    for drawn, value in zip(counts, values, strict=True):
        chosen = np.repeat(np.arange(60), drawn)
        assert value == pytest.approx(value_of(name, logits[chosen], labels[chosen]), nan_ok=True)


def test_the_calibration_error_is_over_all_answers() -> None:
    logits, labels = found(n=500)
    probability = multilabel.probabilities(logits).ravel()
    bins = np.minimum((probability * 15).astype(int), 14)
    expected = sum(
        abs((labels.ravel()[bins == number] - probability[bins == number]).sum()) for number in range(15)
    ) / len(probability)
    assert value_of("expected_calibration_error", logits, labels) == pytest.approx(expected)


def test_a_multilabel_task_reports_its_metrics_with_intervals() -> None:
    results = estimates(*({"val": array} for array in found()), kind="multilabel")
    assert set(results) == {f"val_{name}" for name in multilabel.METRICS}
    for result in results.values():
        assert result.ci[0] <= result.value <= result.ci[1]
        assert result.n == 200


def test_metrics_of_findings_are_of_such_tasks_alone() -> None:
    assert fits("mean_auroc", "multilabel")
    assert not fits("mean_auroc", "binary")
    assert not fits("accuracy", "multilabel")
    assert performance_fault("mean_average_precision") == ""


def test_each_finding_gets_a_temperature_and_a_threshold() -> None:
    logits, labels = found(n=400)
    decision = fit_decision(2 * logits, labels, NAMES, 1, "argmax", "multilabel")
    assert (decision.kind, decision.target, decision.positive) == ("thresholds", "f1", None)
    decisions = decide_by(2 * logits, rule_of(decision, NAMES))
    best = [max(f1_score(labels[:, j], logits[:, j] >= border) for border in logits[:, j]) for j in range(4)]
    assert [f1_score(labels[:, j], decisions[:, j]) for j in range(4)] == pytest.approx(best)


def test_a_target_is_reached_for_each_finding() -> None:
    logits, labels = found(n=400)
    decision = fit_decision(logits, labels, NAMES, 1, "sensitivity >= 0.90", "multilabel")
    decisions = decide_by(logits, rule_of(decision, NAMES))
    assert (recall_score(labels, decisions, average=None) >= 0.9).all()
    assert decision.target == "sensitivity >= 0.90"


def test_a_finding_that_validation_lacks_keeps_its_probability() -> None:
    logits, labels = found(n=40)
    decision = fit_findings(logits, labels * [1, 1, 1, 0], "f1")
    assert decision.temperatures is not None
    assert decision.thresholds is not None
    assert (decision.temperatures[3], decision.thresholds[3]) == (1.0, 0.5)


def test_figures_at_the_thresholds_equal_scikit_learn() -> None:
    logits, labels = found(n=300)
    decision = fit_findings(logits, labels, "f1")
    made = figures_of_findings(decision, logits, labels, "test", CALIBRATED)
    decisions = decide_by(logits, rule_of(decision, NAMES))
    assert made["mean_f1_at_decision"].value == pytest.approx(f1_score(labels, decisions, average="macro"))
    recall = recall_score(labels, decisions, average="macro")
    assert made["mean_sensitivity_at_decision"].value == pytest.approx(recall)
    of_absence = recall_score(1 - labels, 1 - decisions, average="macro")
    assert made["mean_specificity_at_decision"].value == pytest.approx(of_absence)
    assert CALIBRATED in made
    named = at_decision(decision, {"val": logits}, {"val": labels}, NAMES)
    assert "val_mean_f1_at_decision" in named


def test_without_an_error_the_interval_is_that_of_the_rarest_finding() -> None:
    _, labels = found(n=300)
    decision = Decision(kind="thresholds", temperatures=(1.0,) * 4, thresholds=(0.5,) * 4)
    logits = (8 * labels - 4).astype(np.float32)
    made = figures_of_findings(decision, logits, labels, "test", CALIBRATED)
    for name in ("mean_f1_at_decision", "mean_sensitivity_at_decision", "mean_specificity_at_decision"):
        assert made[name].value == 1
        assert made[name].ci == (lowest_perfect(name, labels), 1)
    assert curves_of_finding(logits[:, 0], labels[:, 0] == 1, "test")["auroc"].ci[0] < 1


def test_each_finding_has_its_own_figures() -> None:
    logits, labels = found(n=300)
    made = each_finding(fit_findings(logits, labels, "youden"), logits, labels, NAMES)
    assert made["b"]["auroc"].value == pytest.approx(roc_auc_score(labels[:, 1], logits[:, 1]))
    assert made["c"]["average_precision"].value == pytest.approx(
        average_precision_score(labels[:, 2], logits[:, 2])
    )
    assert made["a"]["sensitivity_at_decision"].n == labels[:, 0].sum()


def test_test_labels_change_no_threshold() -> None:
    logits, labels = found(n=100)
    decision = fit_findings(logits, labels, "f1")
    again = at_decision(decision, {"test": logits}, {"test": 1 - labels}, NAMES)
    assert again["mean_f1_at_decision"].value != pytest.approx(1.0)
    assert fit_findings(logits, labels, "f1") == decision


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mean_auroc", "mean_average_precision"])
def test_intervals_contain_the_true_value(name: str) -> None:
    truth = value_of(name, *found(n=200_000, seed=1))
    inside = 0
    for seed in range(200):
        made = estimate(name, *found(n=500, seed=seed + 10), "test", kind="multilabel")
        assert made is not None
        inside += made.ci[0] <= truth <= made.ci[1]
    assert 0.90 <= inside / 200 <= 0.99
