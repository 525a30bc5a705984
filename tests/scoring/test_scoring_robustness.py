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
    outliers,
    rank_spread,
    sole_extremes,
    watts_sensitivity,
    weight_sensitivity,
    winners_by_normalisation,
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
    actual = outliers(published("lidc"), E)
    by_name = {outlier.name: outlier for outlier in actual}
    assert set(by_name) == {"convmixer_768_32", "mobilenetv2_050"}
    convmixer = by_name["convmixer_768_32"]
    assert set(convmixer.enters) == {"mobilenetv2_050", "semnasnet_075"}
    assert set(convmixer.leaves) == {"resnet34d", "resnet26d"}


def test_no_model_of_derma_changes_its_best_five() -> None:
    assert outliers(published("derma"), E) == ()


@given(sets(), st.integers(min_value=1, max_value=5))
def test_outliers_equal_leaving_each_out_in_turn(models: Models, top: int) -> None:
    ordered = best(models.names, scores(models, E), len(models.names))
    expected = set()
    for index, name in enumerate(models.names):
        rest = models.without(index)
        before = [other for other in ordered if other != name][:top]
        after = best(rest.names, scores(rest, E), top)
        if set(after) != set(before):
            expected.add(name)
    assert {outlier.name for outlier in outliers(models, E, top)} == expected


def test_only_a_sole_holder_of_an_extreme_can_change_the_bounds() -> None:
    models = made([0.5] * 5, energy=[1, 1, 2, 3, 4], time=[9, 2, 2, 2, 9])
    assert sole_extremes(models, E) == [4]
    assert sole_extremes(models, Scoring({"energy": 1.0, "time": 1.0})) == [4]
    assert sole_extremes(models, Scoring({"time": 1.0})) == []
    assert sole_extremes(models, Scoring({"energy": 1.0}, "reference", reference={})) == []


def test_models_without_a_score_are_never_among_the_best() -> None:
    assert best(("a", "b", "c"), np.array([0.1, np.nan, 0.2])) == ["c", "a"]
    assert best(("a", "b", "c"), np.array([0.2, 0.1, 0.2]), 2) == ["a", "c"]


def test_rank_intervals_of_models_far_apart_are_single_ranks() -> None:
    performance = np.array([0.9, 0.5, 0.1])
    actual = rank_spread(performance, binomial_performances(performance, np.full(3, 1000.0)), np.zeros(3))
    assert (actual.low.tolist(), actual.high.tolist()) == ([1, 2, 3], [1, 2, 3])
    assert actual.p_best.tolist() == [1, 0, 0]


def test_equal_models_share_the_first_place() -> None:
    performance = np.full(4, 0.8)
    drawn = binomial_performances(performance, np.full(4, 200.0), 4000)
    actual = rank_spread(performance, drawn, np.full(4, 0.3))
    assert actual.p_best == pytest.approx(np.full(4, 0.25), abs=0.04)
    assert (actual.low.tolist(), actual.high.tolist()) == ([1] * 4, [4] * 4)


def test_models_with_identical_predictions_share_the_first_place() -> None:
    """In paired draws, neither of two identical models is ahead of the other."""
    drawn = np.repeat(binomial_performances(np.array([0.8]), np.array([50.0])), 2, axis=1)
    actual = rank_spread(np.full(2, 0.8), drawn, np.zeros(2))
    assert actual.p_best.tolist() == [0.5, 0.5]
    assert (actual.low.tolist(), actual.high.tolist()) == ([1, 1], [2, 2])


def test_of_models_with_identical_predictions_the_cheaper_is_always_first() -> None:
    drawn = np.repeat(binomial_performances(np.array([0.8]), np.array([50.0])), 2, axis=1)
    actual = rank_spread(np.full(2, 0.8), drawn, np.array([0.1, 0.0]))
    assert (actual.low.tolist(), actual.high.tolist(), actual.p_best.tolist()) == ([2, 1], [2, 1], [0.0, 1.0])


def test_intervals_of_some_models_equal_those_among_all() -> None:
    performance = np.linspace(0.7, 0.9, 8)
    drawn = binomial_performances(performance, np.full(8, 200.0))
    of_all = rank_spread(performance, drawn, np.zeros(8))
    of_some = rank_spread(performance, drawn, np.zeros(8), of=[5, 0])
    assert of_some.low.tolist() == [of_all.low[5], of_all.low[0]]
    assert of_some.high.tolist() == [of_all.high[5], of_all.high[0]]
    assert of_some.p_best.tolist() == [of_all.p_best[5], of_all.p_best[0]]


@settings(deadline=None)
@given(sets(), st.integers(min_value=1, max_value=300))
def test_probabilities_of_being_best_sum_to_1_and_intervals_are_valid_ranks(
    models: Models, images: int
) -> None:
    n = len(models.names)
    drawn = binomial_performances(models.performance, np.full(n, float(images)), 50)
    actual = rank_spread(models.performance, drawn, np.linspace(0, 1, n))
    assert actual.p_best.sum() == pytest.approx(1)
    assert all(1 <= low <= high <= n for low, high in zip(actual.low, actual.high, strict=True))


@pytest.mark.parametrize("images", [0.0, -5.0, np.nan])
def test_a_proportion_of_no_images_is_an_error(images: float) -> None:
    with pytest.raises(ScoreError, match="expected an integer >= 1"):
        binomial_performances(np.array([0.5]), np.array([images]))


def test_binomial_performances_are_as_wide_as_their_interval() -> None:
    drawn = binomial_performances(np.array([0.8]), np.array([200.0]), 20_000)[:, 0]
    assert drawn.mean() == pytest.approx(0.8, abs=0.003)
    assert drawn.std() == pytest.approx((0.8 * 0.2 / 200) ** 0.5, rel=0.05)


