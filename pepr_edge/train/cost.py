"""The cost of a training so far, and the part of it that was lost to interruptions."""

from __future__ import annotations

from typing import Literal

from pepr_edge.energy.carbon import co2eq_g
from pepr_edge.energy.meter import Usage, add
from pepr_edge.records import CostProbe, InterruptionLoss, Quantity, TrainCost

Account = Literal["setup", "training", "evaluation"]
NO_ENERGY = Quantity(value=0.0, method="measured")  # the neutral element of `add`
NO_SETUP = Quantity(
    value=0.0, method="measured", source="perf_counter over building the model, probes and warm-up"
)


def no_cost() -> TrainCost:
    """Return the cost of a training that has not begun."""
    unknown = Quantity(value=None, method="unavailable", source="nothing was spent yet")
    training_s = "perf_counter over all epochs"
    evaluation_s = "perf_counter over validation and test"
    return TrainCost(
        energy_j=NO_ENERGY,
        co2eq_g=unknown,
        duration_s=Quantity(value=0.0, method="measured", source=training_s),
        peak_memory_bytes=unknown,
        gpu_peak_memory_bytes=unknown,
        images=Quantity(value=0, method="counted", source="training images over all epochs"),
        evaluation_energy_j=NO_ENERGY,
        evaluation_duration_s=Quantity(value=0.0, method="measured", source=evaluation_s),
        setup_energy_j=NO_ENERGY,
        setup_co2eq_g=unknown,
        setup_duration_s=NO_SETUP,
    )


def add_usage(cost: TrainCost, account: Account, usage: Usage, images: int, country: str | None) -> TrainCost:
    """Add a period of work to a cost.

    Args:
        cost: so far.
        account: "setup", "training", or "evaluation" for validation and test.
        usage: what the period used.
        images: number of training images processed in it.
        country: ISO 3166 alpha-3, for the carbon intensity.
    """
    if account == "evaluation":
        evaluation = {
            "evaluation_energy_j": add(cost.evaluation_energy_j, usage.energy),
            "evaluation_duration_s": _increased(cost.evaluation_duration_s, usage.duration_s),
        }
        return cost.model_copy(update=evaluation)
    if account == "setup":
        return _with_setup(cost, usage, country)
    energy = add(cost.energy_j, usage.energy)
    training = {
        "energy_j": energy,
        "co2eq_g": co2eq_g(energy, country),
        "duration_s": _increased(cost.duration_s, usage.duration_s),
        "images": _increased(cost.images, images),
    }
    return cost.model_copy(update=training)


def _with_setup(cost: TrainCost, usage: Usage, country: str | None) -> TrainCost:
    energy = add(cost.setup_energy_j or NO_ENERGY, usage.energy)
    setup = {
        "setup_energy_j": energy,
        "setup_co2eq_g": co2eq_g(energy, country),
        "setup_duration_s": _increased(cost.setup_duration_s or NO_SETUP, usage.duration_s),
    }
    return cost.model_copy(update=setup)


def total_energy(cost: TrainCost) -> Quantity:
    """Return all energy that was spent on a training: setup, epochs and evaluation, J."""
    energy = add(cost.energy_j, cost.evaluation_energy_j)
    return energy if cost.setup_energy_j is None else add(cost.setup_energy_j, energy)


def full_cost(probe: CostProbe, epochs: int, images: int, country: str | None) -> TrainCost:
    """Estimate the cost of a whole training from its cost probe, whose own cost is the setup.

    Args:
        probe: of the candidate.
        epochs: number of epochs in the recipe.
        images: of the training split.
        country: ISO 3166 alpha-3, for the carbon intensity.
    """
    energy = probe.epoch_energy_j
    if energy.value is not None:
        energy = energy.model_copy(update={"value": energy.value * epochs})
    duration_s = (probe.epoch_duration_s.value or 0.0) * epochs
    usage = Usage(energy, duration_s, cpu_s=0.0)
    return add_usage(probe.cost, "training", usage, images * epochs, country)


def with_peaks(cost: TrainCost, process: int | None, gpu: int | None) -> TrainCost:
    """Update the peak memory, which an earlier process of this training may have set.

    Args:
        process, gpu: peak of this process so far, bytes; None if it is not known.
    """
    process_source = "high-water mark of the training process, the probe included"
    gpu_source = "memory reserved by PyTorch, maximum"
    peaks = {
        "peak_memory_bytes": _peak(
            cost.peak_memory_bytes, process, process_source, "not available on this system"
        ),
        "gpu_peak_memory_bytes": _peak(cost.gpu_peak_memory_bytes, gpu, gpu_source, "trained on a CPU"),
    }
    return cost.model_copy(update=peaks)


def total_s(cost: TrainCost) -> float:
    """Return the seconds of all three accounts; of two costs of one training, the later has more."""
    setup_s = 0.0 if cost.setup_duration_s is None else cost.setup_duration_s.value or 0.0
    return setup_s + (cost.duration_s.value or 0.0) + (cost.evaluation_duration_s.value or 0.0)


def interruption_loss(
    before: InterruptionLoss, saved: TrainCost, spent: TrainCost, interruptions: int
) -> InterruptionLoss:
    """Add what was spent but not saved to the loss so far.

    Args:
        before: the loss at the time of `saved`.
        saved: the cost of the state from which the training resumes.
        spent: the cost at the interruption.
        interruptions: their number so far.
    """
    energy_j = None
    if before.energy_j is not None and spent.energy_j.value is not None and saved.energy_j.value is not None:
        energy_j = max(0.0, before.energy_j + spent.energy_j.value - saved.energy_j.value)
    duration_s = before.duration_s + (spent.duration_s.value or 0.0) - (saved.duration_s.value or 0.0)
    return InterruptionLoss(
        interruptions=interruptions,
        energy_j=energy_j,
        duration_s=max(0.0, duration_s),
        images=before.images + int((spent.images.value or 0) - (saved.images.value or 0)),
    )


def with_loss(cost: TrainCost, loss: InterruptionLoss) -> TrainCost:
    """Add to the sources of a cost how much of it interruptions took."""
    if not loss.interruptions:
        return cost
    plural = "s" if loss.interruptions > 1 else ""
    to = f"lost to {loss.interruptions} interruption{plural}"
    changes = {
        "duration_s": _with_note(cost.duration_s, f"of which {loss.duration_s:.2f} s were {to}"),
        "images": _with_note(cost.images, f"of which {loss.images} were {to}"),
    }
    if loss.energy_j is not None:
        changes["energy_j"] = _with_note(cost.energy_j, f"of which {loss.energy_j:.4g} J were {to}")
    return cost.model_copy(update=changes)


def _with_note(quantity: Quantity, note: str) -> Quantity:
    return quantity.model_copy(update={"source": f"{quantity.source}, {note}"})


def _increased(quantity: Quantity, value: float) -> Quantity:
    return quantity.model_copy(update={"value": (quantity.value or 0) + value})


def _peak(before: Quantity, now: int | None, source: str, reason_unknown: str) -> Quantity:
    values = [value for value in (before.value, now) if value is not None]
    if not values:
        return Quantity(value=None, method="unavailable", source=reason_unknown)
    return Quantity(value=max(values), method="measured", source=source)
