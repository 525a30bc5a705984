from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy.stats import binomtest, norm
from sklearn.metrics import accuracy_score, balanced_accuracy_score, roc_auc_score

from pepr_edge.metrics import METRICS, Z_95, accuracy, auroc, balanced_accuracy, bootstrap, estimate, estimates, mcnemar, softmax, wilson

Logits = NDArray[np.float32]
Labels = NDArray[np.int64]

CLASSES = st.integers(min_value=2, max_value=5)


@st.composite
def classified(draw: st.DrawFn, grid: bool = True) -> tuple[Logits, Labels]:
    """Logits on a coarse grid, so that ties are common, and labels in which every class occurs."""
    classes, n = draw(CLASSES), draw(st.integers(min_value=5, max_value=40))
    levels = st.integers(min_value=-4, max_value=4) if grid else st.floats(min_value=-30, max_value=30, width=32)
    logits = draw(hnp.arrays(np.float32, (n, classes), elements=levels))
    others = draw(st.lists(st.integers(0, classes - 1), min_size=n - classes, max_size=n - classes))
    return logits, np.array([*range(classes), *others])


def made(n: int = 300, classes: int = 3, seed: int = 0) -> tuple[Logits, Labels]:
    """Unequal classes, decided somewhat rightly."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(classes, n, p=np.arange(1, classes + 1) / np.arange(1, classes + 1).sum())
    return (rng.normal(size=(n, classes)) + 1.5 * np.eye(classes)[labels]).astype(np.float32), labels


@settings(deadline=None)
@given(classified())
def test_accuracies_equal_scikit_learn(case: tuple[Logits, Labels]) -> None:
    logits, labels = case
    assert accuracy(logits, labels) == pytest.approx(accuracy_score(labels, logits.argmax(axis=1)))
    assert balanced_accuracy(logits, labels) == pytest.approx(balanced_accuracy_score(labels, logits.argmax(axis=1)))


@settings(deadline=None)
@given(classified())
def test_auroc_equals_scikit_learn_ties_included(case: tuple[Logits, Labels]) -> None:
    logits, labels = case
    if logits.shape[1] == 2:
        expected = roc_auc_score(labels, logits[:, 1] - logits[:, 0])
    else:
        # One against the rest, class by class. Rounded: equal probabilities of different logits differ in their last digits.
        probabilities = np.round(softmax(logits), 12)
        expected = np.mean([roc_auc_score(labels == label, probabilities[:, label]) for label in range(logits.shape[1])])
    assert auroc(logits, labels) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_auroc_of_distinct_logits_equals_scikit_learn(classes: int) -> None:
    logits, labels = made(classes=classes)
    probabilities = softmax(logits)
    expected = roc_auc_score(labels, probabilities[:, 1] if classes == 2 else probabilities, multi_class="ovr")
    assert auroc(logits, labels) == pytest.approx(expected, abs=1e-12)


def test_auroc_of_two_classes_rises_with_the_logit_of_the_second() -> None:
    labels = np.array([0, 0, 1, 1])
    rising = np.array([[0.0, score] for score in (-1.0, 0.0, 1.0, 2.0)], dtype=np.float32)
    assert auroc(rising, labels) == 1.0
    assert auroc(-rising, labels) == 0.0
    assert auroc(np.zeros((4, 2), np.float32), labels) == 0.5


def test_sure_logits_are_still_told_apart() -> None:
    """Probabilities of both round to 1 in float64; the logits are in the right order all the same."""
    logits = np.array([[0.0, 40.0], [0.0, 50.0], [-60.0, 0.0]], dtype=np.float32)
    assert auroc(logits, np.array([0, 1, 1])) == 1.0
    three = np.hstack([logits, np.full((3, 1), -100.0, np.float32)])
    assert auroc(three, np.array([0, 1, 1])) == 1.0


@settings(deadline=None)
@given(classified(grid=False), st.floats(min_value=-100, max_value=100, width=32))
def test_shifted_logits_are_the_same_probabilities(case: tuple[Logits, Labels], shift: float) -> None:
    probabilities = softmax(case[0])
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    np.testing.assert_allclose(softmax(case[0].astype(np.float64) + shift), probabilities, rtol=1e-5, atol=1e-9)


def test_softmax_of_large_logits_does_not_overflow() -> None:
    np.testing.assert_allclose(softmax(np.array([[1e4, 0.0], [-1e4, 0.0]], np.float32)), [[1, 0], [0, 1]])


@settings(deadline=None)
@given(classified(grid=False))
def test_metrics_lie_between_zero_and_one_and_do_not_depend_on_the_order(case: tuple[Logits, Labels]) -> None:
    logits, labels = case
    for name, metric in METRICS.items():
        value = metric(logits, labels)
        assert 0 <= value <= 1, name
        assert metric(logits[::-1], labels[::-1]) == pytest.approx(value), name


def test_all_right_is_one_by_every_metric() -> None:
    labels = np.array([0, 1, 2, 2])
    logits = np.eye(3, dtype=np.float32)[labels]
    assert {name: metric(logits, labels) for name, metric in METRICS.items()} == dict.fromkeys(METRICS, 1.0)


def test_one_class_only() -> None:
    logits, labels = made()[0], np.zeros(300, np.int64)
    assert math.isnan(auroc(logits, labels))
    assert estimate("auroc", logits, labels, "val") is None
    assert balanced_accuracy(logits, labels) == accuracy(logits, labels)


def test_a_class_that_does_not_occur_is_left_out_of_the_mean() -> None:
    logits, labels = made()
    present = labels != 2
    areas = [auroc(logits, np.where(labels == label, 1, 0)) for label in (0, 1)]
    assert not any(math.isnan(area) for area in areas)
    kept, shown = logits[present], labels[present]
    expected = np.mean([roc_auc_score(shown == label, softmax(kept)[:, label]) for label in (0, 1)])
    assert auroc(kept, shown) == pytest.approx(expected, abs=1e-12)


def test_balanced_accuracy_is_over_the_classes_that_occur() -> None:
    logits, labels = np.eye(3, dtype=np.float32)[[0, 0, 2, 1]], np.array([0, 0, 2, 2])
    assert balanced_accuracy(logits, labels) == 0.75


# statsmodels 0.14, proportion_confint(count, nobs, method="wilson").
@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(0, 10, 0.0, 0.2775328), (10, 10, 0.7224672, 1.0), (81, 263, 0.2552725, 0.3661755), (15, 148, 0.0624061, 0.1605525)],
)
def test_wilson_of_known_proportions(successes: int, n: int, low: float, high: float) -> None:
    assert wilson(successes, n) == pytest.approx((low, high), abs=1e-4)


@settings(deadline=None)
@given(st.integers(min_value=1, max_value=5000), st.data())
def test_wilson_equals_scipy_and_holds_the_proportion(n: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(min_value=0, max_value=n))
    low, high = wilson(successes, n)
    expected = binomtest(successes, n).proportion_ci(method="wilson")
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert 0 <= low <= successes / n + 1e-12
    assert successes / n - 1e-12 <= high <= 1


def test_the_quantile_is_that_of_95_percent() -> None:
    assert pytest.approx(norm.ppf(0.975), abs=1e-12) == Z_95


def test_the_bootstrap_is_repeatable_and_about_as_wide_as_the_proportion_allows() -> None:
    logits, labels = made(n=400)
    found = bootstrap(accuracy, logits, labels)
    assert found == bootstrap(accuracy, logits, labels)
    assert found != bootstrap(accuracy, logits, labels, seed=1)
    low, high = wilson(round(accuracy(logits, labels) * 400), 400)
    assert found == pytest.approx((low, high), abs=0.006)


def test_the_bootstrap_keeps_every_class() -> None:
    """One image of class 1: a resample without it would have no AUROC."""
    logits, labels = made(n=30, classes=2)[0], np.array([1] + [0] * 29)
    low, high = bootstrap(auroc, logits, labels)
    assert not math.isnan(low)
    assert low <= auroc(logits, labels) <= high


@pytest.mark.parametrize("name", METRICS)
def test_an_estimate_holds_its_value_interval_and_number(name: str) -> None:
    logits, labels = made()
    found = estimate(name, logits, labels, "val")
    assert found is not None
    assert found.value == METRICS[name](logits, labels)
    assert found.ci[0] < found.value < found.ci[1]
    assert (found.split, found.n) == ("val", 300)


@pytest.mark.parametrize("name", METRICS)
def test_the_interval_of_a_perfect_model_holds_one(name: str) -> None:
    labels = np.arange(20) % 2
    found = estimate(name, np.eye(2, dtype=np.float32)[labels], labels, "test")
    assert found is not None
    assert found.ci[1] == found.value == 1.0
    assert name != "accuracy" or found.ci[0] < 1


def test_metrics_are_named_by_their_split() -> None:
    (val, val_labels), (test, test_labels) = made(seed=1), made(seed=2)
    found = estimates({"val": val, "test": test}, {"val": val_labels, "test": test_labels})
    assert set(found) == {*METRICS, *(f"val_{name}" for name in METRICS)}
    assert found["accuracy"].value == accuracy(test, test_labels)
    assert found["val_accuracy"].value == accuracy(val, val_labels)
    assert {name: held.split for name, held in found.items()} == {name: "val" if name.startswith("val_") else "test" for name in found}


@settings(deadline=None)
@given(st.integers(min_value=0, max_value=60), st.integers(min_value=0, max_value=60), st.integers(min_value=0, max_value=5))
def test_mcnemar_equals_the_binomial_test_on_those_that_differ(only_a: int, only_b: int, both: int) -> None:
    a = np.array([True] * only_a + [False] * only_b + [True] * both + [False] * both, dtype=bool)
    b = np.array([False] * only_a + [True] * only_b + [True] * both + [False] * both, dtype=bool)
    expected = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert mcnemar(a, b) == pytest.approx(expected, rel=1e-9)
    assert mcnemar(b, a) == mcnemar(a, b)


def test_mcnemar_of_thousands_of_images_neither_overflows_nor_underflows() -> None:
    a = np.arange(6000) < 3100
    assert mcnemar(a, ~a) == pytest.approx(binomtest(2900, 6000).pvalue, rel=1e-6)
    assert 0 <= mcnemar(np.ones(6000, bool), np.zeros(6000, bool)) < 1e-300
