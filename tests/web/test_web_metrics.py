"""Decisions and figures of the page are those of `predict` and `evaluate`; intervals as resamples allow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from node_tools import run_script
from numpy.typing import NDArray

from pepr_edge.records import Decision, Estimate
from pepr_edge.scoring.file_figures import all_figures, group_figures
from pepr_edge.scoring.rule import rule_of
from pepr_edge.tasks import Labels, calibrated, decide_by
from pepr_edge.tasks.refer import confidence

BINARY = ("normal", "pneumonia")
GRADES = ("a", "b", "c")
N = 120
# How far the ends of two bootstrap intervals of the same images may lie apart.
INTERVAL = 0.03
CASES = {
    "threshold": (
        BINARY,
        Decision(kind="threshold", positive="pneumonia", temperature=1.7, threshold=0.3),
        "auroc",
    ),
    "positive first": (BINARY, Decision(positive="normal", temperature=0.8), "npv_at_decision"),
    "classes": (GRADES, Decision(temperature=2.0), "balanced_accuracy"),
    "grades": (GRADES, Decision(kind="median", temperature=1.4), "quadratic_kappa"),
    "two grades": (BINARY, Decision(kind="median", temperature=0.7), "sensitivity_at_specificity_0.8"),
    "without errors": (BINARY, Decision(positive="pneumonia"), "balanced_accuracy"),
    "findings without errors": (GRADES, Decision(kind="thresholds"), "mean_auroc"),
    "findings": (
        GRADES,
        Decision(kind="thresholds", temperatures=(0.5, 1.0, 2.0), thresholds=(0.2, 0.5, 0.6)),
        "mean_average_precision",
    ),
}


def made(name: str, rounded: bool) -> tuple[NDArray[np.float32], Labels]:
    """Return logits and labels; rounded logits have ties."""
    names, decision, _ = CASES[name]
    rng = np.random.default_rng(0)
    shares = [0.7, 0.3] if len(names) == 2 else [0.5, 0.3, 0.2]
    if decision.kind == "thresholds":
        labels = (rng.random((N, len(names))) < shares).astype(np.int64)
        logits = rng.normal(size=labels.shape) + 2.0 * labels - 1.5
        if name.endswith("without errors"):
            logits = 8.0 * labels - 4.0
    else:
        labels = rng.choice(len(names), N, p=shares)
        logits = rng.normal(size=(N, len(names))) + 1.5 * np.eye(len(names))[labels]
        if name.endswith("without errors"):
            logits = 8.0 * np.eye(len(names))[labels]
    return (logits.round(0) if rounded else logits).astype(np.float32), labels


def document(name: str, rounded: bool) -> dict[str, Any]:
    """Return what the page computes figures from."""
    names, decision, _ = CASES[name]
    logits, labels = made(name, rounded)
    rule = rule_of(decision, names)
    common = {
        "logits": logits.astype(float).tolist(),
        "labels": labels.tolist(),
        "decisions": decide_by(logits, rule).tolist(),
    }
    if decision.kind == "thresholds":
        return {**common, "temperatures": list(decision.temperatures or ())}
    return {
        **common,
        "positive": rule.positive if decision.positive else None,
        "temperature": decision.temperature,
        "isOrdinal": decision.kind == "median",
    }


@pytest.fixture(scope="module")
def of_page() -> dict[str, Any]:
    """What the page's modules say of all cases, in one process."""
    documents = [document(name, rounded) for name in CASES for rounded in (False, True)]
    decisions = [
        {
            "logits": document(name, rounded)["logits"],
            "decision": CASES[name][1].model_dump(mode="json"),
            "labels": CASES[name][0],
        }
        for name in CASES
        for rounded in (False, True)
    ]
    groups = [{**document(name, False), "metric": CASES[name][2]} for name in CASES]
    found = run_script("metrics.mjs", {"decisions": decisions, "metrics": documents, "groups": groups})
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("rounded", [False, True])
def test_decisions(of_page: dict[str, Any], name: str, rounded: bool) -> None:
    names, decision, _ = CASES[name]
    logits, _ = made(name, rounded)
    rule = rule_of(decision, names)
    answers = of_page["answers"][2 * list(CASES).index(name) + rounded]
    np.testing.assert_array_equal([one["decided"] for one in answers], decide_by(logits, rule))
    np.testing.assert_allclose([one["confidence"] for one in answers], confidence(logits, rule), rtol=1e-9)
    np.testing.assert_allclose(
        [one["probabilities"] for one in answers], calibrated(logits, rule), rtol=1e-12
    )
    assert all(one["agrees"] for one in answers)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("rounded", [False, True])
def test_figures(of_page: dict[str, Any], name: str, rounded: bool) -> None:
    names, decision, metric = CASES[name]
    logits, labels = made(name, rounded)
    number = list(CASES).index(name)
    check(of_page["metrics"][2 * number + rounded], all_figures(decision, logits, labels, names))
    if rounded:
        return
    expected = {
        key: found for key, found in group_figures(decision, logits, labels, names, metric).items() if found
    }
    check({key: found for key, found in of_page["groups"][number].items() if found}, expected)


def check(actual: dict[str, Any], expected: dict[str, Estimate]) -> None:
    assert set(actual) == set(expected)
    for name, figure in expected.items():
        assert actual[name]["value"] == pytest.approx(figure.value, abs=1e-9), name
        assert actual[name]["n"] == figure.n, name
        interval = (actual[name]["low"], actual[name]["high"])
        if name.endswith("calibration_error") and 0 in (interval[0], figure.ci[0]):
            # 0 unless the error is above what chance makes of calibrated probabilities: resamples decide.
            interval = (figure.ci[0], interval[1])
        assert interval == pytest.approx(figure.ci, abs=INTERVAL), name