# Performances and resources: models that 200 images cannot distinguish, and models that they can.
CASES = {
    "close": (np.linspace(0.80, 0.82, 10), np.zeros(10)),
    "closer": (np.linspace(0.80, 0.805, 20), np.zeros(20)),
    "apart": (np.array([0.86, 0.83, 0.82, 0.75]), np.array([0.3, 0.1, 0.2, 0.0])),
    "two": (np.array([0.85, 0.84]), np.zeros(2)),
}
# Intervals that contain the true rank in 90 % of cases only reach 94 % with a probability of 0.3 %.
REPETITIONS = 400


@pytest.mark.slow
@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_rank_intervals_contain_the_true_rank_in_at_least_95_percent(case: str, paired: bool) -> None:
    """The intervals are conservative: they may contain the true rank too often, but never too seldom."""
    true, resource = CASES[case]
    images = 200
    models = len(true)
    rng = np.random.default_rng(1)
    score = true / (1 + resource)
    ranks = 1 + (score > score[:, None]).sum(axis=1)
    hits = np.zeros(models)
    for draw in range(REPETITIONS):
        if paired:
            # An image is easy or hard for all models.
            shared = rng.normal(size=(images, 1))
            own = rng.normal(size=(images, models))
            correct = np.sqrt(0.5) * (shared + own) < norm.ppf(true)
            drawn = resample_counts(np.zeros(images, int), 300, draw).astype(float) @ correct / images
        else:
            correct = rng.random((images, models)) < true
            drawn = binomial_performances(
                correct.mean(axis=0), np.full(models, float(images)), 300, seed=draw
            )
        actual = rank_spread(correct.mean(axis=0), drawn, resource)
        hits += (actual.low <= ranks) & (ranks <= actual.high)
    coverage = hits / REPETITIONS
    assert (coverage >= 0.94).all(), coverage


def two_models() -> Models:
    """Model a is better, b needs less energy, and their times are equal."""
    return made([0.9, 0.8], energy=[10, 5], time=[3, 3])


def test_the_range_of_weights_within_which_the_winner_stays() -> None:
    (energy, time) = weight_sensitivity(two_models(), Scoring({"energy": 1.0, "time": 9.0}))
    # 0.9 / (1 + w) > 0.8 as long as w < 0.125.
    assert (energy.setting, energy.at, energy.stays) == ("energy weight", pytest.approx(0.1), (0.0, 0.12))
    assert (energy.winner_below, energy.winner_above) == (None, "b")
    assert (time.stays, time.winner_below, time.winner_above) == ((0.88, 1.0), "b", None)


def test_a_single_resource_has_no_weight_to_vary() -> None:
    assert weight_sensitivity(two_models(), E) == ()
    assert (
        weight_sensitivity(made([0.5], energy=[np.nan], time=[1]), Scoring({"energy": 1.0, "time": 1.0}))
        == ()
    )


def test_a_model_without_a_resource_is_not_added_if_its_weight_is_0() -> None:
    models = made([0.9, 0.8, 1.0], energy=[10, 5, np.nan], time=[3, 3, 3])
    assert weight_sensitivity(models, Scoring({"energy": 1.0, "time": 9.0}))[0].stays == (0.0, 0.12)


def test_declared_watts_do_not_matter_if_all_energies_are_declared() -> None:
    all_declared = np.array([True, True])
    actual = watts_sensitivity(two_models(), E, all_declared, "energy")
    assert actual is not None
    assert (actual.stays, actual.winner_below, actual.winner_above) == (actual.tried, None, None)
    reference = Scoring({"energy": 1.0}, "reference", reference=None)
    assert watts_sensitivity(two_models(), reference, ~all_declared, "energy") is None
    assert watts_sensitivity(two_models(), Scoring({"time": 1.0}), all_declared, "energy") is None


def test_declared_watts_matter_with_reference_bounds() -> None:
    from pepr_edge.records import Bound

    scoring = Scoring({"energy": 1.0}, "reference", reference={"energy": Bound(lo=0, hi=100, unit="J")})
    actual = watts_sensitivity(two_models(), scoring, np.array([True, True]), "energy")
    assert actual is not None
    # 0.9 / (1 + 0.1 f) > 0.8 / (1 + 0.05 f) as long as f < 2.86.
    assert actual.winner_above == "b"
    assert 2.4 < actual.stays[1] < 2.86


def test_the_winner_under_each_normalisation() -> None:
    # The normalised energies are 1 and 0 under minmax, 1 and 0.9 under max.
    models = made([0.9, 0.8], energy=[10, 9])
    assert winners_by_normalisation(models, E) == {"minmax": "b", "max": "a"}
    assert winners_by_normalisation(made([0.9], energy=[np.nan]), E) == {"minmax": None, "max": None}


@given(sets(), st.floats(min_value=1e-3, max_value=1e3), st.data())
def test_scores_of_a_set_do_not_depend_on_unit_or_order(
    models: Models, unit: float, data: st.DataObject
) -> None:
    actual = scores(models, E)
    scaled = Models(models.names, models.performance, {"energy": models.resources["energy"] * unit})
    np.testing.assert_allclose(scores(scaled, E), actual, rtol=1e-9)
    order: Array = np.array(data.draw(st.permutations(range(len(models.names)))))
    shuffled = Models(
        tuple(models.names[i] for i in order),
        models.performance[order],
        {"energy": models.resources["energy"][order]},
    )
    np.testing.assert_array_equal(scores(shuffled, E), actual[order])
