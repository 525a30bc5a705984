"""Two sides compared: what is read, what is tested, and whether the sentences are true whichever way it went."""

from __future__ import annotations

import csv
import itertools
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import compare_runs
import made_records
import numpy as np
import pytest
from compare_runs import ARCHITECTURES, Made, spread
from hypothesis import given, settings
from hypothesis import strategies as st

from pepr_edge import compare, metrics
from pepr_edge.compare.groups import groupings, median_parameters
from pepr_edge.compare.pairs import Pairs
from pepr_edge.compare.pictures import NAMES
from pepr_edge.compare.record import Comparison, Finding
from pepr_edge.compare.side import RESOURCE_NAMES, Absent, Both, Model, Question, Side
from pepr_edge.compare.statistics import holm, independent, paired
from pepr_edge.compare.words import p_value
from pepr_edge.errors import PeprError, RunError, ScoreError
from pepr_edge.report import units
from pepr_edge.score import RESOURCES, Models, Scoring, scores

stats = pytest.importorskip("scipy.stats")

MORE = Question("Does more data pay?", "more data", 1, "with all instead of few of the training images", ("few", "all"))
LESS = replace(MORE, treatment=0, labels=("all", "few"))
unit = st.floats(min_value=0, max_value=1)
HEADER = "dataset,model,type,efficient,num_params,gpu_memory_gb,energy_kwh,co2eq_g,last_epoch_s,test_00,test_01"


def model(name: str, performance: float, number: int = 1, **changes: Any) -> Model:
    """A model whose cost and size grow with its number."""
    resources = {"train_energy": 100.0 * number, "latency": 0.01 * number, "peak_memory": 1e8 * number}
    made = Model(name, performance, 1_000_000 * number, "CNN", False, resources, dict.fromkeys(resources, "measured"))
    return replace(made, **changes)


def side(values: Sequence[float], **changes: Any) -> Side:
    return Side("made", "accuracy", tuple(model(f"m{number}@64", value, number + 1) for number, value in enumerate(values)), {}, **changes)


def answer(a: Side, b: Side, question: Question = MORE) -> Comparison:
    both = Both(a, b, question)
    return compare.compare(both, compare.pair(both))


def finding(comparison: Comparison, measure: str = "performance", question: str = MORE.text, which: str | None = None) -> Finding:
    return next(found for found in comparison.tests if (found.measure, found.question, found.side) == (measure, question, which))


def read(a: Path, b: Path, **options: Any) -> tuple[Both, Pairs]:
    both = compare.read(str(a), str(b), **options)
    return both, compare.pair(both)


# The statistics.


def test_the_papers_t_test_is_scipys() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random(9), rng.random(12)
    found, expected = independent(a, b), stats.ttest_ind(b, a, equal_var=True)
    assert (found.t, found.p) == (expected.statistic, expected.pvalue)
    pooled = np.sqrt((8 * a.var(ddof=1) + 11 * b.var(ddof=1)) / 19)
    assert found.d == pytest.approx((b.mean() - a.mean()) / pooled)
    assert found.difference == b.mean() - a.mean()
    half = stats.t.ppf(0.975, 19) * pooled * np.sqrt(1 / 9 + 1 / 12)
    assert found.ci == pytest.approx((found.difference - half, found.difference + half))


def test_the_paired_tests_are_scipys() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.random(10), rng.random(10)
    found = paired(a, b)
    assert (found.t, found.p) == pytest.approx(tuple(stats.ttest_rel(b, a)))
    assert found.wilcoxon_p == pytest.approx(stats.wilcoxon(b - a).pvalue)
    assert found.d_z == pytest.approx((b - a).mean() / (b - a).std(ddof=1))
    assert found.ci == pytest.approx(tuple(stats.ttest_rel(b, a).confidence_interval(0.95)))
    assert (found.higher, found.lower) == (int((b > a).sum()), int((b < a).sum()))


@settings(deadline=None, max_examples=15)
@given(st.lists(st.tuples(unit, unit), min_size=2, max_size=12))
def test_swapping_the_sides_flips_every_sign(values: list[tuple[float, float]]) -> None:
    a, b = np.array(values).T
    there, back = paired(a, b), paired(b, a)
    for one, other in ((there.difference, back.difference), (there.t, back.t), (there.d_z, back.d_z)):
        assert (one is None) == (other is None)
        assert one is None or other is None or one == pytest.approx(-other, abs=1e-9)
    assert (there.higher, there.lower) == (back.lower, back.higher)
    alone, turned = independent(a, b), independent(b, a)
    assert alone.difference == pytest.approx(-(turned.difference or 0.0), abs=1e-12)
    assert (alone.t is None) == (turned.t is None)
    assert alone.t is None or alone.t == pytest.approx(-(turned.t or 0.0))
    for p in (there.p, there.wilcoxon_p, alone.p):
        assert p is None or 0 <= p <= 1
    assert (there.p, there.wilcoxon_p, alone.p) == pytest.approx((back.p, back.wilcoxon_p, turned.p))


