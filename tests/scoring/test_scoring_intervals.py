from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_logits import NAMES, Labels, Logits, made
from scipy.stats import binomtest, norm

from pepr_edge.scoring.intervals import (
    OF_SHARES,
    Z_95,
    bootstrap,
    estimate,
    estimates,
    mcnemar,
    resample_counts,
    wilson,
)
from pepr_edge.scoring.metrics import METRICS, metric


# statsmodels 0.14, proportion_confint(count, nobs, method="wilson").
@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        (0, 10, 0.0, 0.2775328),
        (10, 10, 0.7224672, 1.0),
        (81, 263, 0.2552725, 0.3661755),
        (15, 148, 0.0624061, 0.1605525),
    ],
)
def test_wilson_of_known_proportions(successes: int, n: int, low: float, high: float) -> None:
    assert wilson(successes, n) == pytest.approx((low, high), abs=1e-4)


@settings(deadline=None)
@given(st.integers(min_value=1, max_value=5000), st.data())
def test_wilson_equals_scipy_and_contains_the_proportion(n: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(min_value=0, max_value=n))
    low, high = wilson(successes, n)
    expected = binomtest(successes, n).proportion_ci(method="wilson")
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert 0 <= low <= successes / n + 1e-12
    assert successes / n - 1e-12 <= high <= 1


def test_the_quantile_is_for_95_percent() -> None:
    assert pytest.approx(norm.ppf(0.975), abs=1e-12) == Z_95


def test_the_bootstrap_is_repeatable_and_about_as_wide_as_wilsons_interval() -> None:
    logits, labels = made(n=400)
    actual = bootstrap("accuracy", logits, labels, resample_counts(labels))
    assert actual == bootstrap("accuracy", logits, labels, resample_counts(labels))
    assert actual != bootstrap("accuracy", logits, labels, resample_counts(labels, seed=1))
    low, high = wilson(round(metric("accuracy")(logits, labels) * 400), 400)
    assert actual == pytest.approx((low, high), abs=0.006)


def test_every_resample_contains_every_class() -> None:
    """One image of class 1: a resample without it would have no AUROC."""
    logits, labels = made(n=30, classes=2)[0], np.array([1] + [0] * 29)
    low, high = bootstrap("auroc", logits, labels, resample_counts(labels))
    assert not math.isnan(low)
    assert low <= metric("auroc")(logits, labels) <= high


@pytest.mark.parametrize("name", NAMES)
def test_an_estimate_has_value_interval_and_number(name: str) -> None:
    logits, labels = made()
    actual = estimate(name, logits, labels, "val")
    assert actual is not None
    assert actual.value == metric(name)(logits, labels)
    assert actual.ci[0] < actual.value < actual.ci[1]
    assert (actual.split, actual.n) == ("val", 300)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "expected_calibration_error"])
def test_the_interval_of_a_perfect_model_contains_1(name: str) -> None:
    labels = np.arange(20) % 2
    actual = estimate(name, np.eye(2, dtype=np.float32)[labels], labels, "test")
    assert actual is not None
    assert actual.ci[1] == actual.value == 1.0
    assert name != "accuracy" or actual.ci[0] < 1


def test_the_interval_of_the_calibration_error_contains_0_only_for_a_calibrated_model() -> None:
    logits, labels = drawn(400, 0.3, 1.6, 1.0, np.random.default_rng(0))
    actual = estimate("expected_calibration_error", logits, labels, "test")
    assert actual is not None
    assert actual.ci[0] == 0 < actual.value
    actual = estimate("expected_calibration_error", 5 * logits, labels, "test")
    assert actual is not None
    assert 0.05 < actual.ci[0] < actual.value


def drawn(
    n: int, share: float, distance: float, sharpness: float, rng: np.random.Generator
) -> tuple[Logits, Labels]:
    """Two classes with normal scores at a distance; with a sharpness of 1 the model is calibrated."""
    labels = (rng.random(n) < share).astype(np.int64)
    score = rng.normal(size=n) + distance * labels
    log_odds = distance * score - distance**2 / 2 + math.log(share / (1 - share))
    return np.stack([np.zeros(n), sharpness * log_odds], axis=1), labels


def drawn_of_four(n: int, rng: np.random.Generator) -> tuple[Logits, Labels]:
    """Four unequal classes, each with its own normal score; overconfident."""
    shares = np.array([0.1, 0.2, 0.3, 0.4])
    labels = rng.choice(4, n, p=shares)
    return 1.5 * (1.6 * (rng.normal(size=(n, 4)) + 1.6 * np.eye(4)[labels]) + np.log(shares)), labels


# Images, share of class 1, distance (AUROC 0.87, 0.87 and 0.90) and sharpness (calibrated, overconfident,
# underconfident).
SETTINGS: dict[str, Callable[[int, np.random.Generator], tuple[Logits, Labels]]] = {
    "rare": lambda n, rng: drawn(n or 400, 0.3, 1.6, 1.0, rng),
    "rarer": lambda n, rng: drawn(n or 300, 0.15, 1.6, 1.5, rng),
    "common": lambda n, rng: drawn(n or 600, 0.62, 1.8, 0.6, rng),
    "four": lambda n, rng: drawn_of_four(n or 400, rng),
}


