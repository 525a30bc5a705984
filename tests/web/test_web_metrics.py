"""The figures of the page's evaluation are those of `evaluate`; intervals agree as far as resamples do."""

from __future__ import annotations

import numpy as np
import pytest
from node_tools import run_script

from pepr_edge.field.evaluate import all_figures
from pepr_edge.records import Decision
from pepr_edge.scoring.rule import rule_of
from pepr_edge.tasks import decide_by

BINARY = ("normal", "pneumonia")
GRADES = ("a", "b", "c")
# How far the ends of two bootstrap intervals of the same images may lie apart.
INTERVAL = 0.03


@pytest.mark.parametrize(
    ("names", "decision"),
    [
        (BINARY, Decision(kind="threshold", positive="pneumonia", temperature=1.7, threshold=0.3)),
        (BINARY, Decision(positive="normal", temperature=0.8)),
        (GRADES, Decision(temperature=2.0)),
    ],
)
@pytest.mark.parametrize("rounded", [False, True])
def test_figures(names: tuple[str, ...], decision: Decision, rounded: bool) -> None:
    rng = np.random.default_rng(0)
    labels = rng.choice(len(names), 240, p=[0.7, 0.3] if len(names) == 2 else [0.5, 0.3, 0.2])
    logits = rng.normal(size=(240, len(names))) + 1.5 * np.eye(len(names))[labels]
    # Rounded logits have ties.
    logits = (logits.round(0) if rounded else logits).astype(np.float32)
    rule = rule_of(decision, names)
    document = {
        "logits": logits.astype(float).tolist(),
        "labels": labels.tolist(),
        "decisions": decide_by(logits, rule).tolist(),
        "positive": rule.positive if decision.positive else None,
        "temperature": decision.temperature,
    }
    actual = run_script("metrics.mjs", document)
    expected = {
        name: figure for name, figure in all_figures(decision, logits, labels, names).items() if figure
    }
    assert set(actual) == set(expected)
    for name, figure in expected.items():
        assert actual[name]["value"] == pytest.approx(figure.value, abs=1e-9), name
        interval = (actual[name]["low"], actual[name]["high"])
        if name.endswith("calibration_error") and 0 in (interval[0], figure.ci[0]):
            # 0 unless the error is above what chance makes of calibrated probabilities: resamples decide.
            interval = (figure.ci[0], interval[1])
        assert interval == pytest.approx(figure.ci, abs=INTERVAL), name
