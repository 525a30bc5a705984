from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from made_logits import NAMES, Labels, Logits, classified, made
from numpy.typing import NDArray
from sklearn import metrics as theirs
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, roc_auc_score

from pepr_edge.errors import ScoreError
from pepr_edge.scoring.intervals import estimate, estimates, resample_counts
from pepr_edge.scoring.metrics import (
    BINS,
    METRICS,
    PERFORMANCES,
    confusion_matrix,
    is_one_sided,
    metric,
    performance_fault,
    resampled,
)
from pepr_edge.tasks.single_label import probabilities as probabilities_of

accuracy = metric("accuracy")
balanced_accuracy = metric("balanced_accuracy")
auroc = metric("auroc")
f1 = metric("f1")
LEVELS = st.sampled_from([0.05, 0.25, 0.5, 0.6, 0.8, 0.9, 0.95])


@settings(deadline=None)
@given(classified())
def test_accuracies_equal_scikit_learn(case: tuple[Logits, Labels]) -> None:
    logits, labels = case
    assert accuracy(logits, labels) == pytest.approx(accuracy_score(labels, logits.argmax(axis=1)))
    assert balanced_accuracy(logits, labels) == pytest.approx(
        balanced_accuracy_score(labels, logits.argmax(axis=1))
    )


@settings(deadline=None)
@given(classified())
def test_auroc_equals_scikit_learn_ties_included(case: tuple[Logits, Labels]) -> None:
    logits, labels = case
    if logits.shape[1] == 2:
        expected = roc_auc_score(labels, logits[:, 1] - logits[:, 0])
    else:
        # One class against the rest. Rounded: equal probabilities may differ in the last digits.
        probabilities = np.round(probabilities_of(logits), 12)
        expected = np.mean(
            [roc_auc_score(labels == label, probabilities[:, label]) for label in range(logits.shape[1])]
        )
    assert auroc(logits, labels) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_auroc_of_distinct_logits_equals_scikit_learn(classes: int) -> None:
    logits, labels = made(classes=classes)
    probabilities = probabilities_of(logits)
    expected = roc_auc_score(
        labels, probabilities[:, 1] if classes == 2 else probabilities, multi_class="ovr"
    )
    assert auroc(logits, labels) == pytest.approx(expected, abs=1e-12)


def test_auroc_of_two_classes_rises_with_the_logit_of_the_second() -> None:
    labels = np.array([0, 0, 1, 1])
    rising = np.array([[0.0, score] for score in (-1.0, 0.0, 1.0, 2.0)], dtype=np.float32)
    assert auroc(rising, labels) == 1.0
    assert auroc(-rising, labels) == 0.0
    assert auroc(np.zeros((4, 2), np.float32), labels) == 0.5


def test_logits_are_ordered_even_if_probabilities_round_to_1() -> None:
    """Both probabilities round to 1 in float64, but the logits differ."""
    logits = np.array([[0.0, 40.0], [0.0, 50.0], [-60.0, 0.0]], dtype=np.float32)
    assert auroc(logits, np.array([0, 1, 1])) == 1.0
    three = np.hstack([logits, np.full((3, 1), -100.0, np.float32)])
    assert auroc(three, np.array([0, 1, 1])) == 1.0


@settings(deadline=None)
@given(classified(grid=False))
def test_metrics_are_in_range_and_independent_of_the_order(case: tuple[Logits, Labels]) -> None:
    logits, labels = case
    order = np.random.default_rng(len(labels)).permutation(len(labels))
    for name in NAMES:
        value = metric(name)(logits, labels)
        assert (-1 if name == "cohen_kappa" else 0) <= value <= 1, name
        assert metric(name)(logits[order], labels[order]) == pytest.approx(value, abs=1e-12), name


@pytest.mark.parametrize("classes", [2, 3])
def test_correct_and_certain_decisions_are_best_by_every_metric(classes: int) -> None:
    labels = np.array([0, 1, 2, 2]) % classes
    logits = 100 * np.eye(classes, dtype=np.float32)[labels]
    best = dict.fromkeys(METRICS, 1.0) | {"expected_calibration_error": 0.0}
    assert {name: metric(name)(logits, labels) for name in METRICS} == best