def test_what_does_not_vary_has_no_t() -> None:
    a = np.array([0.1, 0.2, 0.3, 0.4])
    same = paired(a, a.copy())
    assert (same.difference, same.t, same.p, same.wilcoxon_p, same.d_z, same.higher, same.lower) == (0, None, None, None, None, 0, 0)
    constant = paired(a, a + 0.1)
    assert (constant.difference, constant.t, constant.p, constant.d_z, constant.ci) == (pytest.approx(0.1), None, None, None, None)
    assert constant.wilcoxon_p == stats.wilcoxon(np.full(4, 0.1)).pvalue
    flat = independent(np.array([0.5, 0.5]), np.array([0.7, 0.7, 0.7]))
    assert (flat.t, flat.p, flat.d, flat.ci, flat.difference) == (None, None, None, None, pytest.approx(0.2))


@pytest.mark.parametrize("size", [0, 1])
def test_too_few_values_are_not_tested(size: int) -> None:
    few, enough = np.full(size, 0.5), np.array([0.1, 0.2])
    assert independent(few, enough).p is None
    assert independent(enough, few).p is None
    assert (paired(few, few).p, paired(few, few).wilcoxon_p) == (None, None)
    assert (independent(few, enough).difference is None) == (size == 0)


@given(st.lists(st.one_of(st.none(), unit), max_size=12))
def test_holm_by_its_definition(values: list[float | None]) -> None:
    known = sorted(value for value in values if value is not None)
    expected = [
        None if value is None else min(1.0, max((len(known) - rank) * p for rank, p in enumerate(known) if p <= value)) for value in values
    ]
    assert holm(values) == pytest.approx(expected)


def test_holm_on_figures_done_by_hand() -> None:
    assert holm([0.01, 0.04, None, 0.03, 0.005]) == pytest.approx([0.03, 0.06, None, 0.06, 0.02])


# The scores.


def test_pepr_is_over_both_sides_together_and_over_each_by_itself() -> None:
    a = Side("a", "accuracy", tuple(model(name, 0.8, number) for name, number in (("x", 1), ("y", 2))), {})
    b = Side("b", "accuracy", tuple(model(name, 0.9, number) for name, number in (("x", 3), ("y", 5))), {})
    pairs = compare.pair(Both(a, b, MORE))
    assert pairs.together["E"] == pytest.approx(np.array([[0.8, 0.8 / 1.25], [0.9 / 1.5, 0.45]]))
    assert pairs.apart["E"] == pytest.approx(np.array([[0.8, 0.4], [0.9, 0.45]]))
    energies = {"train_energy": np.array([100.0, 200.0, 300.0, 500.0])}
    whole = Models(("ax", "ay", "bx", "by"), np.array([0.8, 0.8, 0.9, 0.9]), energies)
    assert pairs.together["E"].reshape(-1).tolist() == scores(whole, Scoring({"train_energy": 1.0})).tolist()
    # All three resources grow alike.
    assert pairs.together["edge"] == pytest.approx(pairs.together["E"])
    assert "C" not in pairs.together


def test_edge_takes_the_weights_of_the_runs_where_they_agree() -> None:
    own = {"latency": 2.0, "train_energy": 0.0}
    a, b = (replace(side([0.5, 0.6, 0.7]), weights=own) for _ in range(2))
    pairs = compare.pair(Both(a, b, MORE))
    assert dict(pairs.weights) == {"latency": 2.0}
    assert pairs.together["edge"] == pytest.approx(pairs.together["L"])
    # In proportion they are the same.
    assert dict(compare.pair(Both(a, replace(b, weights={"latency": 1.0}), MORE)).weights) == {"latency": 2.0}
    assert pairs.reasons == compare.pair(Both(a, replace(b, weights={"latency": 1.0}), MORE)).reasons


def test_weights_that_differ_are_said_to_be_set_aside() -> None:
    a, b = (replace(side([0.5, 0.6, 0.7]), weights=weights) for weights in ({"latency": 3.0, "train_energy": 1.0}, {"latency": 1.0}))
    comparison = answer(a, b)
    said = "The recipes' score.weights differ (A: latency 75 %, training energy 25 %; B: latency 100 %): PePR-edge weighs training energy, "
    assert f"{said}latency, memory on the device alike here." in comparison.notes
    assert len(comparison.edge_weights) == 3
    assert not any("score.weights" in note for note in answer(side([0.5, 0.6, 0.7]), side([0.5, 0.6, 0.7])).notes)


def test_resources_are_called_as_in_a_report() -> None:
    assert list(RESOURCE_NAMES) == list(RESOURCES)
    assert all(units.RESOURCES[name][0].startswith(words) and "," not in words for name, words in RESOURCE_NAMES.items())


