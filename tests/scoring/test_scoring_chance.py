from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pepr_edge.scoring import chance
from pepr_edge.scoring.chance import MAX_PERMUTED_IMAGES, above_chance, paired_test, sign_test


@given(st.integers(0, 300), st.integers(0, 300))
def test_the_sign_test_is_the_binomial_test(wins: int, losses: int) -> None:
    if wins + losses == 0:
        assert sign_test(wins, losses) == 1.0
        return
    expected = stats.binomtest(wins, wins + losses, 0.5, alternative="greater").pvalue
    assert sign_test(wins, losses) == pytest.approx(expected, abs=1e-9)


def test_a_paired_test_counts_only_images_that_differ() -> None:
    correct = np.array([True] * 8 + [False] * 2)
    others = np.array([True] * 4 + [False] * 6)
    assert paired_test(correct, others) == pytest.approx(0.5**4)
    assert paired_test(others, correct) == 1.0


def test_always_the_same_decision_is_never_above_chance() -> None:
    labels = np.arange(100) % 3
    assert above_chance(np.ones(100, np.int64), labels) == 1.0
    many = np.arange(MAX_PERMUTED_IMAGES + 100) % 3
    assert above_chance(np.ones(len(many), np.int64), many) == 1.0


def test_four_correct_images_are_too_few() -> None:
    labels = np.array([0, 0, 1, 1])
    assert above_chance(labels, labels) > 0.05
    ten = np.arange(10) % 2
    assert above_chance(ten, ten) < 0.05


def test_one_class_alone_says_nothing() -> None:
    assert above_chance(np.zeros(50, np.int64), np.zeros(50, np.int64)) == 1.0


def test_a_decision_for_a_class_without_images_is_wrong() -> None:
    labels = np.arange(60) % 2
    decided = np.where(np.arange(60) < 30, labels, 5)
    assert above_chance(decided, labels) < 0.05
    assert above_chance(np.full(60, 5), labels) == 1.0


@pytest.mark.parametrize("n", [60, 400, MAX_PERMUTED_IMAGES + 200])
def test_decisions_that_ignore_the_image_seldom_pass(n: int) -> None:
    """At most about 5 % of models without skill are taken for models with skill."""
    rng = np.random.default_rng(1)
    labels = (rng.random(n) < 0.73).astype(np.int64)
    passed = 0
    for _ in range(80):
        decided = (rng.random(n) < rng.random()).astype(np.int64)
        passed += above_chance(decided, labels) < 0.05
    assert passed <= 10


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.35, 0.75))
def test_the_normal_tail_agrees_with_permutations(seed: int, right: float) -> None:
    rng = np.random.default_rng(seed)
    n = MAX_PERMUTED_IMAGES
    labels = rng.choice(3, n, p=[0.6, 0.3, 0.1])
    decided = np.where(rng.random(n) < right, labels, rng.choice(3, n))
    drawn = above_chance(decided, labels)
    normal = float(_with_limit(chance, 10, decided, labels))
    assert (drawn < 0.01) == (normal < 0.02) or abs(drawn - normal) < 0.03


def _with_limit(module: object, limit: int, decided: np.ndarray, labels: np.ndarray) -> float:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MAX_PERMUTED_IMAGES", limit)
        return above_chance(decided, labels)
