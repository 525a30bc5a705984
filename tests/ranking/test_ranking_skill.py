from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_records import entry, info, results
from test_ranking_robustness import decided, row_of

from pepr_edge.ranking import rank
from pepr_edge.ranking.skill import lowest_skilled, too_few_images
from pepr_edge.records import Epoch, Estimate, SplitInfo
from pepr_edge.run_dir.reader import VariantState
from pepr_edge.scoring.intervals import wilson
from pepr_edge.scoring.learning_curve import unselected
from pepr_edge.scoring.pepr import skill

ENERGY = {"train_energy": 1.0}


def test_a_cheap_model_without_skill_has_no_rank_and_sets_no_bounds(tmp_path: Path) -> None:
    made = results(
        tmp_path,
        entry(tmp_path, "cheap", right=105, joules=1.0),
        entry(tmp_path, "good", right=180, joules=50.0),
        entry(tmp_path, "large", right=185, joules=100.0),
    )
    ranking = rank(made, weights=ENERGY)
    cheap = row_of(ranking, "cheap")
    assert (cheap.status, cheap.rank) == ("no_skill", None)
    assert "baseline" in cheap.reason or "always" in cheap.reason
    assert [row.architecture for row in ranking.rows if row.rank == 1] == ["good"]
    assert (ranking.bounds["train_energy"].lo, ranking.bounds["train_energy"].hi) == (50.0, 100.0)
    assert cheap.skill == pytest.approx(0.05)


def test_a_model_with_the_decisions_of_chance_has_no_rank_whatever_its_metric_says(tmp_path: Path) -> None:
    """Its recorded AUROC is good, but it decides for one class only."""
    made = decided(entry(tmp_path, "collapsed"), np.arange(200) % 2 == 0)
    assert made.artifact is not None
    auroc = Estimate(value=0.95, ci=(0.9, 0.97), split="val", n=200)
    made = replace(made, artifact=made.artifact.replace(performance={"val_auroc": auroc}))
    (row,) = rank(results(tmp_path, made), metric="auroc").rows
    assert (row.status, row.rank) == ("no_skill", None)
    assert "chance" in row.reason


def test_an_interval_that_holds_the_baseline_is_no_skill(tmp_path: Path) -> None:
    for right in range(100, 200, 4):
        low, _ = wilson(right, 200)
        (row,) = rank(results(tmp_path / str(right), entry(tmp_path / str(right), "a", right=right))).rows
        if low <= 0.5:
            assert row.status == "no_skill"
    assert row.status == "ok"


def test_a_paired_test_that_shows_nothing_is_named(tmp_path: Path) -> None:
    """The interval is above the baseline, but the model is wrong on most images of the baseline's class."""
    number = np.arange(200)
    right = (number % 2 == 1) | (number < 30)
    low, _ = wilson(115, 200)
    assert low > 0.5
    (row,) = rank(results(tmp_path, decided(entry(tmp_path, "a", right=115), right))).rows
    assert row.status == "no_skill"
    assert "paired test" in row.reason


def test_a_recipe_can_ask_for_more(tmp_path: Path) -> None:
    made = results(
        tmp_path,
        entry(tmp_path, "poor", right=150, joules=1.0),
        entry(tmp_path, "good", right=180),
        more="[score]\nfloor = 0.8\n",
    )
    ranking = rank(made)
    assert [(row.architecture, row.status) for row in ranking.rows] == [("good", "ok"), ("poor", "no_skill")]
    assert "0.8" in ranking.rows[1].reason


def test_ranking_by_skill_stretches_the_performance(tmp_path: Path) -> None:
    entries = (
        entry(tmp_path, "poor", right=130, joules=1.0),
        entry(tmp_path, "good", right=180, joules=99.0),
    )
    plain = rank(results(tmp_path, *entries), weights=ENERGY)
    by_skill = rank(results(tmp_path, *entries, more="[score]\nskill = true\n"), weights=ENERGY)
    # 0.65 / 1 against 0.9 / 2, and 0.3 / 1 against 0.8 / 2.
    assert [row.architecture for row in plain.rows] == ["poor", "good"]
    assert [row.architecture for row in by_skill.rows] == ["good", "poor"]
    assert row_of(by_skill, "good").pepr["edge"] == pytest.approx(0.4)
    assert (by_skill.ranked_by_skill, plain.ranked_by_skill) == (True, False)
    assert by_skill.baseline is not None
    assert by_skill.baseline.outranks == 0


