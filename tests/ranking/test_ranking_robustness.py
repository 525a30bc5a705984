from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import made_records
import numpy as np
import pytest
from made_records import entry, results

from pepr_edge.errors import RunError, ScoreError
from pepr_edge.ranking import rank
from pepr_edge.records import Bound, Epoch, Ranking, RankingRow
from pepr_edge.run_dir.reader import Results, VariantState

MIB = 2**20


def decided(made: VariantState, right: np.ndarray) -> VariantState:
    """The entry with predictions that are correct where `right` is True, on images of alternating classes."""
    labels = np.arange(len(right)) % 2
    said = np.where(right, labels, 1 - labels)
    logits = np.eye(2, dtype=np.float32)[said]
    np.savez(made.folder / "predictions.npz", val=logits, val_labels=labels)
    return made


def row_of(ranking: Ranking, name: str) -> RankingRow:
    return next(row for row in ranking.rows if row.architecture == name)


def pair(folder: Path, wrong: int) -> Results:
    """Two models on 200 images: the first is wrong on 20, the second on `wrong` more."""
    right = np.arange(200) >= 20
    worse = right & ~((np.arange(200) >= 100) & (np.arange(200) < 100 + wrong))
    first = decided(entry(folder, "first", right=180, joules=100.0), right)
    return results(folder, first, decided(entry(folder, "second", right=180 - wrong, joules=200.0), worse))


def test_a_difference_of_one_image_of_200_is_a_tie(tmp_path: Path) -> None:
    assert row_of(rank(pair(tmp_path, 1)), "second").tied_with_best is True


def test_a_difference_of_40_images_of_200_is_no_tie(tmp_path: Path) -> None:
    assert row_of(rank(pair(tmp_path, 40)), "second").tied_with_best is False


def test_rank_intervals_overlap_for_one_image_and_not_for_40(tmp_path: Path) -> None:
    close = rank(pair(tmp_path / "a", 1), weights={"train_time": 1.0})
    far = rank(pair(tmp_path / "b", 40), weights={"train_time": 1.0})
    # 37 % of the resamples lack that image; in them both models are first.
    assert [row.rank_ci for row in close.rows] == [(1, 2), (1, 2)]
    assert [row.p_best for row in close.rows] == [
        pytest.approx(0.815, abs=0.03),
        pytest.approx(0.185, abs=0.03),
    ]
    assert [(row.rank_ci, row.p_best) for row in far.rows] == [((1, 1), 1.0), ((2, 2), 0.0)]


def test_probabilities_sum_to_1_over_ranked_models(tmp_path: Path) -> None:
    models = {"a": 170, "b": 171, "c": 172, "d": 100}
    made = results(tmp_path, *(entry(tmp_path, name, right=right) for name, right in models.items()))
    failed = replace(made.entries[3], profile=None)
    ranking = rank(replace(made, entries=(*made.entries[:3], failed)))
    assert sum(row.p_best or 0.0 for row in ranking.rows) == pytest.approx(1)
    assert (ranking.rows[3].rank_ci, ranking.rows[3].p_best) == (None, None)


def test_the_baseline_predicts_the_most_frequent_class_of_training_and_is_no_member(tmp_path: Path) -> None:
    good = entry(tmp_path, "good", right=190, joules=1.0)
    expensive = entry(tmp_path, "expensive", right=120, joules=99.0)
    ranking = rank(results(tmp_path, good, expensive), weights={"train_energy": 1.0})
    free = ranking.baseline
    assert free is not None
    # 500 of 900 training images are "no"; half of the validation images are.
    assert (free.label, free.performance, free.outranks, free.of) == ("no", 0.5, 1, 2)
    assert (ranking.bounds["train_energy"].lo, ranking.bounds["train_energy"].hi) == (1.0, 99.0)
    assert [row.rank for row in ranking.rows] == [1, 2]


@pytest.mark.parametrize(
    ("metric", "reached"), [("balanced_accuracy", 0.5), ("auroc", 0.5), ("sensitivity_at_specificity", 0.0)]
)
def test_the_baseline_uses_the_metric_of_the_ranking(tmp_path: Path, metric: str, reached: float) -> None:
    free = rank(
        results(tmp_path, decided(entry(tmp_path, "good"), np.arange(200) >= 20)), metric=metric
    ).baseline
    assert free is not None
    assert free.performance == reached


def test_unrecorded_metrics_are_computed_from_predictions(tmp_path: Path) -> None:
    made = results(tmp_path, decided(entry(tmp_path, "good"), np.arange(200) >= 20))
    for name in ("balanced_accuracy", "sensitivity_at_specificity_0.8", "f1"):
        (row,) = rank(made, metric=name).rows
        assert row.performance is not None
        assert 0.8 < row.performance < 1


