from __future__ import annotations

import pytest

from pepr_edge.energy.carbon import intensity
from pepr_edge.energy.meter import Usage
from pepr_edge.records import InterruptionLoss, Quantity, TrainCost
from pepr_edge.train.cost import (
    add_usage,
    interruption_loss,
    no_cost,
    total_energy,
    total_s,
    with_loss,
    with_peaks,
)


def use(joules: float | None, seconds: float) -> Usage:
    method = "unavailable" if joules is None else "declared"
    source = "no watts" if joules is None else "5 W"
    return Usage(Quantity(value=joules, method=method, source=source), seconds, seconds)


def spent(*periods: tuple[float | None, float, int]) -> TrainCost:
    """The cost of periods of training: joules, seconds, images."""
    cost = no_cost()
    for joules, seconds, images in periods:
        cost = add_usage(cost, "training", use(joules, seconds), images, "DNK")
    return cost


def test_periods_add_up_training_and_evaluation_separately() -> None:
    cost = add_usage(spent((10.0, 2.0, 0), (30.0, 6.0, 45)), "evaluation", use(1.5, 0.5), 7, "DNK")
    assert (cost.energy_j.value, cost.duration_s.value, cost.images.value) == (40.0, 8.0, 45)
    assert (cost.evaluation_energy_j.value, cost.evaluation_duration_s.value) == (1.5, 0.5)
    assert (cost.energy_j.method, cost.energy_j.source, cost.evaluation_energy_j.method) == (
        "declared",
        "5 W",
        "declared",
    )
    assert cost.co2eq_g.value == pytest.approx(40.0 / 3.6e6 * intensity("DNK").g_per_kwh)
    assert total_s(cost) == 8.5


def test_the_setup_is_counted_apart_and_in_the_total() -> None:
    cost = add_usage(spent((40.0, 8.0, 45)), "setup", use(6.0, 3.0), 0, "DNK")
    cost = add_usage(cost, "evaluation", use(1.5, 0.5), 0, "DNK")
    assert cost.setup_energy_j is not None
    assert cost.setup_co2eq_g is not None
    assert cost.setup_duration_s is not None
    assert (cost.energy_j.value, cost.duration_s.value, cost.images.value) == (40.0, 8.0, 45)
    assert (cost.setup_energy_j.value, cost.setup_energy_j.method) == (6.0, "declared")
    assert cost.setup_duration_s.value == 3.0
    assert cost.setup_co2eq_g.value == pytest.approx(6.0 / 3.6e6 * intensity("DNK").g_per_kwh)
    assert (total_energy(cost).value, total_energy(cost).method) == (47.5, "declared")
    assert total_s(cost) == 11.5


def test_the_total_of_version_0_1_0_has_no_setup() -> None:
    cost = spent((40.0, 8.0, 45)).replace(setup_energy_j=None, setup_co2eq_g=None, setup_duration_s=None)
    assert total_energy(cost).value == 40.0
    assert total_s(cost) == 8.0


def test_the_total_energy_is_unknown_if_one_period_is() -> None:
    cost = spent((10.0, 2.0, 0), (None, 2.0, 45))
    assert (cost.energy_j.value, cost.energy_j.method, cost.co2eq_g.value) == (None, "unavailable", None)
    assert cost.duration_s.value == 4.0


def test_the_peak_memory_is_the_maximum_over_all_processes() -> None:
    cost = with_peaks(with_peaks(with_peaks(no_cost(), 300, None), 200, None), None, None)
    assert (cost.peak_memory_bytes.value, cost.peak_memory_bytes.method) == (300, "measured")
    assert (cost.gpu_peak_memory_bytes.value, cost.gpu_peak_memory_bytes.source) == (None, "trained on a CPU")


def test_the_loss_is_what_was_spent_but_not_saved() -> None:
    saved = spent((10.0, 2.0, 45))
    total = spent((10.0, 2.0, 45), (4.0, 0.8, 16))
    before = InterruptionLoss(interruptions=1, energy_j=1.0, duration_s=0.2, images=8)
    loss = interruption_loss(before, saved, total, 2)
    assert (loss.interruptions, loss.images) == (2, 24)
    assert (loss.energy_j, loss.duration_s) == (pytest.approx(5.0), pytest.approx(1.0))
    unknown = interruption_loss(InterruptionLoss(), no_cost(), spent((None, 2.0, 3)), 1)
    assert unknown == InterruptionLoss(interruptions=1, energy_j=None, duration_s=2.0, images=3)


def test_the_sources_tell_how_much_was_lost() -> None:
    cost = spent((40.0, 8.0, 45))
    assert with_loss(cost, InterruptionLoss()) is cost
    noted = with_loss(cost, InterruptionLoss(interruptions=1, energy_j=16.02, duration_s=3.2, images=16))
    assert "16.02 J" in noted.energy_j.source
    assert "3.20 s" in noted.duration_s.source
    assert noted.images.source.endswith("of which 16 were lost to 1 interruption")
    assert with_loss(cost, InterruptionLoss(interruptions=2, energy_j=None)).energy_j == cost.energy_j
