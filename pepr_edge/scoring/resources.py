"""The resources of a score: what training and inference use, in SI units, and how each value was obtained."""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum
from statistics import median
from typing import Literal

from pepr_edge.records import DeviceProfile, Quantity, TrainCost, TrainResult
from pepr_edge.scoring.percentiles import early_stopping_percentile

# Two dicts by resource: the value, None if it is not known, and how it was obtained.
ResourceUse = tuple[dict[str, float | None], dict[str, str]]


EpochFigure = Literal["energy_j", "duration_s"]
# Standard deviation of a normal distribution by its median absolute deviation.
NORMAL_MAD = 1.4826
# Memory must suffice for each repeat of a training, so peaks are not averaged.
PEAKS = ("peak_memory_bytes", "gpu_peak_memory_bytes")


def mean_cost(costs: Sequence[TrainCost]) -> TrainCost:
    """Return the cost of one training: the mean over its repeats, and the highest peak of memory.

    A cost is not known if it is not known of a repeat, or was obtained by different methods.
    """
    if len(costs) == 1:
        return costs[0]
    changed = {}
    for name in TrainCost.model_fields:
        quantities = [getattr(cost, name) for cost in costs]
        if not all(isinstance(quantity, Quantity) for quantity in quantities):
            continue
        if name in PEAKS:
            changed[name] = max(quantities, key=lambda peak: peak.value or 0.0)
        else:
            changed[name] = _mean(quantities)
    return costs[0].model_copy(update=changed)


def _mean(quantities: Sequence[Quantity]) -> Quantity:
    values = [quantity.value for quantity in quantities if quantity.value is not None]
    methods = {quantity.method for quantity in quantities}
    if len(values) < len(quantities) or len(methods) > 1:
        listed = " and ".join(sorted(methods))
        return Quantity(value=None, method="unavailable", source=f"over the seeds: {listed}")
    source = f"mean of {len(values)} trainings, {quantities[0].source}".removesuffix(", ")
    return quantities[0].model_copy(update={"value": fsum(values) / len(values), "source": source})


def of_training(cost: TrainCost, images: int | None) -> ResourceUse:
    """Return the resources of a training, in SI units, and how each was obtained."""
    memory = cost.peak_memory_bytes
    memory_of = "process"
    if cost.gpu_peak_memory_bytes.value is not None:
        memory = cost.gpu_peak_memory_bytes
        memory_of = "GPU"
    co2eq_method: str = cost.co2eq_g.method
    if cost.co2eq_g.value is not None:
        co2eq_method = f"{co2eq_method}, from energy {cost.energy_j.method}"
    values: dict[str, float | None] = {
        "train_energy": cost.energy_j.value,
        "train_co2eq": cost.co2eq_g.value,
        "train_time": cost.duration_s.value,
        "train_memory": memory.value,
        "train_data": images,
    }
    methods: dict[str, str] = {
        "train_energy": cost.energy_j.method,
        "train_time": cost.duration_s.method,
        "train_memory": f"{memory.method}, {memory_of}",
        "train_co2eq": co2eq_method,
    }
    if images is not None:
        methods["train_data"] = "counted"
    return values, methods


def of_device(profile: DeviceProfile) -> ResourceUse:
    """Return the resources of one inference, in SI units, and how each was obtained."""
    energy = profile.energy_j_per_inference
    measured: dict[str, float | None] = {
        "latency": early_stopping_percentile(profile.latencies_s, 0.9),
        "peak_memory": profile.peak_memory_bytes,
    }
    methods = {name: "measured" if value is not None else "unavailable" for name, value in measured.items()}
    return measured | {"inference_energy": energy.value}, methods | {"inference_energy": energy.method}


def training_spread(trained: TrainResult, figure: EpochFigure = "energy_j") -> float | None:
    """Return the relative standard error of a training's energy or time, by its epochs; None if unknown.

    It is the relative standard deviation of the epochs, the first left out, which includes work that is done
    once. It is robust, by the median absolute deviation, since the cost of a training with disturbed epochs
    is replaced (see `fair_cost`). It is not divided by the root of their number: epochs that follow each
    other share what disturbs them, so their mean is hardly better known than one epoch.

    Args:
        trained: the training.
        figure: of its epochs; their duration also stands for an energy that is not known.
    """
    energies_j = [epoch.energy_j for epoch in trained.epochs[1:] if epoch.energy_j is not None]
    values = [epoch.duration_s for epoch in trained.epochs[1:]]
    if figure == "energy_j" and len(energies_j) == len(values):
        values = energies_j
    if len(values) < 2:
        return None
    middle = median(values)
    if middle <= 0:
        return None
    return NORMAL_MAD * median(abs(value - middle) for value in values) / middle
