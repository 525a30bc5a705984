from __future__ import annotations

from collections.abc import Sequence

import made_records
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pepr_edge.records import Epoch, TrainResult
from pepr_edge.scoring.resources import training_spread

FACTORS = st.lists(st.floats(0.5, 2.0), min_size=3, max_size=30)


def trained(durations_s: Sequence[float], energies_j: Sequence[float | None]) -> TrainResult:
    epochs = tuple(
        Epoch(
            epoch=number,
            train_loss=1.0,
            val_loss=1.0,
            val_performance=0.5,
            duration_s=duration_s,
            energy_j=energy_j,
        )
        for number, (duration_s, energy_j) in enumerate(zip(durations_s, energies_j, strict=True), start=1)
    )
    return made_records.trained("made").replace(epochs=epochs)


def test_the_spread_of_equal_epochs_is_0_whatever_the_first_one_was() -> None:
    assert training_spread(trained([9.0, 1.0, 1.0, 1.0], [90.0, 10.0, 10.0, 10.0])) == 0.0


def test_one_disturbed_epoch_hardly_changes_the_spread() -> None:
    rng = np.random.default_rng(0)
    calm = [1.0, *(1 + 0.05 * rng.standard_normal(60))]
    value = training_spread(trained(calm, calm))
    disturbed = training_spread(trained([*calm, 50.0], [*calm, 50.0]))
    assert value == pytest.approx(0.05, rel=0.3)
    assert disturbed == pytest.approx(value, rel=0.2)


def test_time_and_energy_each_have_their_spread() -> None:
    one = trained([1.0, 1.0, 2.0, 3.0], [10.0, 10.0, 10.0, 10.0])
    assert training_spread(one) == 0.0
    assert training_spread(one, "duration_s") == pytest.approx(1.4826 / 2)


def test_time_stands_for_an_energy_that_is_not_known() -> None:
    durations_s = [1.0, 1.0, 2.0, 3.0]
    assert training_spread(trained(durations_s, [None] * 4)) == pytest.approx(1.4826 / 2)


@pytest.mark.parametrize("epochs", [0, 1, 2])
def test_of_too_few_epochs_the_spread_is_not_known(epochs: int) -> None:
    assert training_spread(trained([1.0] * epochs, [1.0] * epochs)) is None


@given(FACTORS, st.floats(0.01, 1000.0))
def test_the_spread_does_not_depend_on_the_unit(factors: list[float], unit: float) -> None:
    scaled = [unit * factor for factor in factors]
    expected = training_spread(trained(factors, factors))
    assert training_spread(trained(scaled, scaled)) == pytest.approx(expected, rel=1e-6, abs=1e-9)