def seven(folder: Path) -> Results:
    """Seven models of which one needs a hundred times the energy of the others: it sets the scale."""
    made = [
        ("a", 150, 1.0),
        ("b", 151, 2.0),
        ("c", 152, 3.0),
        ("d", 153, 4.0),
        ("e", 154, 5.0),
        ("f", 199, 9.0),
        ("vast", 190, 1000.0),
    ]
    return results(folder, *(entry(folder, name, right=right, joules=joules) for name, right, joules in made))


def test_an_outlier_is_named_with_what_it_changes(tmp_path: Path) -> None:
    ranking = rank(seven(tmp_path), weights={"train_energy": 1.0})
    (vast,) = [outlier for outlier in ranking.outliers if outlier.name == "vast@64 fp32"]
    assert vast.leaves == ("f@64 fp32",)
    assert vast.enters == ("a@64 fp32",)


def test_six_models_have_no_outlier(tmp_path: Path) -> None:
    made = seven(tmp_path)
    assert rank(replace(made, entries=made.entries[1:]), weights={"train_energy": 1.0}).outliers == ()


def test_what_the_winner_depends_on(tmp_path: Path) -> None:
    made = [
        entry(tmp_path, "quick", right=180, joules=200.0, latency_s=0.01, method="declared"),
        entry(tmp_path, "frugal", right=180, joules=100.0, latency_s=0.02, method="declared"),
    ]
    ranking = rank(results(tmp_path, *made), weights={"train_energy": 1.0, "latency": 3.0})
    by_name = {setting.setting: setting for setting in ranking.sensitivity}
    assert set(by_name) == {"train_energy weight", "latency weight", "declared watts, factor"}
    assert by_name["latency weight"].stays == (pytest.approx(0.5, abs=0.02), 1.0)
    assert by_name["latency weight"].winner_below == "frugal@64 fp32"
    assert by_name["declared watts, factor"].winner_above is None
    assert ranking.winners == {"minmax": "quick@64 fp32", "max": "quick@64 fp32"}


def test_a_ranking_without_ranks_has_no_robustness(tmp_path: Path) -> None:
    ranking = rank(results(tmp_path, replace(entry(tmp_path, "a"), profile=None)))
    assert (ranking.baseline, ranking.outliers, ranking.sensitivity, ranking.winners) == (None, (), (), {})


def test_reference_bounds(tmp_path: Path) -> None:
    made = results(tmp_path, entry(tmp_path, "a", joules=10.0), entry(tmp_path, "b", joules=500.0))
    reference = {"train_energy": Bound(lo=0, hi=100, unit="J")}
    ranking = rank(made, weights={"train_energy": 1.0}, reference=reference)
    assert ranking.normalise == "reference"
    assert [row.normalised["train_energy"] for row in ranking.rows] == [0.1, 1.0]
    assert ranking.bounds["train_energy"].hi == 100
    assert ranking.outliers == ()
    declared = {"train_energy": Bound(lo=0, hi=100, unit="J", method="declared")}
    for row in rank(made, weights={"train_energy": 1.0}, reference=declared).rows:
        assert (row.rank, row.pepr["edge"]) == (None, None)
        assert "train_energy" in row.reason
        assert "(declared, measured)" in row.reason
    with pytest.raises(ScoreError, match="no reference bounds of latency"):
        rank(made, reference=reference)


def test_training_images_are_a_resource(tmp_path: Path) -> None:
    (row,) = rank(results(tmp_path, entry(tmp_path, "a"))).rows
    assert (row.resources["train_data"], row.methods["train_data"], row.pepr["D"]) == (
        900.0,
        "counted",
        row.performance,
    )


def test_the_normalisation_of_the_call_overrides_the_recipe(tmp_path: Path) -> None:
    made = results(tmp_path, entry(tmp_path, "a", joules=10.0), entry(tmp_path, "b", joules=20.0))
    ranking = rank(made, weights={"train_energy": 1.0}, normalise="max")
    assert [row.normalised["train_energy"] for row in ranking.rows] == [0.5, 1.0]
    assert made_records.recipe().score.normalise == "minmax"


