from __future__ import annotations

import importlib
import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pepr_edge.export.quality_gate import LogitPair, add_agreement, assess_quality, lower_limit, more_often
from pepr_edge.records import Quality, SessionSettings

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = SessionSettings()
LABELS = np.repeat(np.array([0, 1], np.int64), [180, 20])


def logits_of(labels: np.ndarray, wrong: int = 0, of: int = 0) -> np.ndarray:
    """Return logits that decide for `labels`, except on the first `wrong` images of class `of`."""
    decisions = labels.copy()
    flipped = np.flatnonzero(labels == of)[:wrong]
    decisions[flipped] = 1 - decisions[flipped]
    return np.eye(2, dtype=np.float32)[decisions]


def judged(logits: np.ndarray, threshold: float = 0.99) -> Quality:
    return assess_quality(logits, logits_of(LABELS), LABELS, "accuracy", threshold, SETTINGS)


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


def pair(n: int, wrong: int = 0) -> LogitPair:
    """Return logits for n images of which the file decides `wrong` otherwise."""
    labels = np.zeros(n, np.int64)
    return LogitPair(logits_of(labels, wrong), logits_of(labels))


def complete(quality: Quality, validation: LogitPair, training: LogitPair | None = None) -> Quality:
    return add_agreement(quality, validation, training or pair(0))


def test_one_image_shows_no_loss_but_several_of_a_rare_class_do() -> None:
    one = judged(logits_of(LABELS, wrong=1, of=1))
    assert one.kept["balanced_accuracy"] == pytest.approx(0.975)
    assert one.kept_upper["balanced_accuracy"] == 1.0
    assert one.passed
    quality = judged(logits_of(LABELS, wrong=5, of=1))
    assert not quality.passed
    assert quality.kept_upper["balanced_accuracy"] < 0.99
    assert re.search("balanced_accuracy is 87.5 % .* 200 .* 99.0 %", quality.reason)
    assert quality.flips.count == 5
    assert quality.flips.ci[0] < 5 / 200 < quality.flips.ci[1]


def test_the_only_image_of_a_class_shows_no_loss() -> None:
    labels = np.repeat(np.array([0, 1], np.int64), [99, 1])
    quality = assess_quality(
        logits_of(labels, 1, of=1), logits_of(labels), labels, "accuracy", 0.99, SETTINGS
    )
    assert quality.kept["balanced_accuracy"] == pytest.approx(0.5)
    assert quality.passed


def test_with_a_threshold_of_0_everything_passes() -> None:
    assert judged(logits_of(1 - LABELS), threshold=0.0).passed


def test_an_undefined_metric_is_left_out() -> None:
    labels = np.zeros(20, np.int64)
    quality = assess_quality(logits_of(labels, wrong=10), logits_of(labels), labels, "auroc", 0.99, SETTINGS)
    assert "auroc" not in quality.kept
    assert "auroc" not in quality.kept_upper


def test_a_model_that_was_never_right_cannot_lose_performance() -> None:
    wrong = logits_of(1 - LABELS)
    assert assess_quality(wrong, wrong, LABELS, "accuracy", 0.99, SETTINGS).passed


@pytest.mark.parametrize(
    ("validation", "training", "shown", "counted"),
    [
        (pair(100), pair(200), True, (0, 300)),
        (pair(100), pair(190), False, (0, 290)),  # too few images, even if no decision differs
        (pair(100, 1), pair(900, 3), True, (4, 1000)),
        (pair(100, 1), pair(900, 4), False, (5, 1000)),
        (pair(100, 3), pair(900), False, (3, 100)),  # training images agree where validation does not
        (pair(100, 1), pair(900), True, (1, 1000)),
    ],
)
def test_agreement_is_shown_by_enough_images(
    validation: LogitPair, training: LogitPair, shown: bool, counted: tuple[int, int]
) -> None:
    labels = np.zeros(100, np.int64)
    other = np.eye(2, dtype=np.float32)[[0]] * 2  # other logits: not the same up to rounding
    judgement = assess_quality(validation.own, validation.expected, labels, "accuracy", 0.99, SETTINGS)
    quality = complete(judgement, LogitPair(validation.own * other.max(), validation.expected), training)
    assert quality.agreement is not None
    assert (quality.agreement.flips, quality.agreement.images) == counted
    assert quality.shown == shown
    assert (quality.note == "") == shown
    if not shown:
        assert re.search(f"99.0 % .* not be shown on {counted[1]} images: {counted[0]} differ", quality.note)


def test_logits_that_are_the_same_need_no_number_of_images() -> None:
    few = pair(20)
    quality = complete(assess_quality(*few, np.zeros(20, np.int64), "accuracy", 0.99, SETTINGS), few)
    assert quality.shown
    assert quality.note == ""


def test_a_rejected_file_has_a_reason_and_no_note() -> None:
    quality = complete(judged(logits_of(1 - LABELS)), LogitPair(logits_of(1 - LABELS), logits_of(LABELS)))
    assert not quality.passed
    assert not quality.shown
    assert quality.note == ""


