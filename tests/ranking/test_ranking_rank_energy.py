"""The ranking where energies are missing, or of several methods."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from made_records import entry, results
from three_models import names, row_of, three

from pepr_edge.ranking import rank
from pepr_edge.records import Bound
from pepr_edge.run_dir.reader import Results
from pepr_edge.text.robustness import ranking_caveats


def without_energy(folder: Path) -> Results:
    """Three models; the largest took the longest to train, and no energy is known."""
    entries = []
    for name, right, duration_s in (("small", 160, 10.0), ("middle", 180, 20.0), ("large", 190, 90.0)):
        made = entry(folder, name, right=right, joules=None, latency_s=0.01)
        assert made.trained is not None
        duration = made.trained.cost.duration_s.replace(value=duration_s)
        trained = made.trained.replace(cost=made.trained.cost.replace(duration_s=duration))
        entries.append(replace(made, trained=trained))
    return results(folder, *entries)


def test_without_energy_training_time_has_its_weight_and_the_ranking_says_so(tmp_path: Path) -> None:
    ranking = rank(without_energy(tmp_path))
    assert ranking.weights == {"train_time": 1.0, "latency": 1.0, "peak_memory": 1.0}
    assert names(ranking) == ["middle", "small", "large"]
    assert [row.rank for row in ranking.rows] == [1, 2, 3]
    assert ranking.rows[0].methods["train_time"] == "measured"
    assert ranking.rows[0].resources["train_energy"] is None
    (note,) = [note for note in ranking.notes if "watts_per_core" in note]
    assert note in ranking_caveats(ranking)
    assert not any("watts_per_core" in note for note in rank(three(tmp_path / "three")).notes)


def test_energy_that_one_training_has_is_not_replaced(tmp_path: Path) -> None:
    made = without_energy(tmp_path)
    with_energy = entry(tmp_path, "other", joules=5.0)
    ranking = rank(replace(made, entries=(*made.entries, with_energy)))
    assert "train_energy" in ranking.weights
    assert row_of(ranking, "small").reason == "no score: train_energy not measured"


def test_bounds_of_a_reference_without_time_are_not_replaced(tmp_path: Path) -> None:
    reference = {
        name: Bound(lo=0.0, hi=1e9, unit=unit)
        for name, unit in (("train_energy", "J"), ("latency", "s"), ("peak_memory", "B"), ("train_time", "s"))
    }
    made = without_energy(tmp_path)
    assert rank(made, reference=reference).rows[0].rank == 1
    del reference["train_time"]
    assert rank(made, reference=reference).rows[0].rank is None


def test_measured_and_declared_energies_never_share_bounds(tmp_path: Path) -> None:
    ranking = rank(
        results(
            tmp_path,
            entry(tmp_path, "small", joules=10.0),
            entry(tmp_path, "large", joules=99.0, method="declared"),
        )
    )
    assert "train_energy" not in ranking.bounds
    for row in ranking.rows:
        assert (row.rank, row.pepr["E"], row.pepr["edge"]) == (None, None, None)
        assert "train_energy" in row.reason
        assert "(declared, measured)" in row.reason
        assert row.resources["train_energy"] is not None
    a = entry(tmp_path, "a", joules=10.0, method="declared")
    b = entry(tmp_path, "b", joules=99.0, method="declared")
    assert [row.rank for row in rank(results(tmp_path, a, b)).rows] == [1, 2]


def test_a_model_outside_the_set_does_not_mix_methods(tmp_path: Path) -> None:
    slow = entry(tmp_path, "large", method="declared", latency_s=0.5)
    ranking = rank(
        results(tmp_path, entry(tmp_path, "small"), slow, more="[budgets]\nlatency_p90_ms = 100\n")
    )
    assert [row.rank for row in ranking.rows] == [1, None]