def test_robustness_uses_the_bounds_of_the_ranking(tmp_path: Path) -> None:
    """A model without a rank affects the bounds of its measured resources, also those of the intervals."""
    made = [
        entry(tmp_path, "slow", right=196, latency_s=0.03),
        entry(tmp_path, "quick", right=180, latency_s=0.01),
        entry(tmp_path, "unmeasured", right=190, latency_s=1.0, memory_bytes=None),
    ]
    ranking = rank(results(tmp_path, *made), weights={"latency": 1.0, "peak_memory": 0.001})
    assert [(row.architecture, row.rank) for row in ranking.rows] == [
        ("slow", 1),
        ("quick", 2),
        ("unmeasured", None),
    ]
    first = ranking.rows[0]
    assert first.rank_ci is not None
    assert first.rank_ci[0] == 1
    assert first.p_best is not None
    assert first.p_best > 0.9
    assert ranking.winners["minmax"] == "slow@64 fp32"


def test_reference_bounds_in_another_unit_are_refused_and_values_beyond_give_a_warning(
    tmp_path: Path,
) -> None:
    made = results(tmp_path, entry(tmp_path, "a", joules=10.0), entry(tmp_path, "b", joules=500.0))
    with pytest.raises(ScoreError, match="train_energy in kWh, expected J"):
        rank(made, weights={"train_energy": 1.0}, reference={"train_energy": Bound(lo=0, hi=4, unit="kWh")})
    ranking = rank(
        made, weights={"train_energy": 1.0}, reference={"train_energy": Bound(lo=0, hi=100, unit="")}
    )
    assert row_of(ranking, "a").warnings == ()
    (warning,) = row_of(ranking, "b").warnings
    assert "train_energy" in warning
    assert "bounds" in warning


def test_predictions_of_other_validation_images_are_refused(tmp_path: Path) -> None:
    made = results(tmp_path, entry(tmp_path, "a"), entry(tmp_path, "b"))
    decided(made.entries[1], np.arange(150) >= 20)
    with pytest.raises(RunError, match="other validation images"):
        rank(made)


@pytest.mark.parametrize("size", [100, 0, 3])
def test_torn_predictions_are_one_line(tmp_path: Path, size: int) -> None:
    made = results(tmp_path, entry(tmp_path, "a"))
    path = made.entries[0].folder / "predictions.npz"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(RunError, match=r"predictions\.npz: cannot be read \(.*zip"):
        rank(made)


def test_a_weight_much_larger_than_the_others_is_accepted(tmp_path: Path) -> None:
    made = results(tmp_path, entry(tmp_path, "a"), entry(tmp_path, "b"))
    assert rank(made, weights={"latency": 1e17, "train_energy": 1.0}).rows[0].rank == 1
    with pytest.raises(ScoreError, match="weights sum to inf"):
        rank(made, weights={"latency": 1e308, "train_energy": 1e308})


def test_the_baseline_of_a_one_class_metric_predicts_that_class(tmp_path: Path) -> None:
    """The most frequent class, "no", has an F1 of 0, because F1 is that of "yes"; always "yes" has 2/3."""
    ranking = rank(results(tmp_path, decided(entry(tmp_path, "good"), np.arange(200) >= 20)), metric="f1")
    assert ranking.baseline is not None
    assert (ranking.baseline.label, ranking.baseline.performance) == ("yes", pytest.approx(2 / 3))
    assert ranking.positive == "yes"
    assert rank(results(tmp_path / "again", entry(tmp_path / "again", "good"))).positive == "yes"


def test_a_busy_machine_is_a_warning(tmp_path: Path) -> None:
    made = entry(tmp_path, "a")
    assert made.profile is not None
    cores = made.profile.device.cores
    for load, warned in ((cores - 0.5, False), (cores + 1.5, True)):
        busy = replace(made, profile=made.profile.model_copy(update={"load_before": load}))
        (row,) = rank(results(tmp_path, busy)).rows
        assert any("other programs used the CPU" in warning for warning in row.warnings) is warned


@pytest.mark.parametrize(
    ("durations_s", "warned"),
    [
        ([9.0, 1.0, 1.1, 1.2, 1.0], False),
        ([1.0, 1.0, 6.0, 1.0, 1.0], True),
        ([1.0, 9.0, 1.0], False),
        ([], False),
    ],
)
def test_a_disturbed_training_is_a_warning(tmp_path: Path, durations_s: list[float], warned: bool) -> None:
    """The durations of the epochs show it; the first epoch includes work that is done once."""
    epochs = [
        Epoch(
            epoch=number,
            train_loss=1.0,
            val_loss=1.0,
            val_performance=0.5,
            duration_s=duration_s,
            energy_j=None,
        )
        for number, duration_s in enumerate(durations_s, start=1)
    ]
    made = entry(tmp_path, "a")
    assert made.trained is not None
    (row,) = rank(
        results(tmp_path, replace(made, trained=made.trained.model_copy(update={"epochs": tuple(epochs)})))
    ).rows
    assert any(warning.startswith("trained while") for warning in row.warnings) is warned
