from __future__ import annotations

from collections.abc import Sequence

import made_records
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from pepr_edge.errors import ScoreError
from pepr_edge.scoring.intervals import resample_counts
from pepr_edge.scoring.pepr import Array, Models, Scoring, scores
from pepr_edge.scoring.robustness import (
    best,
    binomial_performances,
    bounding,
    outliers,
    rank_spread,
    to_normalisation,
    to_watts,
    to_weights,
)

E = Scoring({"energy": 1.0})


def made(performance: Sequence[float], **resources: Sequence[float]) -> Models:
    names = tuple("abcdefghijklmnopqrstuvwxyz"[: len(performance)])
    return Models(
        names,
        np.array(performance, float),
        {name: np.array(values, float) for name, values in resources.items()},
    )


def published(dataset: str) -> Models:
    rows = [row for row in made_records.paper("published_results.csv") if row["dataset"] == dataset]
    energy = np.array([float(row["energy_kwh"]) for row in rows])
    return Models(
        tuple(row["model"] for row in rows),
        np.array([float(row["test_09"]) for row in rows]),
        {"energy": energy},
    )


@st.composite
def sets(draw: st.DrawFn) -> Models:
    n = draw(st.integers(min_value=1, max_value=12))
    unit = st.floats(min_value=0, max_value=1)
    amount = st.one_of(st.just(float("nan")), st.integers(min_value=0, max_value=9).map(float))
    return made(
        draw(st.lists(unit, min_size=n, max_size=n)), energy=draw(st.lists(amount, min_size=n, max_size=n))
    )


def test_two_models_of_lidc_set_the_scale_and_change_its_best_five() -> None:
    found = outliers(published("lidc"), E)
    assert {one.name for one in found} == {"convmixer_768_32", "mobilenetv2_050"}
    (convmixer,) = [one for one in found if one.name == "convmixer_768_32"]
    assert set(convmixer.enters) == {"mobilenetv2_050", "semnasnet_075"}
    assert set(convmixer.leaves) == {"resnet34d", "resnet26d"}


def test_no_model_of_derma_changes_its_best_five() -> None:
    assert outliers(published("derma"), E) == ()


@given(sets(), st.integers(min_value=1, max_value=5))
def test_outliers_equal_leaving_each_out_in_turn(models: Models, top: int) -> None:
    everyone = best(models.names, scores(models, E), len(models.names))
    expected = set()
    for index, name in enumerate(models.names):
        rest = models.without(index)
        if set(best(rest.names, scores(rest, E), top)) != set(
            [other for other in everyone if other != name][:top]
        ):
            expected.add(name)
    assert {one.name for one in outliers(models, E, top)} == expected


def test_only_who_alone_holds_an_extreme_can_move_the_bounds() -> None:
    models = made([0.5] * 5, energy=[1, 1, 2, 3, 4], time=[9, 2, 2, 2, 9])
    assert bounding(models, E) == [4]
    assert bounding(models, Scoring({"energy": 1.0, "time": 1.0})) == [4]
    assert bounding(models, Scoring({"time": 1.0})) == []
    assert bounding(models, Scoring({"energy": 1.0}, "reference", reference={})) == []


def test_those_without_a_score_are_never_among_the_best() -> None:
    assert best(("a", "b", "c"), np.array([0.1, np.nan, 0.2])) == ["c", "a"]
    assert best(("a", "b", "c"), np.array([0.2, 0.1, 0.2]), 2) == ["a", "c"]


def test_rank_intervals_of_models_far_apart_are_single_ranks() -> None:
    performance = np.array([0.9, 0.5, 0.1])
    found = rank_spread(performance, binomial_performances(performance, np.full(3, 1000.0)), np.zeros(3))
    assert (found.low.tolist(), found.high.tolist(), found.p_best.tolist()) == (
        [1, 2, 3],
        [1, 2, 3],
        [1, 0, 0],
    )


