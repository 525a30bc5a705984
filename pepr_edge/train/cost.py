"""The running account of a training: what it has cost so far, stretch by stretch, and what of that interruptions took."""

from __future__ import annotations

from typing import Literal

from pepr_edge.energy.carbon import co2eq_g
from pepr_edge.energy.meter import Use, add
from pepr_edge.records import CostProbe, InterruptionLoss, Quantity, TrainCost

Account = Literal["training", "evaluation"]


def nothing() -> TrainCost:
    """The cost of a training that has not begun."""
    none = Quantity(value=0.0, method="measured")  # the neutral element of `add`
    unknown = Quantity(value=None, method="unavailable", source="nothing was spent yet")
    return TrainCost(
        energy_j=none,
        co2eq_g=unknown,
        duration_s=Quantity(
            value=0.0, method="measured", source="perf_counter over the probe and all epochs"
        ),
        peak_memory_bytes=unknown,
        gpu_peak_memory_bytes=unknown,
        images=Quantity(value=0, method="counted", source="training images over all epochs"),
        evaluation_energy_j=none,
        evaluation_duration_s=Quantity(
            value=0.0, method="measured", source="perf_counter over validation and test"
        ),
    )


def charged(cost: TrainCost, account: Account, use: Use, images: int, country: str | None) -> TrainCost:
    """The cost with one more stretch of work.

    Args:
        cost: so far.
        account: "training", or "evaluation" for validation and test.
        use: what the stretch used.
        images: that were trained on in it.
        country: ISO 3166 alpha-3, for the carbon intensity.
    """
    if account == "evaluation":
        evaluation = {
            "evaluation_energy_j": add(cost.evaluation_energy_j, use.energy),
            "evaluation_duration_s": _more(cost.evaluation_duration_s, use.duration_s),
        }
        return cost.model_copy(update=evaluation)
    energy = add(cost.energy_j, use.energy)
    training = {
        "energy_j": energy,
        "co2eq_g": co2eq_g(energy, country),
        "duration_s": _more(cost.duration_s, use.duration_s),
        "images": _more(cost.images, images),
    }
    return cost.model_copy(update=training)


def whole(probe: CostProbe, epochs: int, images: int, country: str | None) -> TrainCost:
    """What a training of so many epochs would cost by its cost probe, the probe included.

    Args:
        probe: its cost probe.
        epochs: as many as are wanted.
        images: of the training split.
        country: ISO 3166 alpha-3, for the carbon intensity.
    """
    epoch, duration_s = probe.epoch_energy_j, probe.epoch_duration_s.value or 0.0
    energy = epoch.model_copy(update={"value": epoch.value * epochs}) if epoch.value is not None else epoch
    return charged(probe.cost, "training", Use(energy, duration_s * epochs, 0.0), images * epochs, country)


def with_peaks(cost: TrainCost, process: int | None, gpu: int | None) -> TrainCost:
    """The cost with the greatest memory by now, bytes; None where it is not known. A process before this one may have needed more."""
    peaks = {
        "peak_memory_bytes": _greatest(
            cost.peak_memory_bytes, process, "high-water mark of the training process, the probe included"
        ),
        "gpu_peak_memory_bytes": _greatest(
            cost.gpu_peak_memory_bytes, gpu, "memory reserved by PyTorch, greatest", "trained on a CPU"
        ),
    }
    return cost.model_copy(update=peaks)


def total_s(cost: TrainCost) -> float:
    """Seconds of training and evaluation together. An account only grows, so of two of one training the greater is the later."""
    return (cost.duration_s.value or 0.0) + (cost.evaluation_duration_s.value or 0.0)


def lost(before: InterruptionLoss, kept: TrainCost, spent: TrainCost, interruptions: int) -> InterruptionLoss:
    """What is lost by now: as much as before, and all that was spent beyond what was kept."""
    energies = (before.energy_j, spent.energy_j.value, kept.energy_j.value)
    known = [energy for energy in energies if energy is not None]
    return InterruptionLoss(
        interruptions=interruptions,
        energy_j=max(0.0, known[0] + known[1] - known[2]) if len(known) == 3 else None,
        duration_s=max(
            0.0, before.duration_s + (spent.duration_s.value or 0.0) - (kept.duration_s.value or 0.0)
        ),
        images=before.images + int((spent.images.value or 0) - (kept.images.value or 0)),
    )


def told(cost: TrainCost, gone: InterruptionLoss) -> TrainCost:
    """The cost with words that say how much of it interruptions took."""
    if not gone.interruptions:
        return cost
    times = f"{gone.interruptions} interruption{'s' if gone.interruptions > 1 else ''}"
    energy = (
        cost.energy_j
        if gone.energy_j is None
        else _said(cost.energy_j, f"of which {gone.energy_j:.4g} J were lost to {times}")
    )
    more = {
        "energy_j": energy,
        "duration_s": _said(cost.duration_s, f"of which {gone.duration_s:.2f} s were lost to {times}"),
        "images": _said(cost.images, f"of which {gone.images} were lost to {times}"),
    }
    return cost.model_copy(update=more)


def _said(quantity: Quantity, words: str) -> Quantity:
    return quantity.model_copy(update={"source": f"{quantity.source}, {words}"})


def _more(quantity: Quantity, value: float) -> Quantity:
    return quantity.model_copy(update={"value": (quantity.value or 0) + value})


def _greatest(
    before: Quantity, now: int | None, source: str, otherwise: str = "this system does not tell"
) -> Quantity:
    values = [value for value in (before.value, now) if value is not None]
    if not values:
        return Quantity(value=None, method="unavailable", source=otherwise)
    return Quantity(value=max(values), method="measured", source=source)
