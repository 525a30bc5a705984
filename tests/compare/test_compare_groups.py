"""The questions within each side, and the adjustment of p values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import compare_sides
import numpy as np
import pytest
from compare_sides import MORE, answer, finding, side

from pepr_edge.compare.groups import groupings, median_parameters
from pepr_edge.compare.model import Side
from pepr_edge.compare.record import Comparison, Finding
from pepr_edge.compare.statistics import holm

TESTED = (
    (MORE.text, None),
    (f"{MORE.text} With each side by itself", None),
    ("Do large models pay off?", "A"),
)

stats = pytest.importorskip("scipy.stats")


def test_models_above_the_median_are_large() -> None:
    models = side([0.5] * 5).models
    assert median_parameters(models) == 3_000_000
    size, efficient, family = (grouping.members(models) for grouping in groupings())
    assert size == (False, False, False, True, True)
    assert set(efficient) == {False}
    assert set(family) == {True}
    unknown = replace(models[0], family=None, efficient=None, num_params=None)
    assert [grouping.members((unknown,)) for grouping in groupings()] == [(None,)] * 3


@pytest.mark.parametrize(
    ("values", "verdict", "claim"),
    [
        (
            [0.50, 0.51, 0.52, 0.80, 0.81, 0.82],
            "up",
            "large models pay off: test accuracy is 0.300 higher",
        ),
        (
            [0.80, 0.81, 0.82, 0.50, 0.51, 0.52],
            "down",
            "large models do not pay off: test accuracy is 0.300 lower",
        ),
        (
            [0.50, 0.81, 0.62, 0.80, 0.51, 0.65],
            "none",
            "large models show no clear effect: test accuracy is 0.0",
        ),
    ],
)
def test_the_answer_within_a_side(values: list[float], verdict: str, claim: str) -> None:
    # A model that the other side lacks is in neither group.
    own = compare_sides.model("own@64", 0.1, 9)
    comparison = answer(replace(side(values), models=(*side(values).models, own)), side(values))
    assert any("of the 6 architectures" in note for note in comparison.notes)
    test = finding(comparison, question="Do large models pay off?", side="A")
    assert (test.verdict, test.n, test.groups) == (verdict, (3, 3), ("small", "large"))
    assert test.sentence.startswith("In A (few), of the 6 architectures")
    assert claim in test.sentence
    assert "3 large models, 3 small ones" in test.sentence
    expected = stats.ttest_ind(values[3:], values[:3], equal_var=True)
    assert (test.t, test.p) == (expected.statistic, expected.pvalue)
    assert comparison.answers[0].startswith(test.sentence[:-1])


def test_a_group_of_fewer_than_two_is_not_tested() -> None:
    comparison = answer(side([0.5, 0.6, 0.7]), side([0.6, 0.7, 0.7]))
    test = finding(comparison, question="Do efficient models pay off?", side="B")
    assert (test.verdict, test.p, test.n) == ("untested", None, (3, 0))
    assert "efficient models could not be tested" in test.sentence
    assert "0 efficient models and 3 other ones" in test.sentence
    test = finding(answer(side([0.5, 0.6]), side([0.6, 0.7])), question="Do large models pay off?", side="A")
    assert "1 large model and 1 small one, and a test needs 2 of each" in test.sentence


def costly(values: Sequence[float], rng: np.random.Generator) -> Side:
    """Return a side whose resources are not in proportion to each other."""
    original = side(values)
    models = [
        replace(model, resources={name: rng.random() for name in model.resources})
        for model in original.models
    ]
    return replace(original, models=tuple(models))


def test_p_is_adjusted_within_each_family() -> None:
    rng = np.random.default_rng(3)
    comparison = answer(costly(rng.random(8).tolist(), rng), costly(rng.random(8).tolist(), rng))
    questions = list(dict.fromkeys(test.question for test in comparison.tests))
    within = [grouping.question for grouping in groupings()]
    assert questions == [MORE.text, f"{MORE.text} With each side by itself", *within]
    families: dict[tuple[str, bool], list[Finding]] = {}
    for test in comparison.tests:
        family = "within" if test.side else test.question
        families.setdefault((family, test.measure == "performance"), []).append(test)
    assert len(families) == 5
    for tests in families.values():
        assert [test.p_holm for test in tests] == holm([test.p for test in tests])
        assert {test.tests for test in tests} == {sum(test.p is not None for test in tests)}
    # Only the first of the three questions has two groups here.
    assert {test.tests for test in families["within", True]} == {2}
    assert {test.tests for test in families["within", False]} == {8}
    assert any(note.startswith("Holm-adjusted: ") and "three families" in note for note in comparison.notes)


def with_proportional_co2eq(original: Side, images: int) -> Side:
    """Return a side with CO2eq in proportion to energy and one number of training images."""
    models = []
    for model in original.models:
        grams = 0.3 * (model.resources["train_energy"] or 0)
        resources = {**model.resources, "train_co2eq": grams, "train_data": images}
        methods = {**model.methods, "train_co2eq": "measured", "train_data": "counted"}
        models.append(replace(model, resources=resources, methods=methods))
    return replace(original, models=tuple(models))


def measures(comparison: Comparison, question: str, which: str | None) -> list[str]:
    return [test.measure for test in comparison.tests if (test.question, test.side) == (question, which)]


def test_the_same_values_are_tested_once() -> None:
    rng = np.random.default_rng(4)
    a = with_proportional_co2eq(costly(rng.random(8).tolist(), rng), images=100)
    b = with_proportional_co2eq(costly(rng.random(8).tolist(), rng), images=400)
    comparison = answer(a, b)
    joint, separate, within = (measures(comparison, *key) for key in TESTED)
    assert joint == ["performance", "PePR-E", "PePR-D", "PePR-L", "PePR-W", "PePR-edge"]
    assert separate == ["PePR-E", "PePR-L", "PePR-W", "PePR-edge"]
    assert within == ["performance", "PePR-E", "PePR-L", "PePR-W", "PePR-edge"]
    note = next(note for note in comparison.notes if note.startswith("The same values are tested once: "))
    assert "PePR-C is PePR-E (CO2eq in proportion to energy); with each side by itself PePR-C is" in note
    assert "PePR-D is performance (as many training images for all)" in note


def test_a_score_with_the_same_values_on_both_scales_is_tested_once() -> None:
    rng = np.random.default_rng(5)
    a = costly(rng.random(6).tolist(), rng)
    b = costly(rng.random(6).tolist(), rng)
    models = [
        replace(model, resources={**model.resources, "latency": other.resources["latency"]})
        for model, other in zip(b.models, a.models, strict=True)
    ]
    comparison = answer(a, replace(b, models=tuple(models)))
    assert measures(comparison, *TESTED[1]) == ["PePR-E", "PePR-W", "PePR-edge"]
    assert measures(comparison, *TESTED[2]) == ["performance", "PePR-E", "PePR-L", "PePR-W", "PePR-edge"]
    assert any("of A against B PePR-L with each side by itself" in note for note in comparison.notes)


@pytest.mark.parametrize(("pairs", "expected"), [(4, True), (5, False)])
def test_few_pairs_give_a_warning_about_power(pairs: int, expected: bool) -> None:
    comparison = answer(side([0.5] * pairs), side([0.6] * pairs))
    assert any("little power" in warning for warning in comparison.warnings) == expected