def test_a_useless_model_is_as_good_as_chance() -> None:
    """The same logits for every image: always class 1, with the calibrated probability 0.5."""
    logits, labels = np.zeros((20, 2), np.float32), np.arange(20) % 2
    logits[:, 1] = 1e-6
    actual = {name: metric(name)(logits, labels) for name in METRICS}
    assert actual == pytest.approx(
        {
            "accuracy": 0.5,
            "balanced_accuracy": 0.5,
            "auroc": 0.5,
            "f1": 2 / 3,
            "sensitivity_at_specificity": 0,
            "specificity_at_sensitivity": 0,
            "expected_calibration_error": 0,
            "cohen_kappa": 0,
        },
        abs=1e-6,
    )


@settings(deadline=None)
@given(classified())
def test_f1_kappa_and_the_confusion_matrix_equal_scikit_learn(case: tuple[Logits, Labels]) -> None:
    logits, labels = case
    decided = logits.argmax(axis=1)
    expected = theirs.f1_score(
        labels, decided, average="binary" if logits.shape[1] == 2 else "macro", zero_division=0
    )
    assert f1(logits, labels) == pytest.approx(expected)
    assert metric("cohen_kappa")(logits, labels) == pytest.approx(
        theirs.cohen_kappa_score(labels, decided), abs=1e-12
    )
    actual = confusion_matrix(logits, labels.astype(np.uint8))
    assert actual.tolist() == theirs.confusion_matrix(labels, decided, labels=range(logits.shape[1])).tolist()


def test_f1_of_many_classes_ignores_those_that_neither_occur_nor_are_predicted() -> None:
    labels, decided = np.array([0, 0, 1, 1]), np.array([0, 3, 1, 1])
    assert f1(np.eye(5, dtype=np.float32)[decided], labels) == pytest.approx(
        theirs.f1_score(labels, decided, average="macro")
    )


def best_on_the_curve(
    scores: NDArray[np.float64], positive: NDArray[np.bool_], level: float
) -> tuple[float, float]:
    """Maximum sensitivity and specificity at the level of the other, by scikit-learn's ROC curve."""
    false, true, _ = theirs.roc_curve(positive, scores, drop_intermediate=False)
    # A level that is reached exactly counts, but 1 - 0.1 may differ from 0.9 by rounding.
    sensitivity = true[1 - false >= level - 1e-12].max()
    specificity = (1 - false)[true >= level - 1e-12].max()
    return float(sensitivity), float(specificity)


@settings(deadline=None)
@given(classified(), LEVELS)
def test_sensitivity_and_specificity_at_a_level_equal_the_roc_curve(
    case: tuple[Logits, Labels], level: float
) -> None:
    logits, labels = case
    if logits.shape[1] == 2:
        expected = best_on_the_curve(logits[:, 1] - logits[:, 0], labels == 1, level)
    else:
        probabilities = np.round(probabilities_of(logits), 12)
        curves = [
            best_on_the_curve(probabilities[:, label], labels == label, level)
            for label in range(logits.shape[1])
        ]
        expected = tuple(np.mean(curves, axis=0))
    actual = (
        metric(f"sensitivity_at_specificity_{level}")(logits, labels),
        metric(f"specificity_at_sensitivity_{level}")(logits, labels),
    )
    assert actual == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("negatives", [10, 30, 70, 90, 110])
def test_a_level_that_is_reached_exactly_counts(negatives: int) -> None:
    labels = np.array([1] + [0] * negatives)
    logits = np.stack([np.zeros(negatives + 1), [negatives * 0.9 - 0.5, *range(negatives)]], axis=1)
    assert metric("sensitivity_at_specificity")(logits, labels) == 1.0
    assert metric("sensitivity_at_specificity_0.9")(logits, labels) == 1.0
    assert metric("sensitivity_at_specificity_0.900001")(logits, labels) == 0.0


