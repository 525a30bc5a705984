"""PePR over both sides together and over each by itself; which models take part."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from compare_sides import MORE, answer, finding, model, side

from pepr_edge import compare
from pepr_edge.compare.model import RESOURCE_NAMES, Absent, ComparisonInput, Side
from pepr_edge.errors import ScoreError
from pepr_edge.scoring.pepr import RESOURCES, Models, Scoring, scores
from pepr_edge.text import units

pytest.importorskip("scipy")


def test_pepr_is_over_both_sides_together_and_over_each_by_itself() -> None:
    a = Side("a", "accuracy", tuple(model(name, 0.8, number) for name, number in (("x", 1), ("y", 2))), {})
    b = Side("b", "accuracy", tuple(model(name, 0.9, number) for name, number in (("x", 3), ("y", 5))), {})
    pairs = compare.pair(ComparisonInput(a, b, MORE))
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
    pairs = compare.pair(ComparisonInput(a, b, MORE))
    assert dict(pairs.weights) == {"latency": 2.0}
    assert pairs.together["edge"] == pytest.approx(pairs.together["L"])
    # In proportion they are the same.
    assert dict(compare.pair(ComparisonInput(a, replace(b, weights={"latency": 1.0}), MORE)).weights) == {
        "latency": 2.0
    }
    assert (
        pairs.reasons == compare.pair(ComparisonInput(a, replace(b, weights={"latency": 1.0}), MORE)).reasons
    )


def test_weights_that_differ_are_said_to_be_set_aside() -> None:
    a, b = (
        replace(side([0.5, 0.6, 0.7]), weights=weights)
        for weights in ({"latency": 3.0, "train_energy": 1.0}, {"latency": 1.0})
    )
    comparison = answer(a, b)
    said = "The recipes' score.weights differ (A: latency 75 %, training energy 25 %; B: latency 100 %): PePR-edge weighs training energy, "
    assert f"{said}latency, memory on the device alike here." in comparison.notes
    assert len(comparison.edge_weights) == 3
    assert not any(
        "score.weights" in note for note in answer(side([0.5, 0.6, 0.7]), side([0.5, 0.6, 0.7])).notes
    )


def test_resources_are_called_as_in_a_report() -> None:
    assert list(RESOURCE_NAMES) == list(RESOURCES)
    assert all(
        units.RESOURCES[name][0].startswith(words) and "," not in words
        for name, words in RESOURCE_NAMES.items()
    )


def test_energies_of_different_methods_are_never_mixed() -> None:
    b = side([0.5, 0.6, 0.7])
    declared = tuple(replace(one, methods={**one.methods, "train_energy": "declared"}) for one in b.models)
    pairs = compare.pair(ComparisonInput(side([0.4, 0.5, 0.6]), replace(b, models=declared), MORE))
    assert "E" not in pairs.together
    assert "edge" not in pairs.together
    assert "L" in pairs.together
    assert (
        "PePR-E left out: training energy is measured in A and declared in B, which must not be mixed."
        in pairs.reasons
    )
    assert "PePR-edge left out: it needs training energy." in pairs.reasons


def test_a_model_whose_resource_is_not_known_takes_no_part_in_that_score() -> None:
    b = side([0.5, 0.6, 0.7, 0.8])
    blind = replace(b.models[0], resources={**b.models[0].resources, "latency": None})
    found = answer(side([0.4, 0.5, 0.6, 0.7]), replace(b, models=(blind, *b.models[1:])))
    assert finding(found, "PePR-L").n == (3, 3)
    assert finding(found, "PePR-E").n == (4, 4)


def test_only_what_both_have_is_paired_and_the_rest_is_listed_with_its_reason() -> None:
    a = replace(side([0.5, 0.6, 0.7]), absent=(Absent("torn@64", "train: no memory"),))
    b = replace(side([0.5, 0.6]), models=(*side([0.5, 0.6]).models, model("new@64", 0.9)))
    pairs = compare.pair(ComparisonInput(a, b, MORE))
    assert [one.name for one in pairs.a] == [one.name for one in pairs.b] == ["m0@64", "m1@64"]
    expected = {"torn@64": "A: train: no memory", "m2@64": "not in B", "new@64": "not in A"}
    assert {absent.name: absent.reason for absent in pairs.left_out} == expected


def test_fewer_than_two_in_common_is_one_line() -> None:
    with pytest.raises(
        ScoreError, match="have 1 finished candidates in common, expected at least 2"
    ) as fault:
        compare.pair(ComparisonInput(side([0.5]), side([0.5, 0.6]), MORE))
    assert "\n" not in str(fault.value)