# When the intervals were chosen, those of all pairs contained the true value in 93 to 97 %.
# To keep the slow tier short, each metric is tested in two settings.
PAIRS = list(zip(SETTINGS, [*list(SETTINGS)[1:], next(iter(SETTINGS))], strict=True))
# Intervals that contain the true value in 88 % of cases only, or in 99.5 %, stay within these limits with a
# probability below 2 %; those with 95 %, with one of 99.8 %. The seed is fixed.
REPETITIONS = 400
COVERAGE = (0.915, 0.98)
FIRST = [(name, PAIRS[number % 4][0]) for number, name in enumerate(METRICS)]
SECOND = [(name, PAIRS[number % 4][1]) for number, name in enumerate(METRICS)]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "setting"), FIRST + SECOND)
def test_95_percent_of_the_intervals_contain_the_true_value(name: str, setting: str) -> None:
    draw = SETTINGS[setting]
    rng = np.random.default_rng(2)
    true = metric(name)(*draw(1_000_000, rng))
    hits = 0
    for _ in range(REPETITIONS):
        actual = estimate(name, *draw(0, rng), "test")
        assert actual is not None
        hits += actual.ci[0] <= true <= actual.ci[1]
    coverage = hits / REPETITIONS
    print(f"{name} {setting}: true {true:.4f}, coverage {coverage:.3f}")
    assert COVERAGE[0] <= coverage <= COVERAGE[1]


@pytest.mark.slow
@pytest.mark.parametrize("setting", ["rarer", "common"])
def test_with_fixed_shares_of_the_classes_some_intervals_are_too_narrow(setting: str) -> None:
    """This is why some metrics are resampled from all images."""
    draw = SETTINGS[setting]
    rng = np.random.default_rng(2)
    widths = []
    for _ in range(50):
        logits, labels = draw(0, rng)
        intervals = [
            bootstrap("accuracy", logits, labels, resample_counts(strata))
            for strata in (labels, np.zeros_like(labels))
        ]
        widths.append([high - low for low, high in intervals])
    within, from_all = np.mean(widths, axis=0)
    assert "accuracy" in OF_SHARES
    assert within < 0.98 * from_all


def test_an_extra_metric_with_its_own_level() -> None:
    logits, labels = made()
    name = "sensitivity_at_specificity_0.75"
    actual = estimates({"test": logits, "val": logits}, {"test": labels, "val": labels}, name)
    names = [*METRICS, name]
    assert set(actual) == {*names, *(f"val_{metric}" for metric in names)}
    assert set(estimates({"test": logits}, {"test": labels}, "accuracy")) == set(METRICS)


def test_metrics_are_named_by_their_split() -> None:
    (val, val_labels), (test, test_labels) = made(seed=1), made(seed=2)
    actual = estimates({"val": val, "test": test}, {"val": val_labels, "test": test_labels})
    assert set(actual) == {*METRICS, *(f"val_{name}" for name in METRICS)}
    assert actual["accuracy"].value == metric("accuracy")(test, test_labels)
    assert actual["val_accuracy"].value == metric("accuracy")(val, val_labels)
    for name, result in actual.items():
        assert result.split == ("val" if name.startswith("val_") else "test")


@settings(deadline=None)
@given(
    st.integers(min_value=0, max_value=60),
    st.integers(min_value=0, max_value=60),
    st.integers(min_value=0, max_value=5),
)
def test_mcnemar_equals_the_binomial_test_on_discordant_images(only_a: int, only_b: int, both: int) -> None:
    a = np.array([True] * only_a + [False] * only_b + [True] * both + [False] * both, dtype=bool)
    b = np.array([False] * only_a + [True] * only_b + [True] * both + [False] * both, dtype=bool)
    expected = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert mcnemar(a, b) == pytest.approx(expected, rel=1e-9)
    assert mcnemar(b, a) == mcnemar(a, b)


def test_mcnemar_of_thousands_of_images_neither_overflows_nor_underflows() -> None:
    a = np.arange(6000) < 3100
    assert mcnemar(a, ~a) == pytest.approx(binomtest(2900, 6000).pvalue, rel=1e-6)
    assert 0 <= mcnemar(np.ones(6000, bool), np.zeros(6000, bool)) < 1e-300


@pytest.mark.parametrize(
    ("name", "low"),
    [
        ("accuracy", wilson(50, 50)[0]),
        ("cohen_kappa", wilson(50, 50)[0]),
        ("auroc", wilson(5, 5)[0]),
        ("balanced_accuracy", 1 - (1 - wilson(5, 5)[0]) / 2),
    ],
)
def test_a_model_without_errors_has_an_interval_all_the_same(name: str, low: float) -> None:
    labels = np.repeat([0, 1], [45, 5])
    found = estimate(name, np.eye(2, dtype=np.float32)[labels], labels, "test")
    assert found is not None
    assert (found.value, found.ci) == (1.0, (pytest.approx(low), 1.0))


def test_findings_without_errors_have_an_interval_by_the_rarest() -> None:
    labels = (np.arange(40)[:, None] < [20, 4]).astype(np.int64)
    found = estimate("mean_auroc", 2.0 * labels - 1, labels, "test", kind="multilabel")
    assert found is not None
    assert found.ci == (pytest.approx(1 - (1 - wilson(4, 4)[0]) / 2), 1.0)