def test_energies_of_different_methods_are_never_mixed() -> None:
    b = side([0.5, 0.6, 0.7])
    declared = tuple(replace(one, methods={**one.methods, "train_energy": "declared"}) for one in b.models)
    pairs = compare.pair(Both(side([0.4, 0.5, 0.6]), replace(b, models=declared), MORE))
    assert "E" not in pairs.together
    assert "edge" not in pairs.together
    assert "L" in pairs.together
    assert "PePR-E left out: training energy is measured in A and declared in B, which must not be mixed." in pairs.reasons
    assert "PePR-edge left out: it needs training energy." in pairs.reasons


def test_a_model_whose_resource_is_not_known_takes_no_part_in_that_score() -> None:
    b = side([0.5, 0.6, 0.7, 0.8])
    blind = replace(b.models[0], resources={**b.models[0].resources, "latency": None})
    found = answer(side([0.4, 0.5, 0.6, 0.7]), replace(b, models=(blind, *b.models[1:])))
    assert finding(found, "PePR-L").n == (3, 3)
    assert finding(found, "PePR-E").n == (4, 4)


# Pairs.


def test_only_what_both_have_is_paired_and_the_rest_is_listed_with_its_reason() -> None:
    a = replace(side([0.5, 0.6, 0.7]), absent=(Absent("torn@64", "train: no memory"),))
    b = replace(side([0.5, 0.6]), models=(*side([0.5, 0.6]).models, model("new@64", 0.9)))
    pairs = compare.pair(Both(a, b, MORE))
    assert [one.name for one in pairs.a] == [one.name for one in pairs.b] == ["m0@64", "m1@64"]
    expected = {"torn@64": "A: train: no memory", "m2@64": "not in B", "new@64": "not in A"}
    assert {absent.name: absent.reason for absent in pairs.left_out} == expected


def test_fewer_than_two_in_common_is_one_line() -> None:
    with pytest.raises(ScoreError, match="have 1 finished candidates in common, expected at least 2") as fault:
        compare.pair(Both(side([0.5]), side([0.5, 0.6]), MORE))
    assert "\n" not in str(fault.value)


# The sentences.


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
        ([0.01, -0.02, 0.03, -0.01, 0.0, 0.01], "none", "It could not be shown that more data pays: with all instead of few"),
        (
            [0.0] * 6,
            "identical",
            "More data changes nothing: with all instead of few of the training images, test accuracy is identical in all 6",
        ),
        ([0.05] * 6, "up", "rose by 0.050, by the same in each, over 6 architectures, better in 6 of 6 (Wilcoxon p = 0.0"),
    ],
    ids=["up", "down", "none", "identical", "constant"],
)
def test_the_sentence_is_true_whichever_way_it_went(question: Question, changes: list[float], verdict: str, said: str) -> None:
    few = [0.5, 0.6, 0.55, 0.7, 0.65, 0.52]
    all_ = [value + change for value, change in zip(few, changes, strict=True)]
    # The score has no resource that differs, so that its p does not weigh on that of the performance.
    a, b = (replace(one, models=tuple(replace(m, resources={}, methods={}) for m in one.models)) for one in (side(few), side(all_)))
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
        assert "no difference in test accuracy could be shown over 6 architectures (0.003 higher on average, 95 % CI -0.0" in found.sentence


def test_performance_is_adjusted_apart_from_the_scores() -> None:
    rising = [0.5, 0.6, 0.55, 0.7, 0.65]
    changes = [0.05, 0.01, 0.04, 0.06, 0.01]
    found = finding(answer(side(rising), side([value + change for value, change in zip(rising, changes, strict=True)])))
    assert found.paired_p is not None
    assert 0.02 < found.paired_p == found.paired_p_holm < 0.05
    assert (found.tests, found.verdict) == (1, "up")
    assert "Holm" not in found.sentence


