"""ROC, calibration and confusion before and after quantisation: the figures agree with the metrics."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pepr_edge.report.predictions import AS_TRAINED, ModelPredictions, roc_curve
from pepr_edge.report.quantised import prediction_figures
from pepr_edge.scoring.metrics import metric
from pepr_edge.tasks import Rule

RNG = np.random.default_rng(7)


def predictions(classes: int = 2, n: int = 300, skill: float = 1.5) -> ModelPredictions:
    """Return a model with some skill, and a file of it that differs slightly."""
    labels = RNG.integers(classes, size=n)
    logits = RNG.normal(0, 1, (n, classes)) + skill * np.eye(classes)[labels]
    files = {"int8": logits + RNG.normal(0, 0.3, logits.shape), "fp32": logits + 1e-9}
    return ModelPredictions("net@64", labels, logits, files)


@pytest.mark.parametrize("ties", [False, True])
def test_the_area_under_the_curve_is_the_auroc(ties: bool) -> None:
    model = predictions()
    logits = model.trained.round() if ties else model.trained
    x, y = roc_curve(logits, model.labels, 1)
    assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
    assert (np.diff(x) >= 0).all()
    assert (np.diff(y) >= 0).all()
    area = float(((y[1:] + y[:-1]) / 2 * np.diff(x)).sum())
    assert area == pytest.approx(metric("auroc")(logits, model.labels))


def test_a_curve_needs_images_of_both_classes() -> None:
    x, y = roc_curve(np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([1, 1]), 1)
    assert np.isnan(x).all()
    assert y.tolist() == [0, 0.5, 1]
    model = ModelPredictions("net@64", np.ones(8, int), RNG.normal(0, 1, (8, 2)), {})
    roc, _, confusion = prediction_figures([model], ("a", "b"))
    assert roc.svg == ""
    assert "one class" in roc.caption
    assert confusion.svg


@pytest.mark.parametrize("classes", [2, 3, 11])
def test_the_figures_agree_with_the_metrics(classes: int) -> None:
    model = predictions(classes)
    roc, reliability, confusion = prediction_figures(
        [model], [f"class {number}" for number in range(classes)]
    )
    names = [figure.name for figure in (roc, reliability, confusion)]
    assert names == ["roc_1", "reliability_1", "confusion_1"]
    assert roc.picture is not None
    assert reliability.picture is not None
    assert confusion.data is not None
    for name, logits in model.models().items():
        error = metric("expected_calibration_error")(logits, model.labels)
        assert f"{name} (area {metric('auroc')(logits, model.labels):.3f})" in roc.picture.alt
        assert f"{name} (ECE {error:.3f})" in reliability.picture.alt
    before = [row for row in confusion.data.rows if row[0] == AS_TRAINED]
    assert len(before) == classes**2
    hits = sum(int(row[3] or 0) for row in before if row[1] == row[2])
    assert hits == int((model.trained.argmax(axis=1) == model.labels).sum())
    # Only the first file, which ranks best.
    assert {row[0] for row in confusion.data.rows} == {AS_TRAINED, "int8"}
    assert "<image" not in confusion.svg  # the page's security policy blocks images


def test_decisions_are_also_shown_at_the_threshold_of_the_first_file() -> None:
    model = replace(predictions(), rule=Rule(positive=0, temperature=2.0, threshold=0.2))
    _, _, confusion = prediction_figures([model], ("sick", "well"))
    assert confusion.data is not None
    rows = {row[1:3]: row[3] for row in confusion.data.rows if row[0] == "int8, threshold"}
    named = 1 / (1 + np.exp((model.files["int8"][:, 1] - model.files["int8"][:, 0]) / 2)) >= 0.2
    assert rows["sick", "sick"] == int((named & (model.labels == 0)).sum())
    assert rows["well", "sick"] == int((named & (model.labels == 1)).sum())


def test_bins_with_few_images_are_not_drawn() -> None:
    _, reliability, _ = prediction_figures([predictions(n=60)], ("a", "b"))
    assert reliability.data is not None
    for _, _, share, low, high, images in reliability.data.rows:
        assert int(images or 0) >= 5
        assert 0 <= float(low or 0) <= float(share or 0) <= float(high or 0) <= 1
    logits = np.array([[1.0, 0.0], [0.0, 3.0], [0.0, 5.0]])
    few = ModelPredictions("net@64", np.array([0, 1, 1]), logits, {})
    _, not_drawn, _ = prediction_figures([few], ("a", "b"))
    assert not_drawn.picture is None
    assert "no bin holds 5 of the 3" in not_drawn.caption
