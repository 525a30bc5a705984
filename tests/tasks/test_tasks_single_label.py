from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_logits import Labels, Logits, classified, made
from scipy.special import softmax

from pepr_edge.scoring.metrics import metric
from pepr_edge.tasks.single_label import (
    agree,
    baseline,
    class_counts,
    constant_logits,
    correct,
    decide,
    loss,
    margin,
    probabilities,
)

COUNTS = st.lists(st.integers(min_value=0, max_value=9), min_size=2, max_size=5).filter(any)


@settings(deadline=None)
@given(classified())
def test_the_decision_is_the_highest_logit_and_the_first_of_equal_ones(case: tuple[Logits, Labels]) -> None:
    logits, labels = case
    decisions = decide(logits)
    assert decisions.tolist() == [row.index(max(row)) for row in logits.tolist()]
    assert correct(logits, labels).tolist() == [
        decision == label for decision, label in zip(decisions, labels, strict=True)
    ]


def test_models_agree_where_they_make_the_same_decision() -> None:
    logits = np.array([[0.0, 1.0], [2.0, 1.0], [5.0, -5.0]], np.float32)
    others = np.array([[3.0, 4.0], [1.0, 2.0], [0.1, 0.0]], np.float32)
    assert agree(logits, others).tolist() == [True, False, True]
    assert agree(logits, logits).all()


@settings(deadline=None)
@given(classified(grid=False), st.data())
def test_a_change_of_less_than_half_the_margin_keeps_the_decision(
    case: tuple[Logits, Labels], data: st.DataObject
) -> None:
    logits = case[0].astype(np.float64)
    seed = data.draw(st.integers(min_value=0, max_value=2**32 - 1))
    noise = np.random.default_rng(seed).uniform(-0.499, 0.499, logits.shape)
    clear = margin(logits) > 1e-6
    moved = logits + noise * margin(logits)[:, None]
    assert agree(logits, moved)[clear].all()


def test_the_margin_is_the_distance_to_the_second_highest_logit() -> None:
    logits = np.array([[0.0, 3.0, 1.0], [1.0, 0.0, 1.0], [-5.0, 1.0, -9.0]], np.float32)
    assert margin(logits).tolist() == [2.0, 0.0, 6.0]
    assert margin(logits).dtype == np.float32


@settings(deadline=None)
@given(classified(grid=False), st.floats(min_value=-100, max_value=100, width=32))
def test_probabilities_equal_scipy_and_ignore_a_shift(case: tuple[Logits, Labels], shift: float) -> None:
    logits = case[0].astype(np.float64)
    np.testing.assert_allclose(probabilities(case[0]), softmax(logits, axis=1), rtol=1e-6)
    np.testing.assert_allclose(probabilities(case[0]).sum(axis=1), 1)
    np.testing.assert_allclose(probabilities(logits + shift), probabilities(logits), rtol=1e-5, atol=1e-9)


def test_probabilities_of_large_logits_do_not_overflow() -> None:
    large = np.array([[1e4, 0.0], [-1e4, 0.0]], np.float32)
    np.testing.assert_allclose(probabilities(large), [[1, 0], [0, 1]])


def test_class_counts_include_classes_without_images() -> None:
    assert class_counts(np.array([2, 0, 2], np.uint8), 4).tolist() == [1, 0, 2, 0]


def test_the_loss_is_the_mean_negative_log_probability() -> None:
    import torch

    logits, labels = made(n=50)
    expected = -np.log(probabilities(logits)[np.arange(50), labels]).mean()
    actual = float(loss()(torch.from_numpy(logits), torch.from_numpy(labels)))
    assert actual == pytest.approx(expected, rel=1e-5)


def test_with_class_counts_every_class_weighs_the_same_in_the_loss() -> None:
    import torch

    logits, labels = made(n=50)
    each = -np.log(probabilities(logits)[np.arange(50), labels])
    expected = np.mean([each[labels == label].mean() for label in range(3)])
    balanced = loss(class_counts(labels, 3))
    actual = float(balanced(torch.from_numpy(logits), torch.from_numpy(labels)))
    assert actual == pytest.approx(expected, rel=1e-5)
    assert balanced.weight.tolist() == pytest.approx((50 / (3 * class_counts(labels, 3))).tolist())


def test_a_class_without_images_gives_no_infinite_weight() -> None:
    assert loss(np.array([4, 0])).weight.tolist() == [0.5, 2.0]


@settings(deadline=None)
@given(COUNTS)
def test_the_baseline_is_the_accuracy_of_the_majority_class(counts: list[int]) -> None:
    label, share = baseline(np.array(counts), np.array(counts))
    assert share == pytest.approx(max(counts) / sum(counts))
    assert label == counts.index(max(counts))


def test_the_baseline_takes_the_majority_class_from_training() -> None:
    assert baseline(np.array([5, 4]), np.array([1, 3])) == (0, 0.25)


@settings(deadline=None)
@given(COUNTS)
def test_constant_models_decide_for_each_class_and_begin_with_the_most_frequent(counts: list[int]) -> None:
    models = constant_logits(np.array(counts))
    assert sorted(models) == list(range(len(counts)))
    assert next(iter(models)) == counts.index(max(counts))
    for label, logits in models.items():
        assert decide(np.repeat(logits, 3, axis=0)).tolist() == [label] * 3


def test_constant_logits_reach_the_accuracy_of_the_baseline() -> None:
    labels = np.array([0, 1, 1, 2])
    counts = class_counts(labels, 3)
    label, share = baseline(counts, counts)
    logits = np.repeat(constant_logits(counts)[label], 4, axis=0)
    assert metric("accuracy")(logits, labels) == share