def test_what_many_tests_may_show_by_chance_is_not_claimed() -> None:
    rising = [0.5, 0.6, 0.55, 0.7, 0.65]
    changes = [0.05, 0.01, 0.04, 0.06, 0.01]
    free = tuple(
        replace(one, performance=one.performance + change, resources={**one.resources, "latency": 0.01, "peak_memory": 1e8 * (number % 3)})
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
        replace(one, performance=one.performance + 0.05 + 0.002 * (number % 2), resources={"train_energy": 1000.0 + 10 * number})
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
    assert [found.sentence.count("p = ") for found in asked] == [found.sentence.count("p = ") for found in turned]
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
    [(0.0, "<0.001"), (0.0004, "<0.001"), (0.04, "0.040"), (0.43, "0.43"), (0.989, "0.99"), (0.996, ">0.99"), (1.0, "1.00"), (None, "-")],
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


# Within each side.


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
        ([0.80, 0.81, 0.82, 0.50, 0.51, 0.52], "down", "large models do not pay: test accuracy is 0.300 lower on average than"),
        ([0.50, 0.81, 0.62, 0.80, 0.51, 0.65], "none", "it could not be shown that large models pay: no difference in test"),
    ],
)
def test_the_answer_within_a_side(values: list[float], verdict: str, said: str) -> None:
    # What one side has alone is of neither group.
    comparison = answer(replace(side(values), models=(*side(values).models, model("own@64", 0.1, 9))), side(values))
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
    found = finding(answer(side([0.5, 0.6, 0.7]), side([0.6, 0.7, 0.7])), question="Do efficient models pay?", which="B")
    assert (found.verdict, found.p, found.n) == ("untested", None, (3, 0))
    said = "whether efficient models pay could not be tested: test accuracy is known of 0 efficient models and 3 other ones"
    assert said in found.sentence
    found = finding(answer(side([0.5, 0.6]), side([0.6, 0.7])), question="Do large models pay?", which="A")
    assert "test accuracy is known of 1 large model and 1 small one, and a test needs 2 of each" in found.sentence


def test_p_is_adjusted_within_each_family() -> None:
    rng = np.random.default_rng(3)
    a, b = (costly(rng.random(8).tolist(), rng) for _ in range(2))
    comparison = answer(a, b)
    by_question = [question for question, _ in itertools.groupby(comparison.tests, key=lambda one: one.question)]
    assert by_question == [MORE.text, f"{MORE.text} With each side by itself", *(grouping.question for grouping in groupings())]
    families: dict[tuple[str, bool], list[Finding]] = {}
    for found in comparison.tests:
        families.setdefault(("within" if found.side else found.question, found.measure == "performance"), []).append(found)
    assert len(families) == 5
    for members in families.values():
        assert [one.p_holm for one in members] == holm([one.p for one in members])
        assert {one.tests for one in members} == {sum(one.p is not None for one in members)}
    # Of three questions only the first has two groups here.
    assert {one.tests for one in families["within", True]} == {2}
    assert {one.tests for one in families["within", False]} == {8}
    assert any(note.startswith("By Holm: ") and "Performance is adjusted apart from the scores" in note for note in comparison.notes)


def costly(values: Sequence[float], rng: np.random.Generator, **changes: Any) -> Side:
    """A side whose resources are not in proportion to each other."""
    made = side(values)
    models = (replace(one, resources={name: rng.random() for name in one.resources}, **changes) for one in made.models)
    return replace(made, models=tuple(models))


def test_the_same_values_are_tested_once() -> None:
    rng = np.random.default_rng(4)
    sides = []
    for images in (100, 400):
        made = costly(rng.random(8).tolist(), rng)
        models = tuple(
            replace(
                one,
                resources={**one.resources, "train_co2eq": 0.3 * (one.resources["train_energy"] or 0), "train_data": images},
                methods={**one.methods, "train_co2eq": "measured", "train_data": "counted"},
            )
            for one in made.models
        )
        sides.append(replace(made, models=models))
    comparison = answer(*sides)
    tested = {name: [one.measure for one in comparison.tests if (one.question, one.side) == name] for name in TESTED}
    assert tested[TESTED[0]] == ["performance", "PePR-E", "PePR-D", "PePR-L", "PePR-W", "PePR-edge"]
    assert tested[TESTED[1]] == ["PePR-E", "PePR-L", "PePR-W", "PePR-edge"]
    assert tested[TESTED[2]] == ["performance", "PePR-E", "PePR-L", "PePR-W", "PePR-edge"]
    note = next(note for note in comparison.notes if note.startswith("The same values are tested once: "))
    assert "PePR-C is PePR-E (CO2eq in proportion to energy); with each side by itself PePR-C is PePR-E" in note
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
    assert [one.measure for one in comparison.tests if one.side == "A"][:5] == ["performance", "PePR-E", "PePR-L", "PePR-W", "PePR-edge"]
    assert any(note.endswith("of A against B PePR-L with each side by itself is as over both.") for note in comparison.notes)


def test_few_pairs_are_said_to_have_little_power() -> None:
    assert any("little power" in warning for warning in answer(side([0.5] * 4), side([0.6] * 4)).warnings)
    assert not any("little power" in warning for warning in answer(side([0.5] * 5), side([0.6] * 5)).warnings)


# Runs.


