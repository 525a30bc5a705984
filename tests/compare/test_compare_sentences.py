"""Each sentence states what its test shows, in either direction."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from compare_sides import LESS, MORE, answer, finding, side
from hypothesis import given, settings
from hypothesis import strategies as st

from pepr_edge import compare
from pepr_edge.compare.model import Question, Side
from pepr_edge.compare.record import Comparison
from pepr_edge.compare.sentences import p_value

pytest.importorskip("scipy")
unit = st.floats(min_value=0, max_value=1)


@pytest.mark.parametrize("question", [MORE, LESS], ids=["B has more", "A has more"])
@pytest.mark.parametrize(
    ("changes", "verdict", "claim", "evidence"),
    [
        (
            [0.10, 0.11, 0.12, 0.09, 0.10, 0.13],
            "up",
            "More data pays off",
            ["0.108 higher", "95 % CI 0.0", "better in 6 of 6", "paired t-test p < 0.001"],
        ),
        (
            [-0.10, -0.11, -0.12, -0.09, -0.10, -0.13],
            "down",
            "More data does not pay off",
            ["0.108 lower", "95 % CI -0.1", "better in 0 of 6"],
        ),
        (
            [0.01, -0.02, 0.03, -0.01, 0.0, 0.01],
            "none",
            "More data shows no clear effect",
            ["0.003 higher", "95 % CI -0.0", "better in 3 of 6"],
        ),
        ([0.0] * 6, "identical", "More data changes nothing", ["test accuracy is identical in all 6"]),
        ([0.05] * 6, "up", "More data pays off", ["0.050 higher", "better in 6 of 6", "Wilcoxon p = 0.0"]),
    ],
    ids=["up", "down", "none", "identical", "constant"],
)
def test_the_sentence_states_what_the_test_shows(
    question: Question, changes: list[float], verdict: str, claim: str, evidence: list[str]
) -> None:
    few = [0.5, 0.6, 0.55, 0.7, 0.65, 0.52]
    more = [value + change for value, change in zip(few, changes, strict=True)]
    # Without resources there are no scores, whose p values could change that of the performance.
    a = without_resources(side(few))
    b = without_resources(side(more))
    comparison = answer(a, b, question) if question is MORE else answer(b, a, question)
    performance = finding(comparison)
    assert performance.verdict == verdict
    assert performance.sentence.startswith(f"{claim}: with all instead of few of the training images, test")
    for figure in evidence:
        assert figure in performance.sentence
    assert performance.sentence.endswith(".")
    assert comparison.headline.startswith(performance.sentence[:-1])


def without_resources(original: Side) -> Side:
    models = tuple(replace(model, resources={}, methods={}) for model in original.models)
    return replace(original, models=models)


RISING = [0.5, 0.6, 0.55, 0.7, 0.65]
CHANGES = [0.05, 0.01, 0.04, 0.06, 0.01]


def test_performance_is_adjusted_separately_from_the_scores() -> None:
    changed = [value + change for value, change in zip(RISING, CHANGES, strict=True)]
    performance = finding(answer(side(RISING), side(changed)))
    assert performance.paired_p is not None
    assert 0.02 < performance.paired_p == performance.paired_p_holm < 0.05
    assert (performance.tests, performance.verdict) == (1, "up")
    assert "Holm" not in performance.sentence


def test_an_effect_that_many_tests_can_show_by_chance_is_not_claimed() -> None:
    models = []
    for number, (model, change) in enumerate(zip(side(RISING).models, CHANGES, strict=True)):
        resources = {**model.resources, "latency": 0.01, "peak_memory": 1e8 * (number % 3)}
        models.append(replace(model, performance=model.performance + change, resources=resources))
    comparison = answer(side(RISING), replace(side(RISING), models=tuple(models)))
    score = finding(comparison, "PePR-E")
    assert score.paired_p is not None
    assert score.paired_p_holm is not None
    assert score.paired_p < 0.05 <= score.paired_p_holm
    assert score.tests == 4
    assert score.sentence.startswith("Per unit of training energy, more data may pay off: ")
    assert "Holm-adjusted over 4 tests" in score.sentence


def test_the_headline_states_the_cost() -> None:
    a = side([0.5, 0.6, 0.55, 0.7, 0.65, 0.52])
    models = []
    for number, model in enumerate(a.models):
        resources: dict[str, float | None] = {"train_energy": 1000.0 + 10 * number}
        performance = model.performance + 0.05 + 0.002 * (number % 2)
        models.append(replace(model, performance=performance, resources=resources))
    comparison = answer(a, replace(a, models=tuple(models)))
    assert "; per unit of training energy it does not pay off: PePR-E is " in comparison.headline
    assert any("PePR-L left out" in note for note in comparison.notes)


@settings(deadline=None, max_examples=15)
@given(st.lists(st.tuples(unit, unit), min_size=2, max_size=9))
def test_swapping_the_sides_changes_no_answer(values: list[tuple[float, float]]) -> None:
    a, b = (side(column) for column in zip(*values, strict=True))
    comparison = answer(a, b, MORE)
    swapped = answer(b, a, LESS)
    between = [test for test in comparison.tests if test.side is None]
    between_swapped = [test for test in swapped.tests if test.side is None]
    for test, other in zip(between, between_swapped, strict=True):
        assert test.verdict == other.verdict
        assert test.sentence.count("p = ") == other.sentence.count("p = ")
    for test in (*comparison.tests, *swapped.tests):
        assert test.sentence
        assert "None" not in test.sentence
        assert "nan" not in test.sentence
    assert all(len(line) <= 100 for line in compare.text(comparison).splitlines())


def accuracy_row(comparison: Comparison) -> list[str]:
    """Return the cells of the accuracy in the terminal table."""
    lines = compare.text(comparison).splitlines()
    return next(line for line in lines if line.startswith("accuracy")).split()


def test_an_undefined_interval_is_none() -> None:
    few = [0.5, 0.6, 0.55, 0.7, 0.65, 0.52]
    comparison = answer(side(few), side([value + 0.05 for value in few]))
    assert finding(comparison).ci is None
    assert accuracy_row(comparison)[3:6] == ["+0.050", "-", "6/6"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "<0.001"),
        (0.0004, "<0.001"),
        (0.04, "0.040"),
        (0.43, "0.43"),
        (0.989, "0.99"),
        (0.996, ">0.99"),
        (1.0, "1.00"),
        (None, "-"),
    ],
)
def test_a_p_below_one_never_reads_as_one(value: float | None, text: str) -> None:
    assert p_value(value, "-") == text


def test_the_table_and_the_sentence_show_the_same_p() -> None:
    rng = np.random.default_rng(6)
    values = rng.random(40)
    # d = 0.001, far below its standard error.
    change = rng.normal(0, 0.1, 40)
    change += 0.0001 - change.mean()
    few = side((0.2 + 0.5 * values).tolist())
    comparison = answer(few, side(np.clip(0.2 + 0.5 * values + change, 0, 1).tolist()))
    assert 0.99 < (finding(comparison).paired_p or 0) < 1
    assert "paired t-test p > 0.99" in comparison.headline
    assert accuracy_row(comparison)[7] == ">0.99"
