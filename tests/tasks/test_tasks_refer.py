"""Confidence of a decision, and the limits below which it is not given."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_logits import made

from pepr_edge.tasks import Rule, calibrated, margin_by
from pepr_edge.tasks.refer import (
    confidence,
    error_limit,
    fewest_images,
    referable,
    risk_by_coverage,
    share_limit,
    upper_limit,
)


def test_confidence_is_the_probability_of_the_decision() -> None:
    logits, _ = made(50, 3)
    rule = Rule(temperature=2.0)
    assert confidence(logits, rule) == pytest.approx(calibrated(logits, rule).max(axis=1))


@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.9])
def test_confidence_is_one_half_at_a_threshold(threshold: float) -> None:
    logits, _ = made(50, 2)
    rule = Rule(positive=1, temperature=1.5, threshold=threshold)
    expected = 1 / (1 + np.exp(-margin_by(logits, rule) / rule.temperature))
    assert confidence(logits, rule) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_one_answer_for_all_images_is_sure(threshold: float) -> None:
    logits = np.array([[900.0, -900.0], [0.0, 0.0], [-900.0, 900.0]])
    assert (confidence(logits, Rule(threshold=threshold)) == 1).all()


@pytest.mark.parametrize(
    ("share", "n", "images"),
    [(0.1, 28, None), (0.1, 29, 0), (0.1, 524, 39), (0.05, 524, 16), (0.05, 58, None), (0.5, 5, 0)],
)
def test_how_many_validation_images_may_be_referred(share: float, n: int, images: int | None) -> None:
    assert referable(share, n, 2) == images
    assert (fewest_images(share) <= n) == (images is not None)


values = st.lists(st.floats(0, 1), min_size=2, max_size=60).map(np.array)


@settings(max_examples=50, deadline=None)
@given(values, st.floats(0, 0.99))
def test_no_more_images_than_allowed_are_above_a_limit(found: np.ndarray, share: float) -> None:
    allowed = int(share * len(found))
    assert (found > upper_limit(found, allowed)).sum() <= allowed
    referred = found > 0.9
    limit = share_limit(found, referred, allowed)
    if limit is not None:
        assert (referred | (found < limit)).sum() <= max(allowed, referred.sum())


@settings(max_examples=50, deadline=None)
@given(values, st.integers(0, 99), st.floats(0.01, 0.9))
def test_the_error_is_kept_where_it_can_be(found: np.ndarray, seed: int, max_error: float) -> None:
    wrong = np.random.default_rng(seed).random(len(found)) < 0.3
    none = np.zeros(len(found), bool)
    limit = error_limit(found, wrong, none, max_error)
    answered = found >= (-np.inf if limit is None else limit)
    reachable = [wrong[found >= value].mean() for value in found]
    assert answered.any()
    assert wrong[answered].mean() <= max(max_error, min(reachable)) + 1e-12
    if min(reachable) <= max_error:
        most = max((found >= value).sum() for value in found if wrong[found >= value].mean() <= max_error)
        assert answered.sum() == most


def test_equal_confidence_is_never_too_good() -> None:
    wrong = np.array([False, True, False, True])
    assert risk_by_coverage(np.full(4, 0.5), wrong) == pytest.approx([1, 1, 2 / 3, 0.5])