def test_a_fraction_of_the_data_asks_whether_more_data_pays(tmp_path: Path) -> None:
    a = compare_runs.run(tmp_path / "a", spread(0.7), Made(fraction=1.0))
    b = compare_runs.run(tmp_path / "b", spread(0.6, step=0.02), Made(fraction=0.25))
    both, pairs = read(a, b)
    assert (both.question.text, both.question.treatment) == ("Does more data pay?", 0)
    assert both.question.contrast == "with 100 % instead of 25 % of the training images"
    assert both.question.differs == ("data.fraction: 1.0 in A, 0.25 in B",)
    assert both.warnings == ()
    assert [one.name for one in pairs.a] == [f"{name}@64" for name in ARCHITECTURES]
    first = pairs.a[0]
    assert (first.performance, first.num_params, first.family, first.efficient) == (0.7, 1_000_000, "CNN", True)
    assert first.resources == {
        "train_energy": 100.0,
        "train_co2eq": 10.0,
        "train_time": 100 / 7,
        "train_memory": 60.0,
        "train_data": 400,
        "latency": 0.01,
        "peak_memory": 50_000_000,
    }
    assert pairs.b[0].resources["train_data"] == 100
    assert set(pairs.together) == {"E", "C", "T", "M", "D", "L", "W", "edge"}


@pytest.mark.parametrize(
    ("a", "b", "text", "contrast"),
    [
        (Made(), Made(weights="pretrained"), "Does pretraining pay?", "with pretrained weights instead of training from scratch"),
        (Made(weights="pretrained"), Made(), "Does pretraining pay?", "with pretrained weights instead of training from scratch"),
        (
            Made(weights="own.safetensors"),
            Made(),
            "Does pretraining pay?",
            "with weights of own.safetensors instead of training from scratch",
        ),
        (
            Made(weights="own.safetensors"),
            Made(weights="pretrained"),
            "Does B's way pay?",
            "with B's way (candidates.weights) instead of A's",
        ),
        (
            Made(),
            Made(weights="pretrained", fraction=0.5),
            "Does B's way pay?",
            "with B's way (data.fraction, candidates.weights) instead of A's",
        ),
        (Made(fraction=0.125), Made(), "Does more data pay?", "with 100 % instead of 12.5 % of the training images"),
        (Made(), Made(seed=1), "Do A and B differ?", "with B's seed instead of A's"),
        (Made(), Made(device="another"), "Do A and B differ?", "with B's device.name instead of A's"),
        (Made(), Made(device="another", seed=1), "Do A and B differ?", "with B's seed, device.name instead of A's"),
        (Made(), Made(data="other"), "Do A and B differ?", "with B's data.source instead of A's"),
        (Made(), Made(data="other", weights="pretrained"), "Do A and B differ?", "with B's data.source, candidates.weights instead of A's"),
        (Made(), Made(seed=1, more="[train]\nepochs = 3\n"), "Does B's way pay?", "with B's way (train.epochs, seed) instead of A's"),
        (Made(), Made(more="[train]\nepochs = 3\n"), "Does B's way pay?", "with B's way (train.epochs) instead of A's"),
        (Made(), Made(), "Do A and B differ?", "with B instead of A"),
    ],
)
def test_what_differs_makes_the_question(tmp_path: Path, a: Made, b: Made, text: str, contrast: str) -> None:
    runs = [compare_runs.run(tmp_path / name, spread(0.6, count=3), made) for name, made in (("a", a), ("b", b))]
    both, _ = read(*runs)
    assert (both.question.text, both.question.contrast) == (text, contrast)
    expected = 0 if text == "Does pretraining pay?" and b.weights == "scratch" else 1
    assert both.question.treatment == expected


def test_identical_runs_are_said_to_be_identical(tmp_path: Path) -> None:
    runs = [compare_runs.run(tmp_path / name, spread(0.6)) for name in "ab"]
    both, pairs = read(*runs)
    comparison = compare.compare(both, pairs)
    assert comparison.headline.startswith("B changes nothing: with B instead of A, test accuracy is identical in all 8 architectures")
    assert all(found.verdict == "identical" and found.paired_p is None for found in comparison.tests if found.side is None)


def test_other_test_images_are_a_warning(tmp_path: Path) -> None:
    a, b = (compare_runs.run(tmp_path / name, spread(0.6), Made(data=name)) for name in ("here", "there"))
    both, _ = read(a, b)
    assert both.question.text == "Do A and B differ?"
    assert "The test images are not the same: here (no, yes) and there (no, yes)." in both.warnings


@pytest.mark.parametrize("made", [Made(data="other"), Made(seed=1), Made(device="another")])
def test_what_is_no_choice_between_two_ways_does_not_pay(tmp_path: Path, made: Made) -> None:
    a, b = compare_runs.run(tmp_path / "a", spread(0.6)), compare_runs.run(tmp_path / "b", spread(0.7, step=0.02), made)
    both, pairs = read(a, b)
    headline = compare.compare(both, pairs).headline
    assert headline.startswith("B is better: with B's ")
    assert "pay" not in headline
    assert "pays" not in compare.text(compare.compare(both, pairs)).partition("Within each side:")[0]