@settings(deadline=None)
@given(classified())
def test_the_calibration_error_equals_a_loop_over_its_bins(case: tuple[Logits, Labels]) -> None:
    logits, labels = case
    probabilities = probabilities_of(logits)
    expected = 0.0
    for number in range(BINS):
        inside = [
            i for i, row in enumerate(probabilities) if number / BINS < row.max() <= (number + 1) / BINS
        ]
        if inside:
            right = np.mean([labels[i] == logits[i].argmax() for i in inside])
            expected += (
                len(inside) / len(labels) * abs(right - np.mean([probabilities[i].max() for i in inside]))
            )
    assert metric("expected_calibration_error")(logits, labels) == pytest.approx(expected, abs=1e-12)


@settings(deadline=None, max_examples=50)
@given(classified(), st.data())
def test_a_resample_is_the_metric_of_its_repeated_images(
    case: tuple[Logits, Labels], data: st.DataObject
) -> None:
    """Some resamples lack a class or all images."""
    logits, labels = case
    counts = data.draw(hnp.arrays(np.int64, (4, len(labels)), elements=st.integers(min_value=0, max_value=3)))
    counts[:, 0] += 1
    counts[3] = np.where(labels == labels[0], counts[3], 0)
    for name in NAMES:
        actual = resampled(name, logits, labels, counts)
        expected = [metric(name)(np.repeat(logits, row, axis=0), np.repeat(labels, row)) for row in counts]
        assert actual == pytest.approx(expected, abs=1e-12, nan_ok=True), name


def test_resamples_are_drawn_within_each_class_and_are_repeatable() -> None:
    labels = made(n=50)[1]
    counts = resample_counts(labels, resamples=700)
    assert counts.shape == (700, 50)
    for label in range(3):
        assert (counts[:, labels == label].sum(axis=1) == (labels == label).sum()).all()
    assert (counts == resample_counts(labels, resamples=700)).all()
    assert (counts != resample_counts(labels, resamples=700, seed=1)).any()
    assert counts.mean(axis=0) == pytest.approx(1, abs=0.2)
    assert counts.var() == pytest.approx(
        np.mean([1 - 1 / (labels == label).sum() for label in labels]), abs=0.03
    )


def test_resamples_of_many_images_are_processed_in_chunks() -> None:
    logits, labels = made(n=9000)
    counts = resample_counts(labels, resamples=40)
    assert (counts.sum(axis=1) == 9000).all()
    for name in ("accuracy", "auroc", "expected_calibration_error"):
        parts = [resampled(name, logits, labels, counts[start : start + 7]) for start in range(0, 40, 7)]
        assert np.concatenate(parts) == pytest.approx(resampled(name, logits, labels, counts), abs=1e-12)


@pytest.mark.parametrize(
    "name",
    ["", "accurracy", "confusion_matrix", "accuracy_0.9", "val_accuracy"]
    + [
        f"sensitivity_at_specificity_{level}"
        for level in ("", "0", "1", "0.0", "1.0", "95", "-0.5", "0.9x", "nan", "0,9", f"0.{'9' * 30}")
    ],
)
def test_the_error_for_an_unknown_metric_lists_the_known_ones_on_one_line(name: str) -> None:
    logits, labels = made()
    calls: list[Callable[[], object]] = [
        lambda: metric(name),
        lambda: resampled(name, logits, labels, np.ones((1, 300), np.int64)),
        lambda: estimate(name, logits, labels, "val"),
    ]
    for call in calls:
        with pytest.raises(ScoreError) as caught:
            call()
        assert str(caught.value).startswith(f"metric {name!r}")
        assert "accuracy, " in str(caught.value)
        assert "sensitivity_at_specificity_0.95" in str(caught.value)
        assert "\n" not in str(caught.value)
    if name != "confusion_matrix":
        assert performance_fault(name).startswith("one of accuracy, ")