def test_equal_models_share_the_first_place() -> None:
    performance = np.full(4, 0.8)
    found = rank_spread(
        performance, binomial_performances(performance, np.full(4, 200.0), 4000), np.full(4, 0.3)
    )
    assert found.p_best == pytest.approx(np.full(4, 0.25), abs=0.04)
    assert (found.low.tolist(), found.high.tolist()) == ([1] * 4, [4] * 4)


def test_identical_predictions_are_first_together() -> None:
    """Paired draws: of two models that always decide alike, none is ever before the other, and each may be first or second."""
    drawn = np.repeat(binomial_performances(np.array([0.8]), np.array([50.0])), 2, axis=1)
    found = rank_spread(np.full(2, 0.8), drawn, np.zeros(2))
    assert found.p_best.tolist() == [0.5, 0.5]
    assert (found.low.tolist(), found.high.tolist()) == ([1, 1], [2, 2])


def test_of_identical_predictions_the_cheaper_is_surely_first() -> None:
    drawn = np.repeat(binomial_performances(np.array([0.8]), np.array([50.0])), 2, axis=1)
    found = rank_spread(np.full(2, 0.8), drawn, np.array([0.1, 0.0]))
    assert (found.low.tolist(), found.high.tolist(), found.p_best.tolist()) == ([2, 1], [2, 1], [0.0, 1.0])


def test_intervals_of_some_models_are_those_among_all() -> None:
    performance = np.linspace(0.7, 0.9, 8)
    drawn = binomial_performances(performance, np.full(8, 200.0))
    everyone, some = (
        rank_spread(performance, drawn, np.zeros(8)),
        rank_spread(performance, drawn, np.zeros(8), of=[5, 0]),
    )
    assert some.low.tolist() == [everyone.low[5], everyone.low[0]]
    assert some.high.tolist() == [everyone.high[5], everyone.high[0]]
    assert some.p_best.tolist() == [everyone.p_best[5], everyone.p_best[0]]


@settings(deadline=None)
@given(sets(), st.integers(min_value=1, max_value=300))
def test_probabilities_of_being_best_sum_to_one_and_ranks_are_ranks(models: Models, images: int) -> None:
    n = len(models.names)
    drawn = binomial_performances(models.performance, np.full(n, float(images)), 50)
    found = rank_spread(models.performance, drawn, np.linspace(0, 1, n))
    assert found.p_best.sum() == pytest.approx(1)
    assert all(1 <= low <= high <= n for low, high in zip(found.low, found.high, strict=True))


@pytest.mark.parametrize("images", [0.0, -5.0, np.nan])
def test_a_proportion_of_no_images_is_refused(images: float) -> None:
    with pytest.raises(ScoreError, match="expected an integer >= 1"):
        binomial_performances(np.array([0.5]), np.array([images]))


def test_binomial_performances_are_as_wide_as_their_interval() -> None:
    drawn = binomial_performances(np.array([0.8]), np.array([200.0]), 20_000)[:, 0]
    assert (drawn.mean(), drawn.std()) == (
        pytest.approx(0.8, abs=0.003),
        pytest.approx((0.8 * 0.2 / 200) ** 0.5, rel=0.05),
    )


# Performances that images cannot tell apart, and such that they can; the resource of each.
CASES = {
    "close": (np.linspace(0.80, 0.82, 10), np.zeros(10)),
    "closer": (np.linspace(0.80, 0.805, 20), np.zeros(20)),
    "apart": (np.array([0.86, 0.83, 0.82, 0.75]), np.array([0.3, 0.1, 0.2, 0.0])),
    "two": (np.array([0.85, 0.84]), np.zeros(2)),
}


@pytest.mark.slow
@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_rank_intervals_hold_the_true_rank_at_least_as_often_as_they_say(case: str, paired: bool) -> None:
    """Ranks are whole numbers, and one interval is right for any number of others: it holds the true rank too often, never too seldom."""
    true, resource = CASES[case]
    images, models, rng = 200, len(true), np.random.default_rng(1)
    score = true / (1 + resource)
    ranks = 1 + (score > score[:, None]).sum(axis=1)
    held = np.zeros(models)
    for draw in range(1000):
        if paired:
            # Images are easy or hard for all models alike.
            ease = np.sqrt(0.5) * rng.normal(size=(images, 1)) + np.sqrt(0.5) * rng.normal(
                size=(images, models)
            )
            right = ease < norm.ppf(true)
            drawn = resample_counts(np.zeros(images, int), 300, draw).astype(float) @ right / images
        else:
            right = rng.random((images, models)) < true
            drawn = binomial_performances(right.mean(axis=0), np.full(models, float(images)), 300, seed=draw)
        found = rank_spread(right.mean(axis=0), drawn, resource)
        held += (found.low <= ranks) & (ranks <= found.high)
    assert (held / 1000 >= 0.94).all(), held / 1000