@pytest.mark.parametrize(("start", "a_start", "said"), [(0.45, 0.6, True), (0.45, 0.45, True), (0.46, 0.46, True), (0.47, 0.47, False)])
def test_the_headline_says_when_most_models_learnt_nothing(tmp_path: Path, start: float, a_start: float, said: bool) -> None:
    a, b = (compare_runs.run(tmp_path / name, spread(value)) for name, value in (("a", a_start), ("b", start)))
    both, pairs = read(a, b)
    comparison = compare.compare(both, pairs)
    assert comparison.headline.endswith(". Most of these models learnt nothing of use, so this says little.") == said
    assert any("no better than" in warning for warning in comparison.warnings)


def test_models_that_learnt_nothing_are_counted(tmp_path: Path) -> None:
    runs = [compare_runs.run(tmp_path / name, spread(0.48)) for name in "ab"]
    both, pairs = read(*runs)
    said = "3 of 8 models are no better than always saying the commonest class (accuracy 0.500)"
    assert both.a.warnings == both.b.warnings == (said,)
    assert compare.compare(both, pairs).warnings == (f"A: {said}.", f"B: {said}.")


def test_what_failed_or_was_not_begun_is_left_out(tmp_path: Path) -> None:
    a = compare_runs.run(tmp_path / "a", spread(0.6, count=3), Made(failed=("resnet14t",), todo=("resnet18d",)))
    b = compare_runs.run(tmp_path / "b", spread(0.7, count=4))
    both, pairs = read(a, b)
    reasons = {absent.name: absent.reason for absent in pairs.left_out}
    assert reasons == {"resnet14t@64": "A: train: the pixels ran out", "resnet18d@64": "A: not done yet"}
    assert both.a.warnings == ("not finished: 3 of 5 candidates are there",)


def test_a_run_without_the_variant_is_read_from_pytorch(tmp_path: Path) -> None:
    a, b = (compare_runs.run(tmp_path / name, spread(0.6), Made(variant="int8_static")) for name in "ab")
    both, pairs = read(a, b)
    assert "PyTorch" in both.a.warnings[0]
    assert set(pairs.together) == {"E", "C", "T", "M", "D"}
    _, chosen = read(a, b, variant="int8_static")
    assert "L" in chosen.together


def test_a_candidate_without_a_profile_still_has_its_performance(tmp_path: Path) -> None:
    a, b = (compare_runs.run(tmp_path / name, spread(0.6), Made(profiled=name == "a")) for name in "ab")
    _, pairs = read(a, b)
    assert len(pairs.a) == 8
    assert "PePR-L left out: latency is known in A alone." in pairs.reasons


def test_methods_of_runs_are_kept_apart(tmp_path: Path) -> None:
    a = compare_runs.run(tmp_path / "a", spread(0.6), Made(method="measured"))
    b = compare_runs.run(tmp_path / "b", spread(0.6), Made(method="declared"))
    _, pairs = read(a, b)
    # CO2eq is computed from the energy.
    assert set(pairs.together) == {"T", "M", "D", "L", "W"}


@pytest.mark.parametrize(
    ("a", "b", "options", "message"),
    [
        (
            Made(),
            Made(metric="auroc"),
            {},
            "A was made for accuracy and B for auroc.*Give --performance NAME, one that both have: accuracy, auroc",
        ),
        (
            Made(variant="int8_static"),
            Made(variant="int8_static"),
            {"metric": "f1"},
            "--performance 'f1': not recorded of the PyTorch models of both runs. Give --performance NAME, one that both have: acc",
        ),
        (Made(), Made(), {"metric": "f2"}, "--performance 'f2': expected one of accuracy, "),
        (Made(), Made(), {"metric": "cohen_kappa"}, "--performance 'cohen_kappa': expected one of .*Cohen's kappa can be below 0"),
        (
            Made(),
            Made(variant="int8_static"),
            {},
            "variant 'fp32' is in A alone, so the runs cannot be compared by it. The runs have no variant",
        ),
        (
            Made(),
            Made(),
            {"variant": "int9"},
            "variant 'int9' is in neither run, so the runs cannot be compared by it. Give --variant fp32",
        ),
    ],
)
def test_what_runs_do_not_share_is_refused(tmp_path: Path, a: Made, b: Made, options: dict[str, str], message: str) -> None:
    runs = [compare_runs.run(tmp_path / name, spread(0.6, count=2), made) for name, made in (("a", a), ("b", b))]
    with pytest.raises(ScoreError, match=message):
        read(*runs, **options)


def test_a_metric_that_both_have_can_be_named(tmp_path: Path) -> None:
    runs = [compare_runs.run(tmp_path / name, spread(0.6), Made(metric=metric)) for name, metric in (("a", "accuracy"), ("b", "auroc"))]
    both, pairs = read(*runs, metric="balanced_accuracy")
    assert both.a.metric == "balanced_accuracy"
    assert "test balanced accuracy" in compare.compare(both, pairs).headline