@given(st.floats(0, 1), st.floats(0, 0.99))
def test_skill_is_within_0_and_1_and_0_at_the_baseline(performance: float, baseline: float) -> None:
    value = skill(performance, baseline)
    assert 0 <= value <= 1
    assert skill(baseline, baseline) == 0
    assert skill(1.0, baseline) == pytest.approx(1)
    assert skill(performance, 1.0) == 0


@pytest.mark.parametrize(
    ("counts", "metric", "is_shown"),
    [
        ((3, 3), "accuracy", False),  # the constant model is wrong on three images only
        ((3, 3), "balanced_accuracy", False),
        ((5, 5), "accuracy", True),
        ((4, 4), "balanced_accuracy", True),
        ((96, 4), "accuracy", False),
        ((96, 4), "balanced_accuracy", True),
    ],
)
def test_too_few_images_for_any_model_are_named(counts: tuple[int, int], metric: str, is_shown: bool) -> None:
    split = SplitInfo(images=sum(counts), class_counts=counts)
    data = info("net").data.replace(splits={"train": split, "val": split, "test": split})
    said = too_few_images(metric, data)
    assert ("val_fraction" in said) is not is_shown


def test_a_search_needs_as_many_right_as_the_paired_test() -> None:
    split = SplitInfo(images=24, class_counts=(20, 4))
    data = info("net").data.replace(splits={"train": split, "val": split, "test": split})
    assert lowest_skilled("accuracy", data, None) == (pytest.approx(20 / 24), 1.0)
    split = SplitInfo(images=200, class_counts=(100, 100))
    data = data.replace(splits={"train": split, "val": split, "test": split})
    baseline, lowest = lowest_skilled("accuracy", data, None)
    assert baseline == 0.5
    assert 0.55 < lowest < 0.6


def with_epochs(made: VariantState, *curve: float) -> VariantState:
    """The same candidate with this validation performance after each epoch."""
    epochs = tuple(
        Epoch(epoch=number, train_loss=0.5, val_loss=0.5, val_performance=value, duration_s=1.0, energy_j=1.0)
        for number, value in enumerate(curve, start=1)
    )
    assert made.trained is not None
    return replace(made, trained=made.trained.replace(epochs=epochs, best_epoch=int(np.argmax(curve)) + 1))


def test_the_best_of_many_epochs_alone_shows_no_skill(tmp_path: Path) -> None:
    """As if it were the only epoch, 0.60 is above 0.50: interval and paired test agree."""
    by_luck = entry(tmp_path, "lucky", right=120)
    chance = (0.5, 0.52, 0.6, *(0.48, 0.52) * 8)
    (row,) = rank(results(tmp_path, with_epochs(by_luck, *chance))).rows
    assert row.status == "no_skill"
    assert "last" in row.reason
    assert row.p_best is None
    learnt = (*(0.5, 0.52) * 8, 0.58, 0.6, 0.59, 0.6)
    (row,) = rank(results(tmp_path, with_epochs(by_luck, *learnt))).rows
    assert row.status == "ok"


def test_labels_without_meaning_rarely_show_skill_whatever_the_number_of_epochs() -> None:
    rng = np.random.default_rng(0)
    n = 60
    curves = rng.binomial(n, 0.5, size=(400, 60)) / n
    best = [wilson(round(max(curve) * n), n)[0] for curve in curves]
    unchosen = [wilson(round(unselected(curve.tolist()) * n), n)[0] for curve in curves]
    assert np.mean(np.array(best) > 0.5) > 0.5
    assert np.mean(np.array(unchosen) > 0.5) < 0.05
