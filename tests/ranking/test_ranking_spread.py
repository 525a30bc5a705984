from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_records import bench, entry, field_report, results
from test_ranking_robustness import row_of

from pepr_edge.ranking import rank
from pepr_edge.ranking.spread import pooled_sd
from pepr_edge.records import Estimate, RankingRow
from pepr_edge.run_dir.reader import VariantState
from pepr_edge.scoring.percentiles import early_stopping_percentile

LATENCY = {"latency": 1.0}
TIME = {"train_time": 1.0}


def repeated(made: VariantState, *accuracies: float) -> VariantState:
    """The entry with several trainings, of these validation accuracies; the first is deployed."""
    assert made.trained is not None
    trainings = tuple(
        made.trained.replace(
            seed=number,
            performance={
                "val_accuracy": Estimate(value=value, ci=(0.0, 1.0), split="val", n=200),
                "accuracy": Estimate(value=value, ci=(0.0, 1.0), split="test", n=200),
            },
        )
        for number, value in enumerate(accuracies)
    )
    folders = tuple(made.folder.parent for _ in trainings)
    return replace(made, trained=trainings[0], repeats=trainings, repeat_folders=folders)


def noisy(made: VariantState, spread: float) -> VariantState:
    """The entry with latencies that change from block to block."""
    assert made.profile is not None
    rng = np.random.default_rng(3)
    levels = np.repeat(0.01 * np.exp(spread * rng.standard_normal(16)), 64)
    latencies_s = tuple((levels * (1 + 0.001 * rng.random(len(levels)))).tolist())
    return replace(
        made, profile=made.profile.model_copy(update={"latencies_s": latencies_s, "blocks": (64,) * 16})
    )


def test_one_training_each_is_never_settled_and_says_which_sources_count(tmp_path: Path) -> None:
    made = results(tmp_path, entry(tmp_path, "good", right=195), entry(tmp_path, "poor", right=130))
    ranking = rank(made, weights=TIME)
    assert ranking.rows[0].rank_ci == (1, 1)
    assert (ranking.settled, ranking.sources) == (False, ("images",))


def test_several_seeds_far_apart_settle_the_first_place(tmp_path: Path) -> None:
    good = repeated(entry(tmp_path, "good", right=195), 0.975, 0.97, 0.98)
    poor = repeated(entry(tmp_path, "poor", right=130), 0.65, 0.66, 0.64)
    ranking = rank(results(tmp_path, good, poor), weights=TIME)
    assert ranking.settled
    assert "seeds" in ranking.sources
    assert [row.repeats for row in ranking.rows] == [3, 3]


def test_seeds_that_differ_much_widen_the_rank_intervals(tmp_path: Path) -> None:
    calm = [
        repeated(entry(tmp_path / "calm", "a", right=190), 0.95, 0.951, 0.949),
        repeated(entry(tmp_path / "calm", "b", right=160), 0.80, 0.801, 0.799),
    ]
    wild = [
        repeated(entry(tmp_path / "wild", "a", right=190), 0.95, 0.75, 0.99),
        repeated(entry(tmp_path / "wild", "b", right=160), 0.80, 0.60, 0.97),
    ]
    assert [row.rank_ci for row in rank(results(tmp_path, *calm), weights=TIME).rows] == [(1, 1), (2, 2)]
    ranking = rank(results(tmp_path, *wild), weights=TIME)
    assert [row.rank_ci for row in ranking.rows] == [(1, 2), (1, 2)]
    assert not ranking.settled


def test_noise_of_the_latency_widens_the_rank_intervals(tmp_path: Path) -> None:
    quiet = noisy(entry(tmp_path, "quiet", right=190), 1e-4)
    loud = noisy(entry(tmp_path, "loud", right=190), 0.3)
    for made, interval in ((quiet, (1, 1)), (loud, (1, 2))):
        assert made.profile is not None
        p90_s = early_stopping_percentile(made.profile.latencies_s, 0.9)
        assert p90_s is not None
        name = made.candidate.architecture
        slower = entry(tmp_path, f"slower than {name}", right=190, latency_s=p90_s * 1.02)
        ranking = rank(results(tmp_path, made, slower), weights=LATENCY)
        assert "costs" in ranking.sources
        assert row_of(ranking, name).rank_ci == interval


def test_a_model_alone_is_settled(tmp_path: Path) -> None:
    assert rank(results(tmp_path, entry(tmp_path, "good", right=190))).settled


def row(name: str, repeats: int, sd: float | None) -> RankingRow:
    return RankingRow(
        rank=1,
        candidate=name,
        architecture=name,
        variant="fp32",
        status="ok",
        repeats=repeats,
        performance_sd=sd,
    )


def test_the_deviation_over_seeds_is_pooled_over_candidates() -> None:
    assert pooled_sd([row("a", 1, None)]) is None
    pooled = pooled_sd([row("a", 3, 0.01), row("a", 3, 0.01), row("b", 2, 0.04), row("c", 1, None)])
    assert pooled is not None
    assert pooled.freedom == 3
    assert pooled.value == pytest.approx(((2 * 0.01**2 + 0.04**2) / 3) ** 0.5)


def test_the_field_brings_its_own_errors(tmp_path: Path) -> None:
    """At home the latencies of both models vary; in the field they do not."""
    names = ("a", "b")
    made = [noisy(entry(tmp_path, name, right=190), 0.2) for name in names]
    report = field_report(*(bench(name, latency_s=0.01 * (1 + number)) for number, name in enumerate(names)))
    home = rank(results(tmp_path, *made), weights=LATENCY)
    field = rank(results(tmp_path, *made), weights=LATENCY, field={"report.json": report})
    assert home.rows[0].resources_sd["latency"] > 0
    assert field.rows[0].resources_sd["latency"] == 0  # all latencies were the same
    assert [row.rank_ci for row in field.rows] == [(1, 1), (2, 2)]