@pytest.mark.parametrize("metric", ["f1", "sensitivity_at_specificity_0.95"])
def test_a_metric_that_was_not_recorded_comes_from_the_predictions(tmp_path: Path, metric: str) -> None:
    a, b = (compare_runs.run(tmp_path / name, spread(start)) for name, start in (("a", 0.6), ("b", 0.7)))
    both, _ = read(a, b, metric=metric)
    for compared, start in ((both.a, 0.6), (both.b, 0.7)):
        for one, accuracy in zip(compared.models, spread(start).values(), strict=True):
            made = compare_runs.predictions(accuracy)
            assert one.performance == metrics.metric(metric)(made["test"], made["test_labels"].astype(np.int64))


# Published tables.


def table(folder: Path, *rows: str) -> Path:
    path = folder / "table.csv"
    path.write_text("\n".join((HEADER, *rows)) + "\n", encoding="utf-8")
    return path


def rows(name: str, *performances: float) -> list[str]:
    return [f"{name},m{i},CNN,{i % 2},{i + 1}000000,{i + 1},{0.01 * (i + 1)},{i + 1},{i + 2},0.1,{p}" for i, p in enumerate(performances)]


def test_a_set_of_a_table_is_a_side(tmp_path: Path) -> None:
    path = table(tmp_path, *rows("skin", 0.5, 0.6, 0.7), *rows("skin_small", 0.4, 0.5, 0.65))
    both = compare.read(f"{path}:skin_small", f"{path}:skin")
    assert both.question.text == "Do A and B differ?"
    assert both.question.contrast == "with skin instead of skin_small"
    first = both.a.models[0]
    assert (first.name, first.performance, first.num_params, first.family, first.efficient) == ("m0", 0.4, 1_000_000, "CNN", False)
    assert first.resources == pytest.approx({"train_energy": 36000.0, "train_co2eq": 1.0, "train_time": 2.0, "train_memory": 1e9})
    assert any("skin_small and skin" in warning for warning in both.warnings)


def test_energies_that_are_the_same_in_both_sets_are_doubted(tmp_path: Path) -> None:
    values = [0.5, 0.6, 0.7, 0.8, 0.9]
    path = table(tmp_path, *rows("x", *values), *rows("y", *values))
    both = compare.read(f"{path}:x", f"{path}:y")
    assert any(warning.startswith("5 of 5 models have the same training energy") for warning in both.warnings)
    assert both.question.text == "Do A and B differ?"


def test_two_sets_of_other_images_are_no_choice_between_two_ways(tmp_path: Path) -> None:
    path = table(tmp_path, *rows("x", 0.5, 0.6, 0.7, 0.8, 0.9), *rows("y", 0.61, 0.7, 0.82, 0.9, 0.99))
    both = compare.read(f"{path}:x", f"{path}:y")
    found = compare.compare(both, compare.pair(both))
    assert found.headline.startswith("B is better: with y instead of x, test accuracy rose by 0.104 on average")
    assert "pays" not in found.headline
    other = compare.read(f"{path}:y", f"{path}:x")
    assert compare.compare(other, compare.pair(other)).headline.startswith("B is worse: with x instead of y, test accuracy fell by 0.104")


def test_a_table_of_one_set_needs_no_name(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    one, other = table(tmp_path, *rows("skin", 0.5, 0.6)), table(tmp_path / "other", *rows("lung", 0.5, 0.6))
    assert len(compare.pair(compare.read(str(one), str(other))).a) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{table}:lung", "no set 'lung' in that table, expected one of skin, bone"),
        ("{table}", "holds several sets. Name one behind a colon"),
        ("{table}:skin", "are the same. Give two runs, or two sets"),
        ("{folder}/none.csv:skin", "no such run directory or table"),
        ("{folder}", "a run and a table"),
    ],
)
def test_sides_that_cannot_be_read_are_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = table(tmp_path, *rows("skin", 0.5, 0.6), *rows("bone", 0.5, 0.6))
    with pytest.raises(PeprError, match=message) as fault:
        compare.read(f"{path}:skin", text.format(table=path, folder=tmp_path))
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("skin,m9,CNN,0,1,1,many,1,1,0.1,0.5", "energy_kwh = 'many' of m9, expected a number >= 0"),
        ("skin,m9,CNN,0,1,1,-1,1,1,0.1,0.5", "energy_kwh = '-1' of m9"),
        ("skin,m9,CNN,0,1,1,1,1,1,0.1,1.5", "test_01 = '1.5' of m9, expected a number from 0 to 1"),
        ("skin,m9,CNN,0,1,1,1,1,1,0.1,", "m9 has no test_01"),
        ("skin,m0,CNN,0,1,1,1,1,1,0.1,0.5", "model 'm0' has several rows"),
        ("skin,m9,CNN", "a row with more or fewer cells"),
    ],
)
def test_a_faulty_table_is_refused(tmp_path: Path, row: str, message: str) -> None:
    path = table(tmp_path, *rows("skin", 0.5, 0.6), row, *rows("bone", 0.5, 0.6))
    with pytest.raises(ScoreError, match=message):
        compare.read(f"{path}:bone", f"{path}:skin")


