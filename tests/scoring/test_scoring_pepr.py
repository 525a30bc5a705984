from __future__ import annotations

import math

import made_records
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pepr_strategies import alphas, amounts, models, spans, unit

from pepr_edge.errors import ScoreError
from pepr_edge.records import Bound
from pepr_edge.scoring.pepr import (
    RESOURCES,
    Normalise,
    normalised,
    normalised_weights,
    pareto_front,
    pepr,
    pepr_family,
    resource_bounds,
    set_id,
)

SCALE: dict[str, float] = {"train_energy": 1.0, "latency": 1.0, "peak_memory": 1.0}


@given(unit, unit, alphas)
def test_a_score_lies_between_half_the_performance_and_the_whole(
    performance: float, resource: float, alpha: float
) -> None:
    score = pepr(performance, resource, alpha)
    assert performance / 2 * (1 - 1e-12) <= score <= performance * (1 + 1e-12)


@given(unit, unit, unit, alphas)
def test_a_score_falls_with_the_resource_and_rises_with_the_performance(
    performance: float, a: float, b: float, alpha: float
) -> None:
    less, more = sorted((a, b))
    assert pepr(performance, less, alpha) >= pepr(performance, more, alpha)
    assert pepr(less, performance, alpha) <= pepr(more, performance, alpha)


@given(unit, unit, alphas)
def test_more_emphasis_brings_the_score_nearer_to_the_performance(
    performance: float, resource: float, alpha: float
) -> None:
    assert pepr(performance, resource, alpha) >= pepr(performance, resource) * (1 - 1e-12)


@given(unit, unit)
def test_alpha_of_one_is_the_formula_of_the_paper(performance: float, resource: float) -> None:
    assert pepr(performance, resource) == pepr(performance, resource, 1.0) == performance / (1 + resource)


@pytest.mark.parametrize(
    ("performance", "resource", "alpha", "score"),
    [(0.8, 0.0, 1, 0.8), (0.8, 1.0, 1, 0.4), (0.9, 0.5, 1, 0.6), (0.9, 1.0, 3, 0.675)],
)
def test_known_scores(performance: float, resource: float, alpha: float, score: float) -> None:
    assert pepr(performance, resource, alpha) == pytest.approx(score)


@pytest.mark.parametrize(
    ("performance", "resource", "alpha"),
    [
        (1.1, 0, 1),
        (-0.1, 0, 1),
        (0.5, 1.01, 1),
        (0.5, -0.01, 1),
        (math.nan, 0, 1),
        (0.5, math.nan, 1),
        (0.5, 0, 0.9),
        (0.5, 0, math.inf),
    ],
)
def test_values_that_cannot_be_scored_are_errors(performance: float, resource: float, alpha: float) -> None:
    with pytest.raises(ScoreError, match="expected"):
        pepr(performance, resource, alpha)


@given(models)
def test_normalised_resources_span_zero_to_one(values: list[float]) -> None:
    actual = resource_bounds(values, "J")
    shares_of_it = [normalised(value, actual) for value in values]
    assert min(shares_of_it) == 0
    assert max(shares_of_it) == (1 if len(set(values)) > 1 else 0)
    assert all(0 <= share <= 1 for share in shares_of_it)


@given(amounts, st.integers(min_value=1, max_value=5))
def test_a_single_model_or_equal_models_have_a_resource_of_0(value: float, count: int) -> None:
    assert normalised(value, resource_bounds([value] * count)) == 0


@given(models, st.data())
def test_normalising_keeps_the_order(values: list[float], data: st.DataObject) -> None:
    actual = resource_bounds(values, normalise=data.draw(st.sampled_from(["minmax", "max"])))
    ordered = [normalised(value, actual) for value in sorted(values)]
    assert ordered == sorted(ordered)


@pytest.mark.parametrize(("normalise", "lo", "share"), [("minmax", 2.0, 0.25), ("max", 0.0, 0.4)])
def test_minmax_starts_at_the_minimum_and_max_at_0(normalise: Normalise, lo: float, share: float) -> None:
    actual = resource_bounds([2.0, 10.0, 4.0], "s", normalise)
    assert actual == Bound(lo=lo, hi=10.0, unit="s")
    assert normalised(4.0, actual) == share


