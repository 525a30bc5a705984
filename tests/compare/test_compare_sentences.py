"""Whether the sentences are true whichever way it went."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from compare_sides import LESS, MORE, answer, finding, side
from hypothesis import given, settings
from hypothesis import strategies as st

from pepr_edge import compare
from pepr_edge.compare.model import Question
from pepr_edge.compare.sentences import p_value

pytest.importorskip("scipy")
unit = st.floats(min_value=0, max_value=1)


@pytest.mark.parametrize("question", [MORE, LESS], ids=["B has more", "A has more"])
@pytest.mark.parametrize(
    ("changes", "verdict", "said"),
    [
        (
            [0.10, 0.11, 0.12, 0.09, 0.10, 0.13],
            "up",
            "More data pays: with all instead of few of the training images, test accuracy rose by 0.108",
        ),
        (
            [-0.10, -0.11, -0.12, -0.09, -0.10, -0.13],
            "down",
            "More data does not pay: with all instead of few of the training images, test",
        ),
        (
            [0.01, -0.02, 0.03, -0.01, 0.0, 0.01],
            "none",
            "It could not be shown that more data pays: with all instead of few",
        ),
        (
            [0.0] * 6,
            "identical",
            "More data changes nothing: with all instead of few of the training images, test accuracy is identical in all 6",
        ),
        (
            [0.05] * 6,
            "up",
            "rose by 0.050, by the same in each, over 6 architectures, better in 6 of 6 (Wilcoxon p = 0.0",
        ),
    ],
    ids=["up", "down", "none", "identical", "constant"],
)
def test_the_sentence_is_true_whichever_way_it_went(
    question: Question, changes: list[float], verdict: str, said: str
) -> None:
    few = [0.5, 0.6, 0.55, 0.7, 0.65, 0.52]
    all_ = [value + change for value, change in zip(few, changes, strict=True)]
    # The score has no resource that differs, so that its p does not weigh on that of the performance.
    a, b = (
        replace(one, models=tuple(replace(m, resources={}, methods={}) for m in one.models))
        for one in (side(few), side(all_))
    )
    comparison = answer(a, b, question) if question is MORE else answer(b, a, question)
    found = finding(comparison)
    assert found.verdict == verdict
    assert said in found.sentence
    assert found.sentence.endswith(".")
    assert comparison.headline.startswith(found.sentence[:-1])
    if verdict == "down":
        assert "fell by 0.108 on average (95 % CI 0.0" in found.sentence
        assert "worse in 6 of 6" in found.sentence
    if verdict == "none":
        assert (
            "no difference in test accuracy could be shown over 6 architectures (0.003 higher on average, 95 % CI -0.0"
            in found.sentence
        )


def test_performance_is_adjusted_apart_from_the_scores() -> None:
    rising = [0.5, 0.6, 0.55, 0.7, 0.65]
    changes = [0.05, 0.01, 0.04, 0.06, 0.01]
    found = finding(
        answer(side(rising), side([value + change for value, change in zip(rising, changes, strict=True)]))
    )
    assert found.paired_p is not None
    assert 0.02 < found.paired_p == found.paired_p_holm < 0.05
    assert (found.tests, found.verdict) == (1, "up")
    assert "Holm" not in found.sentence


def test_what_many_tests_may_show_by_chance_is_not_claimed() -> None:
    rising = [0.5, 0.6, 0.55, 0.7, 0.65]
    changes = [0.05, 0.01, 0.04, 0.06, 0.01]
    free = tuple(
        replace(
            one,
            performance=one.performance + change,
            resources={**one.resources, "latency": 0.01, "peak_memory": 1e8 * (number % 3)},
        )
        for number, (one, change) in enumerate(zip(side(rising).models, changes, strict=True))
    )
    comparison = answer(side(rising), replace(side(rising), models=free))
    found = finding(comparison, "PePR-E")
    assert found.paired_p is not None
    assert found.paired_p_holm is not None
    assert found.paired_p < 0.05 <= found.paired_p_holm
    assert found.tests == 4
    assert found.sentence.startswith("Per unit of training energy, more data may pay: ")
    assert "by Holm over 4 tests" in found.sentence


def test_the_headline_says_what_it_costs() -> None:
    a = side([0.5, 0.6, 0.55, 0.7, 0.65, 0.52])
    dear = tuple(
        replace(
            one,
            performance=one.performance + 0.05 + 0.002 * (number % 2),
            resources={"train_energy": 1000.0 + 10 * number},
        )
        for number, one in enumerate(a.models)
    )
    comparison = answer(a, replace(a, models=dear))
    assert "; per unit of training energy it does not pay: PePR-E fell by " in comparison.headline
    assert "PePR-L left out: latency is known in A alone." in comparison.notes


@settings(deadline=None, max_examples=15)
@given(st.lists(st.tuples(unit, unit), min_size=2, max_size=9))
def test_a_comparison_turned_round_says_the_same(values: list[tuple[float, float]]) -> None:
    a, b = (side(column) for column in zip(*values, strict=True))
    there, back = answer(a, b, MORE), answer(b, a, LESS)
    asked = [found for found in there.tests if found.side is None]
    turned = [found for found in back.tests if found.side is None]
    assert [found.verdict for found in asked] == [found.verdict for found in turned]
    assert [found.sentence.count("p = ") for found in asked] == [
        found.sentence.count("p = ") for found in turned
    ]
    for found in (*there.tests, *back.tests):
        assert found.sentence
        assert "None" not in found.sentence
        assert "nan" not in found.sentence
    assert all(len(line) <= 100 for line in compare.text(there).splitlines())


def test_an_interval_that_is_not_defined_is_none() -> None:
    few = [0.5, 0.6, 0.55, 0.7, 0.65, 0.52]
    comparison = answer(side(few), side([value + 0.05 for value in few]))
    assert finding(comparison).ci is None
    row = next(line.split() for line in compare.text(comparison).splitlines() if line.startswith("accuracy"))
    assert row[3:6] == ["+0.050", "-", "6/6"]


@pytest.mark.parametrize(
    ("value", "said"),
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
def test_a_p_below_one_never_reads_as_one(value: float | None, said: str) -> None:
    assert p_value(value, "-") == said


def test_the_table_and_the_sentence_write_a_p_alike() -> None:
    rng = np.random.default_rng(6)
    values = rng.random(40)
    # d = 0.001, far below its standard error.
    change = rng.normal(0, 0.1, 40)
    change += 0.0001 - change.mean()
    few = side((0.2 + 0.5 * values).tolist())
    comparison = answer(few, side(np.clip(0.2 + 0.5 * values + change, 0, 1).tolist()))
    assert 0.99 < (finding(comparison).paired_p or 0) < 1
    assert "paired t-test p > 0.99" in comparison.headline
    row = next(line.split() for line in compare.text(comparison).splitlines() if line.startswith("accuracy"))
    assert row[7] == ">0.99"