def test_a_table_without_the_columns_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("dataset,model\na,b\n")
    (tmp_path / "y.csv").write_text(HEADER + "\n")
    with pytest.raises(ScoreError, match="no column type, efficient"):
        compare.read(f"{tmp_path}/x.csv:a", f"{tmp_path}/x.csv:b")
    with pytest.raises(ScoreError, match="no rows"):
        compare.read(f"{tmp_path}/y.csv", f"{tmp_path}/x.csv")
    with pytest.raises(RunError, match="not a run directory"):
        compare.read(str(tmp_path), str(tmp_path.parent))


def test_the_papers_figures_give_scipys_t_and_p() -> None:
    published = made_records.paper("published_results.csv")
    values = {
        name: {row["model"]: float(row["test_09"]) for row in published if row["dataset"] == name} for name in ("derma_small", "derma")
    }
    folder = Path(os.environ.get("PEPR_TEST_DATA", "../shared"))
    path = (Path(__file__).resolve().parents[1] / folder / "paper" / "published_results.csv").resolve()
    both = compare.read(f"{path}:derma_small", f"{path}:derma")
    pairs = compare.pair(both)
    found = finding(compare.compare(both, pairs), question=both.question.text)
    expected = stats.ttest_ind([values["derma"][one.name] for one in pairs.a], [values["derma_small"][one.name] for one in pairs.a])
    assert found.n == (131, 131)
    assert (found.t, found.p) == (expected.statistic, expected.pvalue)
    assert any("72 of 131 models have the same training energy" in warning for warning in both.warnings)
    headline = compare.compare(both, pairs).headline
    assert "PePR-E is not to be built on" in headline
    assert "PePR-E fell" not in headline


# Files.


def test_the_folder_holds_rows_scores_and_figures(tmp_path: Path) -> None:
    a = compare_runs.run(tmp_path / "a", spread(0.6), Made(fraction=0.25))
    b = compare_runs.run(tmp_path / "b", spread(0.7, step=0.02), cost=2.0)
    both, pairs = read(a, b)
    out = tmp_path / "deep" / "out"
    out.mkdir(parents=True)
    (out / "thesis.txt").write_text("precious")
    done = compare.write(compare.compare(both, pairs), both, pairs, out)
    # All that there may be: those of an earlier comparison are found by these names.
    assert {f"compare_{name}" for name in PLOTS} == set(NAMES)
    names = {f"compare_{name}{suffix}" for name in PLOTS for suffix in (".svg", ".png")}
    assert {path.name for path in out.iterdir()} == names | {"comparison.json", "comparison.csv", "thesis.txt"}
    assert {Path(path).name for path in done.plots} == names
    assert Comparison.model_validate_json((out / "comparison.json").read_text()) == done
    with open(out / "comparison.csv", newline="") as file:
        written = list(csv.DictReader(file))
    assert len(written) == 16
    assert (written[0]["side"], written[0]["candidate"], written[0]["test_accuracy"]) == ("A", "mobilenetv2_050@64", "0.6")
    assert float(written[8]["train_energy_j"]) == 200.0
    assert written[8]["train_energy_method"] == "measured"
    assert float(written[3]["pepr_E"]) == pytest.approx(pairs.together["E"][0, 3])
    assert float(written[11]["pepr_edge_by_itself"]) == pytest.approx(pairs.apart["edge"][1, 3])


def test_figures_of_an_earlier_comparison_do_not_stay(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for count, method in ((8, "measured"), (4, "declared")):
        a = compare_runs.run(tmp_path / f"a{count}", spread(0.6, count=count))
        b = compare_runs.run(tmp_path / f"b{count}", spread(0.7, count=count), Made(method=method))
        both, pairs = read(a, b)
        done = compare.write(compare.compare(both, pairs), both, pairs, out)
        if count == 8:
            (out / "compare_pepr_T.svg").write_text("not one that compare writes")
            (out / "compare_other.png").mkdir()
    # Energy is measured in A and declared in B: there is no PePR-E to be drawn.
    assert len(done.plots) == 4
    assert {path.name for path in out.iterdir()} == {Path(plot).name for plot in done.plots} | {
        "comparison.json",
        "comparison.csv",
        "compare_pepr_T.svg",
        "compare_other.png",
    }


PLOTS = ("performance", "pepr_E", "pepr_edge", "parameters_performance", "parameters_pepr_E")
