"""Rows near the limit of skill: another run might rank them, or not."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from made_records import entry, results
from test_ranking_robustness import row_of
from test_ranking_spread import repeated

from pepr_edge.ranking import rank
from pepr_edge.ranking.membership import skill_chance
from pepr_edge.ranking.spread import PooledSd
from pepr_edge.records import Ranking
from pepr_edge.text.robustness import first_place

ENERGY = {"train_energy": 1.0}


def ranked(folder: Path, right: int, accuracies: tuple[float, float, float]) -> Ranking:
    """A cheap model that is right on `right` of 200 images (one class alone: 100), and two good ones."""
    made = results(
        folder,
        repeated(entry(folder, "cheap", right=right, joules=1.0), *accuracies),
        repeated(entry(folder, "good", right=180, joules=90.0), 0.90, 0.901, 0.899),
        repeated(entry(folder, "large", right=150, joules=100.0), 0.75, 0.751, 0.749),
    )
    return rank(made, weights=ENERGY)


def test_a_model_that_is_hopeless_leaves_the_first_place_settled(tmp_path: Path) -> None:
    ranking = ranked(tmp_path, 70, (0.35, 0.351, 0.349))
    assert row_of(ranking, "cheap").status == "no_skill"
    assert row_of(ranking, "good").rank_ci == (1, 1)
    assert row_of(ranking, "cheap").p_best is None
    assert ranking.settled


def test_a_model_that_another_run_might_rank_first_unsettles_it(tmp_path: Path) -> None:
    """With skill its PePR would be 0.56, and that of the first 0.48."""
    ranking = ranked(tmp_path, 112, (0.56, 0.561, 0.559))
    assert row_of(ranking, "cheap").status == "no_skill"
    first = row_of(ranking, "good")
    assert first.rank == 1
    assert first.rank_ci == (1, 2)
    assert first.p_best is not None
    assert first.p_best < 0.95
    assert not ranking.settled
    cheap = row_of(ranking, "cheap")
    assert cheap.p_best is not None
    assert cheap.p_best + first.p_best == pytest.approx(1.0, abs=0.02)
    answer = first_place(ranking)
    assert "cheap@64 fp32" in answer
    assert "no skill shown" in answer


def test_a_first_model_near_the_limit_of_skill_is_not_settled(tmp_path: Path) -> None:
    near = ranked(tmp_path / "near", 118, (0.59, 0.591, 0.589))
    first = row_of(near, "cheap")
    assert (first.rank, first.rank_ci) == (1, (1, 1))
    assert row_of(near, "good").rank_ci == (1, 2), "it is first where the cheap one has no skill"
    assert not near.settled
    far = ranked(tmp_path / "far", 160, (0.80, 0.801, 0.799))
    assert row_of(far, "good").rank_ci == (2, 2)
    assert far.settled


def test_the_chance_of_skill_falls_with_the_spread(tmp_path: Path) -> None:
    row = row_of(ranked(tmp_path, 118, (0.59, 0.591, 0.589)), "cheap")
    assert skill_chance(row, 0.0, None) == pytest.approx(0.5)
    assert skill_chance(row, math.inf, None) == 1.0
    alone = skill_chance(row, 0.05, None)
    with_seeds = skill_chance(row, 0.05, PooledSd(0.1, 6))
    assert 0.5 < with_seeds < alone < 1.0
    exact = row.replace(performance_ci=(0.59, 0.59))
    assert [skill_chance(exact, margin, None) for margin in (-0.01, 0.0, 0.01)] == [0.0, 0.0, 1.0]
