"""Scores of a set of models, and of a training's epochs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pepr_strategies import alphas, amounts, spans, unit

from pepr_edge.errors import ScoreError
from pepr_edge.records import Bound
from pepr_edge.scoring.pepr import (
    Models,
    Scoring,
    normalised,
    only_method,
    pepr,
    pepr_curve,
    pepr_family,
    resource_bounds,
    scores,
)


def models_of(performance: list[float], **resources: list[float]) -> Models:
    names = tuple(map(str, range(len(performance))))
    return Models(
        names,
        np.array(performance, float),
        {name: np.array(values, float) for name, values in resources.items()},
    )


ENERGY = Scoring({"energy": 1.0})
sets = st.lists(st.tuples(unit, amounts), min_size=1, max_size=15)


def scored(pairs: list[tuple[float, float]], scoring: Scoring = ENERGY) -> list[float]:
    return scores(models_of([p for p, _ in pairs], energy=[r for _, r in pairs]), scoring).tolist()


@given(sets)
def test_scores_of_a_set_lie_between_half_the_performance_and_the_whole(
    pairs: list[tuple[float, float]],
) -> None:
    for (performance, _), score in zip(pairs, scored(pairs), strict=True):
        assert performance / 2 * (1 - 1e-12) <= score <= performance * (1 + 1e-12)


@given(unit, amounts)
def test_a_single_model_scores_its_performance(performance: float, energy: float) -> None:
    assert scored([(performance, energy)]) == [performance]


@given(unit, unit, amounts, st.floats(min_value=1e-3, max_value=1e9))
def test_of_two_models_the_cheaper_scores_its_performance_and_the_other_half_of_it(
    p: float, q: float, low: float, more: float
) -> None:
    assert scored([(p, low), (q, low + more)]) == [p, pytest.approx(q / 2)]


@given(sets, st.integers(min_value=0, max_value=14), unit)
def test_a_higher_performance_never_scores_less_and_does_not_affect_other_models(
    pairs: list[tuple[float, float]], index: int, better: float
) -> None:
    index %= len(pairs)
    before = scored(pairs)
    performance, energy = pairs[index]
    after = scored([*pairs[:index], (max(performance, better), energy), *pairs[index + 1 :]])
    assert after[index] >= before[index]
    assert after[:index] + after[index + 1 :] == before[:index] + before[index + 1 :]


@given(st.lists(unit, min_size=2, max_size=15), st.data())
def test_of_equal_performance_more_energy_never_scores_more(
    energies: list[float], data: st.DataObject
) -> None:
    performance = data.draw(unit)
    actual = scored([(performance, energy) for energy in sorted(energies)])
    assert actual == sorted(actual, reverse=True)


def test_models_of_equal_cost_score_their_performance() -> None:
    assert scored([(0.5, 3.0), (0.9, 3.0)]) == [0.5, 0.9]


def test_models_that_were_not_measured_or_never_ended_have_no_score_and_no_effect() -> None:
    actual = scored([(0.8, 1.0), (0.6, 3.0), (1.0, math.nan), (1.0, math.inf)])
    assert actual[:2] == scored([(0.8, 1.0), (0.6, 3.0)]) == [0.8, 0.3]
    assert np.isnan(actual[2:]).all()
    assert np.isnan(scored([(1.0, math.nan)])).all()


def test_several_resources_with_weights_and_reference_bounds() -> None:
    models = models_of([0.8, 0.9], energy=[0.0, 10.0], time=[5.0, 5.0], idle=[math.nan, math.nan])
    weighted = Scoring({"energy": 1.0, "time": 3.0, "idle": 0.0})
    assert scores(models, weighted) == pytest.approx([0.8, 0.9 / 1.25])
    assert scores(models, Scoring({"energy": 1.0}, alpha=4.0))[1] == pytest.approx(4 * 0.9 / 5)
    assert scores(models, Scoring({"time": 1.0}, "max")) == pytest.approx([0.4, 0.45])
    reference = {"energy": Bound(lo=0, hi=40, unit="J")}
    scoring = Scoring({"energy": 1.0}, "reference", reference=reference)
    assert scores(models, scoring) == pytest.approx([0.8, 0.9 / 1.25])
    assert np.isnan(scores(models, Scoring({"time": 1.0}, "reference", reference=reference))).all()


def test_measured_and_declared_values_cannot_share_bounds() -> None:
    with pytest.raises(ScoreError, match=r"different ways \(declared, measured\)"):
        resource_bounds([1.0, 2.0], "J", methods=["measured", "declared"])
    assert resource_bounds([1.0, 2.0], "J", methods=["declared", "declared"]).method == "declared"
    assert (only_method([]), only_method(["counted"])) == ("", "counted")


def test_the_curve_of_a_training_and_its_maximum() -> None:
    actual = pepr_curve([0.5, 0.8, 0.81], [1.0, 2.0, 3.0], Bound(lo=1.0, hi=5.0, unit="J"))
    assert actual.values == pytest.approx([0.5, 0.8 / 1.25, 0.81 / 1.5])
    assert (actual.best, actual.maximum) == (1, pytest.approx(0.64))


@given(st.lists(st.tuples(unit, amounts), min_size=1, max_size=20), alphas)
def test_p_star_is_the_maximum_score_over_the_epochs(points: list[tuple[float, float]], alpha: float) -> None:
    bound = resource_bounds([spent for _, spent in points])
    actual = pepr_curve([p for p, _ in points], [spent for _, spent in points], bound, alpha)
    expected = [pepr(p, normalised(spent, bound), alpha) for p, spent in points]
    assert actual.maximum == max(expected)
    assert expected[actual.best] == actual.maximum


@pytest.mark.parametrize(("performance", "resource"), [([], []), ([0.5], [1.0, 2.0]), ([1.5], [1.0])])
def test_invalid_curves_are_errors(performance: list[float], resource: list[float]) -> None:
    with pytest.raises(ScoreError, match="expected"):
        pepr_curve(performance, resource, Bound(lo=0, hi=1, unit="J"))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_single_model_without_a_finite_value_has_no_score(value: float) -> None:
    r, actual = pepr_family(0.8, {"latency": value}, spans(), {"latency": 1.0})
    assert (r["latency"], actual["L"], actual["edge"]) == (None, None, None)


def test_an_epoch_with_unknown_cost_is_never_the_best() -> None:
    actual = pepr_curve([0.9, 0.5, 0.8], [math.nan, 2.0, 3.0], Bound(lo=1.0, hi=5.0, unit="J"))
    assert (actual.best, np.isnan(actual.values[0])) == (2, True)
    with pytest.raises(ScoreError, match="no epoch has both"):
        pepr_curve([0.9], [math.nan], Bound(lo=1.0, hi=5.0, unit="J"))
