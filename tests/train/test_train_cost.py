from __future__ import annotations

import pytest

from pepr_edge.energy.carbon import intensity
from pepr_edge.energy.meter import Use
from pepr_edge.records import InterruptionLoss, Quantity, TrainCost
from pepr_edge.train.cost import charged, lost, nothing, told, total_s, with_peaks


def use(joules: float | None, seconds: float) -> Use:
    method = "unavailable" if joules is None else "declared"
    return Use(
        Quantity(value=joules, method=method, source="5 W" if joules is not None else "no watts"),
        seconds,
        seconds,
    )


def spent(*stretches: tuple[float | None, float, int]) -> TrainCost:
    cost = nothing()
    for joules, seconds, images in stretches:
        cost = charged(cost, "training", use(joules, seconds), images, "DNK")
    return cost


def test_stretches_add_up_training_and_evaluation_apart() -> None:
    cost = charged(spent((10.0, 2.0, 0), (30.0, 6.0, 45)), "evaluation", use(1.5, 0.5), 7, "DNK")
    assert (cost.energy_j.value, cost.duration_s.value, cost.images.value) == (40.0, 8.0, 45)
    assert (cost.evaluation_energy_j.value, cost.evaluation_duration_s.value) == (1.5, 0.5)
    assert (cost.energy_j.method, cost.energy_j.source, cost.evaluation_energy_j.method) == (
        "declared",
        "5 W",
        "declared",
    )
    assert cost.co2eq_g.value == pytest.approx(40.0 / 3.6e6 * intensity("DNK").g_per_kwh)
    assert total_s(cost) == 8.5


def test_an_energy_that_is_not_known_once_is_not_known_in_all() -> None:
    cost = spent((10.0, 2.0, 0), (None, 2.0, 45))
    assert (cost.energy_j.value, cost.energy_j.method, cost.co2eq_g.value) == (None, "unavailable", None)
    assert cost.duration_s.value == 4.0


def test_the_greatest_memory_of_all_processes_counts() -> None:
    cost = with_peaks(with_peaks(with_peaks(nothing(), 300, None), 200, None), None, None)
    assert (cost.peak_memory_bytes.value, cost.peak_memory_bytes.method) == (300, "measured")
    assert (cost.gpu_peak_memory_bytes.value, cost.gpu_peak_memory_bytes.source) == (None, "trained on a CPU")


def test_lost_is_what_was_spent_beyond_what_was_kept() -> None:
    kept, all_of_it = spent((10.0, 2.0, 45)), spent((10.0, 2.0, 45), (4.0, 0.8, 16))
    gone = lost(InterruptionLoss(interruptions=1, energy_j=1.0, duration_s=0.2, images=8), kept, all_of_it, 2)
    assert (gone.interruptions, gone.images) == (2, 24)
    assert (gone.energy_j, gone.duration_s) == (pytest.approx(5.0), pytest.approx(1.0))
    assert lost(InterruptionLoss(), nothing(), spent((None, 2.0, 3)), 1) == InterruptionLoss(
        interruptions=1, energy_j=None, duration_s=2.0, images=3
    )


def test_the_words_say_how_much_was_lost() -> None:
    cost = spent((40.0, 8.0, 45))
    assert told(cost, InterruptionLoss()) is cost
    words = told(cost, InterruptionLoss(interruptions=1, energy_j=16.02, duration_s=3.2, images=16))
    assert words.energy_j.source == "5 W, of which 16.02 J were lost to 1 interruption"
    assert (
        words.duration_s.source
        == "perf_counter over the probe and all epochs, of which 3.20 s were lost to 1 interruption"
    )
    assert words.images.source == "training images over all epochs, of which 16 were lost to 1 interruption"
    assert told(cost, InterruptionLoss(interruptions=2, energy_j=None)).energy_j == cost.energy_j