def test_the_limit_of_a_proportion() -> None:
    assert lower_limit(0, 10) == 0.0
    assert lower_limit(299, 299) == pytest.approx(0.05 ** (1 / 299))
    # As scipy.stats.beta.ppf(0.05, k, n - k + 1).
    assert lower_limit(995, 1000) == pytest.approx(0.9895159, abs=1e-6)
    assert lower_limit(1, 10) == pytest.approx(0.0051162, abs=1e-6)


def test_fishers_exact_test() -> None:
    """As scipy.stats.fisher_exact with alternative="greater"."""
    assert more_often(3, 100, 0, 900) == pytest.approx(100 * 99 * 98 / (1000 * 999 * 998))
    assert more_often(0, 100, 5, 900) == 1.0
    assert more_often(0, 100, 0, 0) == 1.0


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 3000), st.integers(1, 3000))
def test_the_limit_is_below_the_share_and_rises_with_it(successes: int, n: int) -> None:
    successes = min(successes, n)
    low = lower_limit(successes, n)
    assert 0 <= low < max(successes / n, 1e-300)
    if successes < n:
        assert low <= lower_limit(successes + 1, n)


FLOATS = st.floats(-(2.0**127), 2.0**127, width=32)
METRICS = st.sampled_from(["accuracy", "balanced_accuracy", "auroc", "f1", "specificity_at_sensitivity_0.8"])


@settings(deadline=None, max_examples=25)
@given(st.data(), st.integers(1, 12), st.integers(0, 5), st.integers(2, 4), METRICS, st.floats(0, 1))
def test_any_logits_are_judged(
    data: st.DataObject, n: int, drawn: int, classes: int, metric: str, threshold: float
) -> None:
    def logits(rows: int) -> np.ndarray:
        return data.draw(arrays(np.float32, (rows, classes), elements=FLOATS))

    labels = data.draw(arrays(np.int64, n, elements=st.integers(0, classes - 1)))
    validation = LogitPair(logits(n), logits(n))
    quality = assess_quality(*validation, labels, metric, threshold, SETTINGS)
    quality = add_agreement(quality, validation, LogitPair(logits(drawn), logits(drawn)))
    assert quality.agreement is not None
    figures = [*quality.kept.values(), *quality.kept_upper.values(), quality.agreement.low]
    assert all(math.isfinite(figure) for figure in figures)
    assert quality.passed == (quality.reason == "")
    assert not (quality.note and quality.shown)
    for name, share in quality.kept.items():
        assert share <= quality.kept_upper[name]


@settings(deadline=None, max_examples=25)
@given(st.data(), st.integers(1, 30), st.integers(2, 4), METRICS, st.floats(0, 1))
def test_the_same_logits_always_pass_without_a_note(
    data: st.DataObject, n: int, classes: int, metric: str, threshold: float
) -> None:
    logits = data.draw(arrays(np.float32, (n, classes), elements=FLOATS))
    labels = data.draw(arrays(np.int64, n, elements=st.integers(0, classes - 1)))
    quality = assess_quality(logits, logits, labels, metric, threshold, SETTINGS)
    none = LogitPair(logits[:0], logits[:0])
    quality = add_agreement(quality, LogitPair(logits, logits), none)
    assert quality.passed
    assert quality.shown
    assert set(quality.kept.values()) <= {1.0}


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 179), st.integers(0, 19), st.integers(0, 1), st.floats(0, 1))
@example(of_0=0, of_1=3, more_of=1, threshold=0.99)
def test_more_errors_never_turn_a_rejection_into_a_pass(
    of_0: int, of_1: int, more_of: int, threshold: float
) -> None:
    def with_errors(zeros: int, ones: int) -> Quality:
        logits = np.where((LABELS == 0)[:, None], logits_of(LABELS, zeros, 0), logits_of(LABELS, ones, 1))
        return judged(logits, threshold)

    fewer = with_errors(of_0, of_1)
    more = with_errors(of_0 + (more_of == 0), of_1 + (more_of == 1))
    assert fewer.kept["accuracy"] == pytest.approx(1 - (of_0 + of_1) / 200)
    assert fewer.kept["balanced_accuracy"] == pytest.approx(1 - (of_0 / 180 + of_1 / 20) / 2)
    for name, upper in fewer.kept_upper.items():
        assert more.kept_upper[name] <= upper
    assert fewer.passed or not more.passed
    if all(share >= threshold for share in fewer.kept.values()):
        assert fewer.passed


@pytest.mark.parametrize("classes", [2, 7])
@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy"])
def test_the_gate_knows_its_noise(classes: int, metric: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The requirements at 99 % asked, with 100 validation images and 400 others."""
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    gate_simulation = importlib.import_module("gate_simulation")
    setting = gate_simulation.Setting(classes, metric, validation=100)
    harmless = gate_simulation.Variant("", flipped=0.001)
    harmful = gate_simulation.Variant("", lost=0.03)
    assert gate_simulation.simulate(setting, harmless, (400,), 400, seed=1)[400].rejected < 0.02
    assert gate_simulation.simulate(setting, harmful, (400,), 200, seed=1)[400].passed < 0.05
