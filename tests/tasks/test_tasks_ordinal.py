from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_logits import Labels, Logits, classified, made

from pepr_edge.tasks import ordinal
from pepr_edge.tasks.ordinal import agree, decide, errors, loss, margin, probabilities


@settings(deadline=None)
@given(classified(grid=False))
def test_the_decision_is_the_median_of_the_probabilities(case: tuple[Logits, Labels]) -> None:
    logits = case[0]
    cumulated = probabilities(logits).cumsum(axis=1)
    decisions = decide(logits)
    clear = np.abs(cumulated[:, :-1] - 0.5).min(axis=1) > 1e-9
    expected = (cumulated >= 0.5).argmax(axis=1)
    assert (decisions == expected)[clear].all()


@settings(deadline=None)
@given(classified(grid=False), st.integers(0, 2**32 - 1))
def test_a_change_of_less_than_half_the_margin_keeps_the_grade(
    case: tuple[Logits, Labels], seed: int
) -> None:
    logits = case[0].astype(np.float64)
    noise = np.random.default_rng(seed).uniform(-0.499, 0.499, logits.shape)
    clear = margin(logits) > 1e-6
    assert agree(logits, logits + noise * margin(logits)[:, None])[clear].all()


def test_the_error_is_the_number_of_grades() -> None:
    logits = 9 * np.eye(4, dtype=np.float32)[[0, 3, 2]]
    assert errors(logits, np.array([0, 0, 3])).tolist() == [0.0, 3.0, 1.0]


def test_a_grade_between_two_likely_ones_is_decided() -> None:
    assert decide(np.log(np.array([[0.45, 0.1, 0.45]]))).tolist() == [1]
    assert decide(np.array([[1e4, -1e4, 0.0], [-1e4, -1e4, 1e4]])).tolist() == [0, 2]


@pytest.mark.parametrize("balanced", [False, True])
def test_the_loss_is_cross_entropy_and_the_ranked_probability_score(balanced: bool) -> None:
    import torch

    logits, labels = made(n=50, classes=4)
    probability = probabilities(logits)
    actual = labels[:, None] <= np.arange(4)
    each = -np.log(probability[np.arange(50), labels])
    each += ((probability.cumsum(axis=1) - actual) ** 2).sum(axis=1)
    counts = ordinal.class_counts(labels, 4)
    expected = each.mean()
    if balanced:
        expected = np.mean([each[labels == grade].mean() for grade in range(4)])
    found = loss(counts if balanced else None)(torch.from_numpy(logits), torch.from_numpy(labels))
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_a_far_grade_costs_more_than_a_near_one() -> None:
    import torch

    logits = torch.zeros(1, 4)
    logits[0, 3] = 3.0
    near, far = (float(loss()(logits, torch.tensor([grade]))) for grade in (2, 0))
    assert far > near + 1