@pytest.mark.parametrize(("value", "share"), [(1.0, 0.0), (2.0, 0.0), (6.0, 0.5), (10.0, 1.0), (50.0, 1.0)])
def test_values_outside_reference_bounds_are_clipped(value: float, share: float) -> None:
    assert normalised(value, Bound(lo=2.0, hi=10.0, unit="s")) == share


@pytest.mark.parametrize("values", [[], [1.0, -1.0], [math.nan], [1.0, math.inf]])
def test_values_without_bounds_are_errors(values: list[float]) -> None:
    with pytest.raises(ScoreError):
        resource_bounds(values)


@given(st.dictionaries(st.sampled_from(sorted(RESOURCES)), st.floats(min_value=0, max_value=1e6), min_size=1))
def test_shares_sum_to_one_or_all_weights_are_zero(weights: dict[str, float]) -> None:
    if not any(weights.values()):
        with pytest.raises(ScoreError, match="all weights are 0"):
            normalised_weights(weights)
        return
    actual = normalised_weights(weights)
    assert sum(actual.values()) == pytest.approx(1)
    assert set(actual) == {name for name, weight in weights.items() if weight > 0}


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"train_enery": 1.0}, "'train_enery': unknown resource, expected one of train_energy"),
        ({"latency": -1.0}, "latency = -1.0, expected a number >= 0"),
        ({"latency": math.nan}, "latency = nan"),
        ({"latency": math.inf}, "latency = inf"),
        ({}, "all weights are 0"),
    ],
)
def test_invalid_weights_are_errors(weights: dict[str, float], message: str) -> None:
    with pytest.raises(ScoreError, match=message):
        normalised_weights(weights)


def test_the_family_of_a_model() -> None:
    resources = dict(zip(RESOURCES, [0.0, 2.0, 4.0, 6.0, 1.0, 8.0, 10.0], strict=True))
    r, scores = pepr_family(0.9, resources, spans(), SCALE)
    assert r == pytest.approx(dict(zip(RESOURCES, [0.0, 0.2, 0.4, 0.6, 0.1, 0.8, 1.0], strict=True)))
    expected = {
        "E": 0.9,
        "C": 0.75,
        "T": 0.9 / 1.4,
        "M": 0.9 / 1.6,
        "D": 0.9 / 1.1,
        "L": 0.5,
        "W": 0.45,
        "edge": 0.9 / (1 + (0 + 0.8 + 1.0) / 3),
    }
    assert scores == pytest.approx(expected)


def test_weights_and_emphasis_affect_the_combined_score() -> None:
    resources: dict[str, float | None] = {"latency": 10.0, "peak_memory": 5.0}
    _, scores = pepr_family(0.8, resources, spans(), {"latency": 3.0, "peak_memory": 1.0}, alpha=2.0)
    assert scores["edge"] == pytest.approx(2 * 0.8 / (2 + 0.75 * 1 + 0.25 * 0.5))
    assert scores["L"] == pytest.approx(2 * 0.8 / 3)


def test_a_resource_that_was_not_measured_gives_no_score_and_no_combined_score() -> None:
    resources: dict[str, float | None] = {"train_energy": None, "latency": 5.0, "peak_memory": 5.0}
    r, scores = pepr_family(0.8, resources, spans(), SCALE)
    assert (r["train_energy"], scores["E"], scores["C"], scores["edge"]) == (None, None, None, None)
    assert scores["L"] == pytest.approx(0.8 / 1.5)
    assert pepr_family(0.8, resources, spans(), {"latency": 1.0, "train_energy": 0.0})[1][
        "edge"
    ] == pytest.approx(0.8 / 1.5)


def test_a_resource_without_bounds_has_no_score() -> None:
    _, scores = pepr_family(0.8, {"latency": 5.0}, {}, {"latency": 1.0})
    assert (scores["L"], scores["edge"]) == (None, None)


