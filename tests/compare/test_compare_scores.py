"""PePR over both sides as one set and over each side by itself, and the models that take part."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from compare_sides import MORE, answer, finding, model, side

from pepr_edge import compare
from pepr_edge.compare.model import RESOURCE_NAMES, ComparisonInput, Side
from pepr_edge.compare.record import LeftOut
from pepr_edge.errors import ScoreError
from pepr_edge.scoring.pepr import RESOURCES, Models, Scoring, scores
from pepr_edge.text import units

pytest.importorskip("scipy")


def test_pepr_is_over_both_sides_as_one_set_and_over_each_by_itself() -> None:
    a = Side("a", "accuracy", (model("x", 0.8, 1), model("y", 0.8, 2)), {})
    b = Side("b", "accuracy", (model("x", 0.9, 3), model("y", 0.9, 5)), {})
    pairs = compare.pair(ComparisonInput(a, b, MORE))
    assert pairs.joint["E"] == pytest.approx(np.array([[0.8, 0.8 / 1.25], [0.9 / 1.5, 0.45]]))
    assert pairs.separate["E"] == pytest.approx(np.array([[0.8, 0.4], [0.9, 0.45]]))
    energies = {"train_energy": np.array([100.0, 200.0, 300.0, 500.0])}
    models = Models(("ax", "ay", "bx", "by"), np.array([0.8, 0.8, 0.9, 0.9]), energies)
    assert pairs.joint["E"].reshape(-1).tolist() == scores(models, Scoring({"train_energy": 1.0})).tolist()
    # All three resources grow in the same proportion.
    assert pairs.joint["edge"] == pytest.approx(pairs.joint["E"])
    assert "C" not in pairs.joint


def test_edge_takes_the_weights_of_the_runs_if_they_agree() -> None:
    a = replace(side([0.5, 0.6, 0.7]), weights={"latency": 2.0, "train_energy": 0.0})
    pairs = compare.pair(ComparisonInput(a, a, MORE))
    assert dict(pairs.weights) == {"latency": 2.0}
    assert pairs.joint["edge"] == pytest.approx(pairs.joint["L"])
    # In proportion these are the same weights.
    in_proportion = compare.pair(ComparisonInput(a, replace(a, weights={"latency": 1.0}), MORE))
    assert dict(in_proportion.weights) == {"latency": 2.0}
    assert in_proportion.reasons == pairs.reasons


def test_weights_that_differ_are_replaced_by_the_default() -> None:
    a = replace(side([0.5, 0.6, 0.7]), weights={"latency": 3.0, "train_energy": 1.0})
    b = replace(side([0.5, 0.6, 0.7]), weights={"latency": 1.0})
    comparison = answer(a, b)
    notes = [note for note in comparison.notes if "score.weights" in note]
    assert "(A: latency 75 %, training energy 25 %; B: latency 100 %)" in notes[0]
    assert "training energy, latency, memory on the device equal weights" in notes[0]
    assert len(comparison.edge_weights) == 3
    plain = answer(side([0.5, 0.6, 0.7]), side([0.5, 0.6, 0.7]))
    assert not any("score.weights" in note for note in plain.notes)


def test_resources_have_the_names_of_the_report() -> None:
    assert list(RESOURCE_NAMES) == list(RESOURCES)
    for resource, name in RESOURCE_NAMES.items():
        assert units.RESOURCES[resource][0].startswith(name)
        assert "," not in name


def test_energies_of_different_methods_are_never_mixed() -> None:
    b = side([0.5, 0.6, 0.7])
    declared = tuple(
        replace(model, methods={**model.methods, "train_energy": "declared"}) for model in b.models
    )
    pairs = compare.pair(ComparisonInput(side([0.4, 0.5, 0.6]), replace(b, models=declared), MORE))
    assert set(pairs.joint) == {"L", "W"}
    reasons = {reason.partition(" ")[0]: reason for reason in pairs.reasons}
    assert "measured in A and declared in B" in reasons["PePR-E"]
    assert "training energy" in reasons["PePR-edge"]


def test_a_model_without_a_resource_takes_no_part_in_that_score() -> None:
    b = side([0.5, 0.6, 0.7, 0.8])
    without_latency = replace(b.models[0], resources={**b.models[0].resources, "latency": None})
    comparison = answer(side([0.4, 0.5, 0.6, 0.7]), replace(b, models=(without_latency, *b.models[1:])))
    assert finding(comparison, "PePR-L").n == (3, 3)
    assert finding(comparison, "PePR-E").n == (4, 4)


def test_only_common_candidates_are_paired_and_the_others_are_listed_with_their_reasons() -> None:
    failed = LeftOut(candidate="torn@64", reason="train: no memory")
    a = replace(side([0.5, 0.6, 0.7]), left_out=(failed,))
    b = side([0.5, 0.6])
    b = replace(b, models=(*b.models, model("new@64", 0.9)))
    pairs = compare.pair(ComparisonInput(a, b, MORE))
    for models in (pairs.a, pairs.b):
        assert [model.name for model in models] == ["m0@64", "m1@64"]
    reasons = {candidate.candidate: candidate.reason for candidate in pairs.left_out}
    assert reasons == {"torn@64": "A: train: no memory", "m2@64": "not in B", "new@64": "not in A"}


def test_fewer_than_two_in_common_is_an_error_on_one_line() -> None:
    with pytest.raises(ScoreError, match="1 finished candidates in common") as fault:
        compare.pair(ComparisonInput(side([0.5]), side([0.5, 0.6]), MORE))
    assert "\n" not in str(fault.value)
