from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from pepr_edge.scoring.pepr import RESOURCES
from pepr_edge.scoring.stand_in import OF_ENERGY, lacks_energy, weights_without_energy


def test_the_weight_of_energy_goes_to_time() -> None:
    weights = {"train_energy": 2.0, "latency": 1.0, "train_time": 0.5, "train_co2eq": 0.25}
    assert weights_without_energy(weights) == {"train_time": 2.75, "latency": 1.0}
    assert weights_without_energy({"latency": 1.0, "train_energy": 0.0}) == {
        "latency": 1.0,
        "train_energy": 0.0,
    }


@given(st.dictionaries(st.sampled_from(sorted(RESOURCES)), st.floats(0.001, 1000), min_size=1))
def test_no_weight_is_lost(weights: dict[str, float]) -> None:
    changed = weights_without_energy(weights)
    assert math.isclose(sum(changed.values()), sum(weights.values()))
    assert not set(changed) & set(OF_ENERGY)


def test_energy_is_lacking_if_no_training_has_it_and_one_has_a_time() -> None:
    assert lacks_energy([{"train_energy": None, "train_time": 3.0}, {}])
    assert not lacks_energy([{"train_energy": None, "train_time": 3.0}, {"train_energy": 1.0}])
    assert not lacks_energy([])
    assert not lacks_energy([{"train_time": None}])
