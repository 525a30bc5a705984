"""ROC, calibration and confusion before and after quantisation: the figures say what the metrics say."""

from __future__ import annotations

import numpy as np
import pytest

from pepr_edge.report.quantised import AS_TRAINED, Answered, answers, roc_curve
from pepr_edge.scoring.metrics import auroc, expected_calibration_error

RNG = np.random.default_rng(7)


def answered(classes: int = 2, n: int = 300, skill: float = 1.5) -> Answered:
    """A model with some skill, and a file of it that differs a little."""
    labels = RNG.integers(classes, size=n)
    logits = RNG.normal(0, 1, (n, classes)) + skill * np.eye(classes)[labels]
    return Answered(
        "net@64", labels, logits, {"int8": logits + RNG.normal(0, 0.3, logits.shape), "fp32": logits + 1e-9}
    )


@pytest.mark.parametrize("ties", [False, True])
def test_the_area_under_the_curve_is_the_auroc(ties: bool) -> None:
    one = answered()
    logits = one.trained.round() if ties else one.trained
    x, y = roc_curve(logits, one.labels, 1)
    assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
    assert (np.diff(x) >= 0).all()
    assert (np.diff(y) >= 0).all()
    area = float(((y[1:] + y[:-1]) / 2 * np.diff(x)).sum())
    assert area == pytest.approx(auroc(logits, one.labels))


def test_a_curve_needs_both_kinds_of_image() -> None:
    x, y = roc_curve(np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([1, 1]), 1)
    assert np.isnan(x).all()
    assert y.tolist() == [0, 0.5, 1]
    one = Answered("net@64", np.ones(8, int), RNG.normal(0, 1, (8, 2)), {})
    roc, _, confusion = answers([one], ("a", "b"))
    assert (roc.svg, roc.caption) == ("", "Not drawn: only one class occurs in the test split.")
    assert confusion.svg


@pytest.mark.parametrize("classes", [2, 3, 11])
def test_the_figures_hold_what_the_metrics_say(classes: int) -> None:
    one = answered(classes)
    roc, reliability, confusion = answers([one], [f"class {number}" for number in range(classes)])
    assert [figure.name for figure in (roc, reliability, confusion)] == [
        "roc_1",
        "reliability_1",
        "confusion_1",
    ]
    assert roc.picture is not None
    assert reliability.picture is not None
    assert confusion.data is not None
    for name, logits in one.models().items():
        assert f"{name} (area {auroc(logits, one.labels):.3f})" in roc.picture.alt
        assert f"{name} (ECE {expected_calibration_error(logits, one.labels):.3f})" in reliability.picture.alt
    before = [row for row in confusion.data.rows if row[0] == AS_TRAINED]
    assert len(before) == classes**2
    right = sum(int(row[3] or 0) for row in before if row[1] == row[2])
    assert right == int((one.trained.argmax(axis=1) == one.labels).sum())
    assert {row[0] for row in confusion.data.rows} == {
        AS_TRAINED,
        "int8",
    }  # the first of the files, which ranks best
    assert "<image" not in confusion.svg  # the page's policy lets none in


def test_of_bins_with_few_images_nothing_is_drawn_and_all_count_in_the_error() -> None:
    one = answered(n=60)
    _, reliability, _ = answers([one], ("a", "b"))
    assert reliability.data is not None
    assert all(int(row[-1] or 0) >= 5 for row in reliability.data.rows)
    assert all(
        0 <= float(row[3] or 0) <= float(row[2] or 0) <= float(row[4] or 0) <= 1
        for row in reliability.data.rows
    )
    few = Answered("net@64", np.array([0, 1, 1]), np.array([[1.0, 0.0], [0.0, 3.0], [0.0, 5.0]]), {})
    assert answers([few], ("a", "b"))[1].caption == "Not drawn: no bin holds 5 of the 3 test images."