@pytest.mark.parametrize("level", [0.0, 1.0, -0.1, 2.0, math.nan])
def test_a_level_that_is_not_between_0_and_1_is_an_error(level: float) -> None:
    for name in ("sensitivity_at_specificity", "specificity_at_sensitivity"):
        with pytest.raises(ScoreError):
            metric(f"{name}_{level}")


def test_performances_are_the_metrics_that_can_be_the_p_of_a_score() -> None:
    assert set(METRICS) - set(PERFORMANCES) == {"expected_calibration_error", "cohen_kappa"}
    for name in (*PERFORMANCES, *NAMES[-2:]):
        assert performance_fault(name) == ""
    reasons = {"expected_calibration_error": "lower", "cohen_kappa": "below 0", "confusion_matrix": "table"}
    for name, reason in reasons.items():
        assert "accuracy, balanced_accuracy" in performance_fault(name)
        assert reason in performance_fault(name)
    assert "accuracy, balanced_accuracy" in performance_fault("f2")


def test_metrics_if_only_one_class_occurs() -> None:
    logits, labels = made()[0], np.zeros(300, np.int64)
    assert math.isnan(auroc(logits, labels))
    assert estimate("auroc", logits, labels, "val") is None
    assert balanced_accuracy(logits, labels) == accuracy(logits, labels)
    undefined = {"auroc", "sensitivity_at_specificity", "specificity_at_sensitivity"}
    assert {name for name in METRICS if math.isnan(metric(name)(logits, labels))} == undefined
    assert set(estimates({"test": logits}, {"test": labels})) == set(METRICS) - undefined
    always = np.eye(2, dtype=np.float32)[labels]
    also = {"f1", "cohen_kappa"}
    assert {name for name in METRICS if math.isnan(metric(name)(always, labels))} == undefined | also


def test_a_class_that_does_not_occur_is_not_in_the_mean() -> None:
    logits, labels = made()
    present = labels != 2
    areas = [auroc(logits, np.where(labels == label, 1, 0)) for label in (0, 1)]
    assert not any(math.isnan(area) for area in areas)
    kept = logits[present]
    shown = labels[present]
    expected = np.mean([roc_auc_score(shown == label, probabilities_of(kept)[:, label]) for label in (0, 1)])
    assert auroc(kept, shown) == pytest.approx(expected, abs=1e-12)


def test_balanced_accuracy_is_over_the_classes_that_occur() -> None:
    logits, labels = np.eye(3, dtype=np.float32)[[0, 0, 2, 1]], np.array([0, 0, 2, 2])
    assert balanced_accuracy(logits, labels) == 0.75


@given(st.integers(0, 2**32 - 1), st.sampled_from(["0.5", "0.9", "0.95"]))
@settings(max_examples=40, deadline=None)
def test_the_other_positive_class_mirrors_sensitivity_and_specificity(seed: int, level: str) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, 60)
    logits = rng.normal(size=(60, 2)).round(1).astype(np.float32)  # rounded: some are tied
    logits[:, 1] += labels
    counts = resample_counts(labels, 20)
    sensitivity = f"sensitivity_at_specificity_{level}"
    specificity = f"specificity_at_sensitivity_{level}"
    for name, mirrored in ((sensitivity, specificity), (specificity, sensitivity)):
        of_first = resampled(name, logits, labels, counts, 0)
        assert np.array_equal(of_first, resampled(mirrored, logits, labels, counts, 1), equal_nan=True)
        # The same as with the classes in the other order.
        assert np.array_equal(
            of_first, resampled(name, logits[:, ::-1], 1 - labels, counts, 1), equal_nan=True
        )
    for name in ("auroc", "accuracy", "balanced_accuracy", "cohen_kappa", "expected_calibration_error"):
        assert not is_one_sided(name)
        assert metric(name, 0)(logits, labels) == metric(name, 1)(logits, labels)


def test_f1_is_of_the_positive_class() -> None:
    logits, labels = made(classes=2)
    decided = logits.argmax(axis=1)
    for positive in (0, 1):
        expected = f1_score(labels, decided, pos_label=positive)
        assert metric("f1", positive)(logits, labels) == pytest.approx(expected, abs=1e-12)
