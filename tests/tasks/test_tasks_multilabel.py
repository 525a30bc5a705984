from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_logits import found

from pepr_edge.tasks import Rule, agree_by, calibrated, decide_by, fit_temperature, margin_by, multilabel
from pepr_edge.tasks.multilabel import (
    agree,
    baseline,
    class_counts,
    constant_logits,
    correct,
    decide,
    errors,
    example_labels,
    loss,
    margin,
    perfect_logits,
    probabilities,
)

SEEDS = st.integers(0, 2**32 - 1)


def test_a_finding_is_decided_by_itself() -> None:
    logits = np.array([[1.0, -1.0, 0.0], [-2.0, -3.0, -0.1]], np.float32)
    labels = np.array([[1, 0, 0], [0, 0, 0]])
    assert decide(logits).tolist() == [[1, 0, 1], [0, 0, 0]]
    assert errors(logits, labels).tolist() == [1.0, 0.0]
    assert correct(logits, labels).tolist() == [False, True]
    assert agree(logits, -logits).tolist() == [False, False]
    assert agree(logits, 2 * logits).all()


@settings(deadline=None)
@given(SEEDS)
def test_a_change_of_less_than_half_the_margin_keeps_the_findings(seed: int) -> None:
    logits, _ = found(n=20, seed=seed)
    noise = np.random.default_rng(seed).uniform(-0.499, 0.499, logits.shape)
    assert agree(logits, logits + noise * margin(logits)[:, None]).all()
    rule = Rule(kind="multilabel", temperatures=(0.5, 1, 2, 3), thresholds=(0.2, 0.5, 0.9, 1.0))
    moved = logits.astype(np.float64) + noise * margin_by(logits, rule)[:, None]
    assert agree_by(logits, moved, rule).all()


def test_probabilities_do_not_overflow() -> None:
    large = np.array([[1e4, -1e4]], np.float32)
    np.testing.assert_allclose(probabilities(large), [[1, 0]])


@pytest.mark.parametrize("balanced", [False, True])
def test_the_loss_is_the_mean_binary_cross_entropy(balanced: bool) -> None:
    import torch

    logits, labels = found(n=50)
    probability = probabilities(logits)
    counts = class_counts(labels, 4)
    weight = (50 - counts) / counts if balanced else np.ones(4)
    each = -(weight * labels * np.log(probability) + (1 - labels) * np.log(1 - probability))
    made = loss(counts if balanced else None, 50)
    actual = float(made(torch.from_numpy(logits), torch.from_numpy(labels)))
    assert actual == pytest.approx(each.mean(), rel=1e-5)


def test_the_baseline_gives_the_more_frequent_answer() -> None:
    label, share = baseline(np.array([8, 1]), np.array([3, 2]), 10, 4)
    assert (label, share) == (0, (3 / 4 + 2 / 4) / 2)


def test_the_constant_model_gives_each_finding_its_frequency() -> None:
    ((label, logits),) = constant_logits(np.array([10, 40]), 100).items()
    assert label == 1
    np.testing.assert_allclose(probabilities(logits), [[10.5 / 101, 40.5 / 101]], rtol=1e-6)


def test_example_labels_have_their_counts_and_perfect_logits_their_decisions() -> None:
    labels = example_labels((3, 0, 5), 5)
    assert labels.sum(axis=0).tolist() == [3, 0, 5]
    assert decide(perfect_logits(labels, 3)).tolist() == labels.tolist()


@settings(deadline=None, max_examples=20)
@given(SEEDS)
def test_thresholds_are_on_the_calibrated_probability_of_each_finding(seed: int) -> None:
    logits, labels = found(n=40, seed=seed)
    pairs = np.stack([np.zeros(40, np.float32), logits[:, 0]], axis=1)
    temperature = fit_temperature(pairs, labels[:, 0])
    rule = Rule(kind="multilabel", temperatures=(temperature, 1, 1, 1), thresholds=(0.3, 0.5, 0.5, 0.5))
    probability = calibrated(logits, rule)
    expected = calibrated(pairs, Rule(temperature=temperature))[:, 1]
    np.testing.assert_allclose(probability[:, 0], expected, rtol=1e-12)
    assert (decide_by(logits, rule)[:, 0] == (expected >= 0.3)).all()
    assert multilabel.decide(logits)[:, 1:].tolist() == decide_by(logits, rule)[:, 1:].tolist()
