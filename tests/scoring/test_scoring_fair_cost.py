from __future__ import annotations

from collections.abc import Sequence

import made_records
import pytest

from pepr_edge.records import Environment, Epoch, Quantity, StepCost, TrainResult
from pepr_edge.scoring.fair_cost import COST_RATIO, fair_cost

IMAGES_AN_EPOCH = 100
CALM_S = [2.0] + [1.0] * 9


def trained(durations_s: Sequence[float], watts: float = 10.0) -> TrainResult:
    """A training whose epochs take these seconds, the first one included."""
    epochs = tuple(
        Epoch(
            epoch=number,
            train_loss=0.5,
            val_loss=0.5,
            val_performance=0.8,
            duration_s=duration_s,
            energy_j=watts * duration_s,
        )
        for number, duration_s in enumerate(durations_s, start=1)
    )
    made = made_records.trained("made")
    total_s = sum(durations_s)
    cost = made.cost.replace(
        energy_j=Quantity(value=watts * total_s, method="declared", source="10 W"),
        co2eq_g=Quantity(value=total_s, method="declared", source="made"),
        duration_s=Quantity(value=total_s, method="measured", source="perf_counter"),
        images=Quantity(value=IMAGES_AN_EPOCH * len(epochs), method="counted"),
    )
    environment = Environment(python="3", platform="made", cpu="made", cores=2, threads=2, versions={})
    return made.replace(
        epochs=epochs, cost=cost, layout="contiguous", precision="float32", environment=environment
    )


def step_cost(image_s: float, watts: float = 10.0, **fields: object) -> StepCost:
    """Three rounds, of which one was disturbed."""
    values = (image_s, image_s, 9 * image_s)
    made = StepCost(
        key="a key",
        candidate=made_records.candidate("made"),
        layout="contiguous",
        precision="float32",
        threads=2,
        images=300,
        energy_j=tuple(watts * value for value in values),
        duration_s=values,
        method="declared",
        source="10 W",
    )
    return made.replace(**fields)


@pytest.mark.parametrize("cost", [None, step_cost(0.01)])
def test_an_undisturbed_training_keeps_its_own_cost(cost: StepCost | None) -> None:
    one = trained(CALM_S)
    assert fair_cost(one, cost) == (one.cost, "")


def test_a_disturbed_training_takes_its_cost_from_the_steps_measured_in_turn() -> None:
    one = trained([2.0] + [1.0] * 5 + [8.0] * 4)
    cost, warning = fair_cost(one, step_cost(0.01))
    assert cost.duration_s.value == pytest.approx(10.0)
    assert cost.energy_j.value == pytest.approx(100.0)
    assert (cost.energy_j.method, cost.duration_s.method) == ("declared", "measured")
    assert "afterwards" in cost.energy_j.source
    assert cost.co2eq_g.value == pytest.approx(10.0)  # in proportion to the energy
    assert "from 1 to 8 s an epoch" in warning
    assert "energy and time taken from 1000 images" in warning
    assert cost.images == one.cost.images


def test_an_evenly_slow_training_is_found_by_the_steps_measured_in_turn() -> None:
    one = trained([3.0] * 10)
    cost, warning = fair_cost(one, step_cost(0.01))
    assert cost.duration_s.value == pytest.approx(10.0)
    assert f"{COST_RATIO:g} times" in warning
    assert fair_cost(one, None) == (one.cost, "")


@pytest.mark.parametrize("fields", [{"threads": 1}, {"precision": "bfloat16"}, {"layout": "channels_last"}])
def test_steps_in_another_mode_do_not_count(fields: dict[str, object]) -> None:
    one = trained([3.0] * 10)
    assert fair_cost(one, step_cost(0.01, **fields)) == (one.cost, "")


def test_energy_by_another_method_does_not_count() -> None:
    one = trained([3.0] * 10)
    cost, _ = fair_cost(one, step_cost(0.01, method="measured"))
    assert cost.energy_j == one.cost.energy_j
    assert cost.duration_s.value == pytest.approx(10.0)


def test_without_steps_the_cost_is_that_of_the_calm_epochs() -> None:
    one = trained([2.0] + [1.0] * 5 + [8.0] * 4)
    cost, warning = fair_cost(one, None)
    assert cost.duration_s.value == pytest.approx(10.0)
    assert cost.energy_j.value == pytest.approx(100.0)
    assert "5 calm" in warning


def test_short_epochs_of_the_classifier_alone_show_no_disturbance() -> None:
    one = trained([2.0] + [0.4] * 5 + [1.0] * 10)
    assert "from 0.4 to 1 s an epoch" in fair_cost(one, None).warning
    known = one.replace(head_epochs=6)
    assert fair_cost(known, None) == (one.cost, "")


def test_epochs_of_the_classifier_alone_cost_what_they_cost() -> None:
    one = trained([2.0] + [0.4] * 5 + [1.0] * 5 + [8.0] * 4).replace(head_epochs=6)
    cost, warning = fair_cost(one, None)
    assert cost.duration_s.value == pytest.approx(2.0 + 0.4 * 5 + 9 * 1.0)
    assert cost.energy_j.value == pytest.approx(10 * (2.0 + 0.4 * 5 + 9 * 1.0))
    assert "from 1 to 8 s an epoch" in warning


def test_a_cost_is_never_raised() -> None:
    one = trained([2.0] + [1.0] * 5 + [8.0] * 4)
    cost, warning = fair_cost(one, step_cost(1.0))
    assert cost == one.cost
    assert "too high" in warning
