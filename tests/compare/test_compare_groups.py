"""What is asked within each side, and how its p values are adjusted."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from compare_sides import MORE, answer, finding, model, side

from pepr_edge.compare.groups import groupings, median_parameters
from pepr_edge.compare.model import Side
from pepr_edge.compare.record import Finding
from pepr_edge.compare.statistics import holm

stats = pytest.importorskip("scipy.stats")


def test_small_and_large_part_at_the_median() -> None:
    models = side([0.5] * 5).models
    assert median_parameters(models) == 3_000_000
    size, efficient, family = (grouping.members(models) for grouping in groupings())
    assert size == (False, False, False, True, True)
    assert set(efficient) == {False}
    assert set(family) == {True}
    strange = replace(models[0], family=None, efficient=None, num_params=None)
    assert [grouping.members((strange,)) for grouping in groupings()] == [(None,)] * 3


@pytest.mark.parametrize(
    ("values", "verdict", "said"),
    [
        (
            [0.50, 0.51, 0.52, 0.80, 0.81, 0.82],
            "up",
            "large models pay: test accuracy is 0.300 higher on average than in small ones",
        ),
        (
            [0.80, 0.81, 0.82, 0.50, 0.51, 0.52],
            "down",
            "large models do not pay: test accuracy is 0.300 lower on average than",
        ),
        (
            [0.50, 0.81, 0.62, 0.80, 0.51, 0.65],
            "none",
            "it could not be shown that large models pay: no difference in test",
        ),
    ],
)
def test_the_answer_within_a_side(values: list[float], verdict: str, said: str) -> None:
    # What one side has alone is of neither group.
    comparison = answer(
        replace(side(values), models=(*side(values).models, model("own@64", 0.1, 9))), side(values)
    )
    assert any("of the 6 architectures that both have, as in the paper" in note for note in comparison.notes)
    found = finding(comparison, question="Do large models pay?", which="A")
    assert (found.verdict, found.n, found.groups) == (verdict, (3, 3), ("small", "large"))
    assert found.sentence.startswith("In A (few), of the 6 architectures that both have, ")
    assert said in found.sentence
    assert "3 large models, 3 small ones" in found.sentence
    expected = stats.ttest_ind(values[3:], values[:3], equal_var=True)
    assert (found.t, found.p) == (expected.statistic, expected.pvalue)
    assert comparison.answers[0].startswith(found.sentence[:-1])


def test_a_group_of_fewer_than_two_is_not_tested_and_says_so() -> None:
    found = finding(
        answer(side([0.5, 0.6, 0.7]), side([0.6, 0.7, 0.7])), question="Do efficient models pay?", which="B"
    )
    assert (found.verdict, found.p, found.n) == ("untested", None, (3, 0))
    said = "whether efficient models pay could not be tested: test accuracy is known of 0 efficient models and 3 other ones"
    assert said in found.sentence
    found = finding(answer(side([0.5, 0.6]), side([0.6, 0.7])), question="Do large models pay?", which="A")
    assert (
        "test accuracy is known of 1 large model and 1 small one, and a test needs 2 of each"
        in found.sentence
    )


def test_p_is_adjusted_within_each_family() -> None:
    rng = np.random.default_rng(3)
    a, b = (costly(rng.random(8).tolist(), rng) for _ in range(2))
    comparison = answer(a, b)
    by_question = [
        question for question, _ in itertools.groupby(comparison.tests, key=lambda one: one.question)
    ]
    assert by_question == [
        MORE.text,
        f"{MORE.text} With each side by itself",
        *(grouping.question for grouping in groupings()),
    ]
    families: dict[tuple[str, bool], list[Finding]] = {}
    for found in comparison.tests:
        families.setdefault(
            ("within" if found.side else found.question, found.measure == "performance"), []
        ).append(found)
    assert len(families) == 5
    for members in families.values():
        assert [one.p_holm for one in members] == holm([one.p for one in members])
        assert {one.tests for one in members} == {sum(one.p is not None for one in members)}
    # Of three questions only the first has two groups here.
    assert {one.tests for one in families["within", True]} == {2}
    assert {one.tests for one in families["within", False]} == {8}
    assert any(
        note.startswith("By Holm: ") and "Performance is adjusted apart from the scores" in note
        for note in comparison.notes
    )


def costly(values: Sequence[float], rng: np.random.Generator, **changes: Any) -> Side:
    """A side whose resources are not in proportion to each other."""
    made = side(values)
    models = (
        replace(one, resources={name: rng.random() for name in one.resources}, **changes)
        for one in made.models
    )
    return replace(made, models=tuple(models))


def test_the_same_values_are_tested_once() -> None:
    rng = np.random.default_rng(4)
    sides = []
    for images in (100, 400):
        made = costly(rng.random(8).tolist(), rng)
        models = tuple(
            replace(
                one,
                resources={
                    **one.resources,
                    "train_co2eq": 0.3 * (one.resources["train_energy"] or 0),
                    "train_data": images,
                },
                methods={**one.methods, "train_co2eq": "measured", "train_data": "counted"},
            )
            for one in made.models
        )
        sides.append(replace(made, models=models))
    comparison = answer(*sides)
    tested = {
        name: [one.measure for one in comparison.tests if (one.question, one.side) == name] for name in TESTED
    }
    assert tested[TESTED[0]] == ["performance", "PePR-E", "PePR-D", "PePR-L", "PePR-W", "PePR-edge"]
    assert tested[TESTED[1]] == ["PePR-E", "PePR-L", "PePR-W", "PePR-edge"]
    assert tested[TESTED[2]] == ["performance", "PePR-E", "PePR-L", "PePR-W", "PePR-edge"]
    note = next(note for note in comparison.notes if note.startswith("The same values are tested once: "))
    assert (
        "PePR-C is PePR-E (CO2eq in proportion to energy); with each side by itself PePR-C is PePR-E" in note
    )
    assert note.endswith("PePR-D is performance (as many training images for all).")


TESTED = ((MORE.text, None), (f"{MORE.text} With each side by itself", None), ("Do large models pay?", "A"))


def test_a_score_that_is_the_same_over_both_and_by_itself_is_tested_once() -> None:
    rng = np.random.default_rng(5)
    a, b = (costly(rng.random(6).tolist(), rng) for _ in range(2))
    alike = (
        replace(one, resources={**one.resources, "latency": other.resources["latency"]})
        for one, other in zip(b.models, a.models, strict=True)
    )
    comparison = answer(a, replace(b, models=tuple(alike)))
    apart = [one.measure for one in comparison.tests if one.question == TESTED[1][0]]
    assert apart == ["PePR-E", "PePR-W", "PePR-edge"]
    assert [one.measure for one in comparison.tests if one.side == "A"][:5] == [
        "performance",
        "PePR-E",
        "PePR-L",
        "PePR-W",
        "PePR-edge",
    ]
    assert any(
        note.endswith("of A against B PePR-L with each side by itself is as over both.")
        for note in comparison.notes
    )


def test_few_pairs_are_said_to_have_little_power() -> None:
    assert any("little power" in warning for warning in answer(side([0.5] * 4), side([0.6] * 4)).warnings)
    assert not any("little power" in warning for warning in answer(side([0.5] * 5), side([0.6] * 5)).warnings)