@given(
    unit,
    st.lists(amounts, min_size=7, max_size=7),
    st.lists(st.floats(min_value=1e-3, max_value=1e3), min_size=7, max_size=7),
    alphas,
)
def test_the_combined_score_lies_between_those_of_its_resources(
    performance: float, values: list[float], weights: list[float], alpha: float
) -> None:
    actual = spans(hi=1e12)
    resources: dict[str, float | None] = dict(zip(RESOURCES, values, strict=True))
    _, scores = pepr_family(performance, resources, actual, dict(zip(RESOURCES, weights, strict=True)), alpha)
    edge = scores.pop("edge")
    single = [score for score in scores.values() if score is not None]
    assert edge is not None
    assert min(single) - 1e-12 <= edge <= max(single) + 1e-12


@given(
    st.lists(
        st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), min_size=1),
        unique=True,
        min_size=1,
    ),
    st.data(),
)
def test_the_name_of_a_set_depends_on_its_members_not_their_order(
    members: list[str], data: st.DataObject
) -> None:
    assert set_id(members) == set_id(data.draw(st.permutations(members)))
    assert set_id(members) != set_id([*members, "one more\nmodel"])
    assert set_id(members) != set_id(members[1:])
    assert len(set_id(members)) == 16


@given(st.lists(st.tuples(unit, unit), min_size=1, max_size=12))
def test_the_pareto_front_equals_its_definition(points: list[tuple[float, float]]) -> None:
    def beaten(p: float, r: float) -> bool:
        return any(q >= p and s <= r and (q > p or s < r) for q, s in points)

    front = pareto_front([p for p, _ in points], [r for _, r in points])
    assert front.tolist() == [not beaten(p, r) for p, r in points]
    assert front.any()


def published(dataset: str) -> dict[str, tuple[float, float]]:
    """Last performance and energy in Wh by architecture."""
    rows = made_records.paper("published_results.csv")
    return {
        row["model"]: (float(row["test_09"]), float(row["energy_kwh"]) * 1e3)
        for row in rows
        if row["dataset"] == dataset
    }


def scores_of(dataset: str, normalise: Normalise = "minmax", without: str = "") -> dict[str, float]:
    models = {name: figures for name, figures in published(dataset).items() if name != without}
    actual = resource_bounds([energy for _, energy in models.values()], "Wh", normalise)
    return {
        name: pepr(performance, normalised(energy, actual)) for name, (performance, energy) in models.items()
    }


def test_table_1_of_the_paper_follows_from_its_published_results() -> None:
    table = made_records.paper("table1.csv")
    assert len(table) == 12
    for row in table:
        model = row["timm_name"]
        score = scores_of(row["dataset"], "max")[model]
        performance, energy_wh = published(row["dataset"])[model]
        assert score == pytest.approx(float(row["pepr_e"]), abs=6e-5), model
        # Typing errors of the paper: its best epoch instead of the last, and the energy of another model.
        if (row["dataset"], model) != ("derma", "ese_vovnet19b_dw"):
            assert performance == pytest.approx(float(row["performance"]), abs=1.1e-4), model
        if (row["dataset"], model) != ("lidc", "resnet34d"):
            assert energy_wh == pytest.approx(float(row["energy_wh"]), abs=0.06), model


def test_table_1_does_not_follow_with_the_equation_of_the_paper() -> None:
    for row in made_records.paper("table1.csv"):
        score = scores_of(row["dataset"])[row["timm_name"]]
        assert score - float(row["pepr_e"]) > 2e-3


def test_one_outlier_changes_the_five_best_of_lidc() -> None:
    before = scores_of("lidc")
    after = scores_of("lidc", without="convmixer_768_32")
    best_before = sorted(before, key=before.__getitem__)[-5:]
    best_after = sorted(after, key=after.__getitem__)[-5:]
    assert set(best_before) != set(best_after)


def test_the_majority_class_baseline_outranks_most_models_of_derma() -> None:
    assert sum(score < 0.669 for score in scores_of("derma").values()) == 97
