from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pepr_edge.export.quality_gate import judge
from pepr_edge.records import Quality, SessionSettings

LABELS = np.repeat(np.array([0, 1], np.int64), [180, 20])


def logits_of(labels: np.ndarray, wrong: int = 0, of: int = 0) -> np.ndarray:
    """Logits that decide as `labels` say, but for the first `wrong` images of class `of`."""
    said = labels.copy()
    turned = np.flatnonzero(labels == of)[:wrong]
    said[turned] = 1 - said[turned]
    return np.eye(2, dtype=np.float32)[said]


def judged(logits: np.ndarray, threshold: float = 0.99) -> Quality:
    return judge(logits, logits_of(LABELS), LABELS, "accuracy", threshold, SessionSettings())


def test_what_decides_as_before_passes() -> None:
    found = judged(logits_of(LABELS))
    assert found.passed
    assert found.kept == {"accuracy": 1.0, "balanced_accuracy": 1.0}
    assert found.flips.count == 0
    assert found.flips.split == "val"
    assert found.flips.n == 200
    assert set(found.performance) == {"accuracy", "balanced_accuracy", "auroc", "expected_calibration_error"}


def test_a_rare_class_that_is_lost_is_seen_though_accuracy_holds() -> None:
    """One of 200 images is 0.5 % of the accuracy, and 2.5 % of the balanced one where it is of the rare class."""
    assert judged(logits_of(LABELS, wrong=1, of=0)).passed
    found = judged(logits_of(LABELS, wrong=1, of=1))
    assert not found.passed
    assert (
        found.reason
        == "balanced_accuracy is 97.5% of float32's on 200 validation images, expected at least 99.0%"
    )
    assert found.flips.count == 1
    assert found.flips.ci[0] < 1 / 200 < found.flips.ci[1]


def test_exactly_the_threshold_passes() -> None:
    labels = np.repeat(np.array([0, 1], np.int64), 100)
    found = judge(logits_of(labels, wrong=2), logits_of(labels), labels, "accuracy", 0.99, SessionSettings())
    assert found.kept["accuracy"] == pytest.approx(0.99)
    assert found.passed


def test_a_threshold_of_nothing_lets_all_pass() -> None:
    assert judged(logits_of(1 - LABELS), threshold=0.0).passed


def test_one_class_alone_on_validation_leaves_out_what_it_does_not_define() -> None:
    labels = np.zeros(20, np.int64)
    found = judge(logits_of(labels, wrong=10), logits_of(labels), labels, "auroc", 0.99, SessionSettings())
    assert "auroc" not in found.kept


def test_of_a_model_that_was_never_right_nothing_can_be_lost() -> None:
    wrong = logits_of(1 - LABELS)
    assert judge(wrong, wrong, LABELS, "accuracy", 0.99, SessionSettings()).passed


@given(st.integers(0, 180), st.integers(0, 20), st.floats(0, 1))
def test_it_passes_exactly_where_both_metrics_keep_their_share(
    of_0: int, of_1: int, threshold: float
) -> None:
    logits = np.where((LABELS == 0)[:, None], logits_of(LABELS, of_0, 0), logits_of(LABELS, of_1, 1))
    found = judged(logits, threshold)
    assert found.kept["accuracy"] == pytest.approx(1 - (of_0 + of_1) / 200)
    assert found.kept["balanced_accuracy"] == pytest.approx(1 - (of_0 / 180 + of_1 / 20) / 2)
    assert found.passed == all(share >= threshold - 1e-9 for share in found.kept.values())
    assert found.passed == (found.reason == "")