def two() -> Models:
    """One is better, the other cheaper in energy, and they are equal in time."""
    return made([0.9, 0.8], energy=[10, 5], time=[3, 3])


def test_within_which_weight_the_winner_stays() -> None:
    (energy, time) = to_weights(two(), Scoring({"energy": 1.0, "time": 9.0}))
    # 0.9 / (1 + w) > 0.8 as long as w < 0.125.
    assert (energy.setting, energy.at, energy.stays) == ("energy weight", pytest.approx(0.1), (0.0, 0.12))
    assert (energy.winner_below, energy.winner_above) == (None, "b")
    assert (time.stays, time.winner_below, time.winner_above) == ((0.88, 1.0), "b", None)


def test_one_resource_alone_has_no_weight_to_vary() -> None:
    assert to_weights(two(), E) == ()
    assert to_weights(made([0.5], energy=[np.nan], time=[1]), Scoring({"energy": 1.0, "time": 1.0})) == ()


def test_a_model_without_a_resource_does_not_come_in_where_its_weight_is_nothing() -> None:
    models = made([0.9, 0.8, 1.0], energy=[10, 5, np.nan], time=[3, 3, 3])
    assert to_weights(models, Scoring({"energy": 1.0, "time": 9.0}))[0].stays == (0.0, 0.12)


def test_declared_watts_move_nothing_where_all_are_declared_and_all_where_some_are() -> None:
    everyone = np.array([True, True])
    found = to_watts(two(), E, everyone, "energy")
    assert found is not None
    assert (found.stays, found.winner_below, found.winner_above) == (found.tried, None, None)
    reference = Scoring({"energy": 1.0}, "reference", reference=None)
    assert to_watts(two(), reference, ~everyone, "energy") is None
    assert to_watts(two(), Scoring({"time": 1.0}), everyone, "energy") is None


def test_declared_watts_matter_against_bounds_from_elsewhere() -> None:
    from pepr_edge.records import Bound

    scoring = Scoring({"energy": 1.0}, "reference", reference={"energy": Bound(lo=0, hi=100, unit="J")})
    found = to_watts(two(), scoring, np.array([True, True]), "energy")
    assert found is not None
    # 0.9 / (1 + 0.1 f) > 0.8 / (1 + 0.05 f) as long as f < 2.86.
    assert found.winner_above == "b"
    assert 2.4 < found.stays[1] < 2.86


def test_who_wins_under_each_normalisation() -> None:
    # Under minmax the one uses 1 and the other 0; under max 1 and 0.9.
    models = made([0.9, 0.8], energy=[10, 9])
    assert to_normalisation(models, E) == {"minmax": "b", "max": "a"}
    assert to_normalisation(made([0.9], energy=[np.nan]), E) == {"minmax": None, "max": None}


@given(sets(), st.floats(min_value=1e-3, max_value=1e3), st.data())
def test_scores_of_a_set_do_not_depend_on_unit_or_order(
    models: Models, unit: float, data: st.DataObject
) -> None:
    found = scores(models, E)
    scaled = Models(models.names, models.performance, {"energy": models.resources["energy"] * unit})
    np.testing.assert_allclose(scores(scaled, E), found, rtol=1e-9)
    order: Array = np.array(data.draw(st.permutations(range(len(models.names)))))
    shuffled = Models(
        tuple(models.names[i] for i in order),
        models.performance[order],
        {"energy": models.resources["energy"][order]},
    )
    np.testing.assert_array_equal(scores(shuffled, E), found[order])
