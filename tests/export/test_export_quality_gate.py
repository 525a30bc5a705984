from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pepr_edge.export.quality_gate import assess_quality
from pepr_edge.records import Quality, SessionSettings

LABELS = np.repeat(np.array([0, 1], np.int64), [180, 20])


def logits_of(labels: np.ndarray, wrong: int = 0, of: int = 0) -> np.ndarray:
    """Return logits that decide for `labels`, except on the first `wrong` images of class `of`."""
    decisions = labels.copy()
    flipped = np.flatnonzero(labels == of)[:wrong]
    decisions[flipped] = 1 - decisions[flipped]
    return np.eye(2, dtype=np.float32)[decisions]


def judged(logits: np.ndarray, threshold: float = 0.99) -> Quality:
    return assess_quality(logits, logits_of(LABELS), LABELS, "accuracy", threshold, SessionSettings())


def test_unchanged_decisions_pass() -> None:
    quality = judged(logits_of(LABELS))
    assert quality.passed
    assert quality.kept == {"accuracy": 1.0, "balanced_accuracy": 1.0}
    assert quality.flips.count == 0
    assert quality.flips.split == "val"
    assert quality.flips.n == 200
    assert set(quality.performance) == {
        "accuracy",
        "balanced_accuracy",
        "auroc",
        "expected_calibration_error",
    }


def test_the_loss_of_a_rare_class_fails_although_accuracy_passes() -> None:
    """One of 200 images is 0.5 % of accuracy, but 2.5 % of balanced accuracy if it is of the rare class."""
    assert judged(logits_of(LABELS, wrong=1, of=0)).passed
    quality = judged(logits_of(LABELS, wrong=1, of=1))
    assert not quality.passed
    assert re.search("balanced_accuracy is 97.5% .* 200 .* 99.0%", quality.reason)
    assert quality.flips.count == 1
    assert quality.flips.ci[0] < 1 / 200 < quality.flips.ci[1]


def test_exactly_the_threshold_passes() -> None:
    labels = np.repeat(np.array([0, 1], np.int64), 100)
    quality = assess_quality(
        logits_of(labels, wrong=2), logits_of(labels), labels, "accuracy", 0.99, SessionSettings()
    )
    assert quality.kept["accuracy"] == pytest.approx(0.99)
    assert quality.passed


def test_with_a_threshold_of_0_everything_passes() -> None:
    assert judged(logits_of(1 - LABELS), threshold=0.0).passed


def test_an_undefined_metric_is_left_out() -> None:
    labels = np.zeros(20, np.int64)
    quality = assess_quality(
        logits_of(labels, wrong=10), logits_of(labels), labels, "auroc", 0.99, SessionSettings()
    )
    assert "auroc" not in quality.kept


def test_a_model_that_was_never_right_cannot_lose_performance() -> None:
    wrong = logits_of(1 - LABELS)
    assert assess_quality(wrong, wrong, LABELS, "accuracy", 0.99, SessionSettings()).passed


@given(st.integers(0, 180), st.integers(0, 20), st.floats(0, 1))
def test_the_gate_passes_if_and_only_if_both_metrics_keep_their_share(
    of_0: int, of_1: int, threshold: float
) -> None:
    logits = np.where((LABELS == 0)[:, None], logits_of(LABELS, of_0, 0), logits_of(LABELS, of_1, 1))
    quality = judged(logits, threshold)
    assert quality.kept["accuracy"] == pytest.approx(1 - (of_0 + of_1) / 200)
    assert quality.kept["balanced_accuracy"] == pytest.approx(1 - (of_0 / 180 + of_1 / 20) / 2)
    assert quality.passed == all(share >= threshold - 1e-9 for share in quality.kept.values())
    assert quality.passed == (quality.reason == "")
