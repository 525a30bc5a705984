"""The resources of a score: what training and inference use, in SI units, and how each value was obtained."""

from __future__ import annotations

from pepr_edge.records import DeviceProfile, TrainCost
from pepr_edge.scoring.percentiles import early_stopping_percentile

# Two dicts by resource: the value, None if it is not known, and how it was obtained.
ResourceUse = tuple[dict[str, float | None], dict[str, str]]


def of_training(cost: TrainCost, images: int | None) -> ResourceUse:
    """Return the resources of a training; see `run_dir.reader.used`."""
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
    """Return the resources of one inference; see `run_dir.reader.used`."""
    energy = profile.energy_j_per_inference
    measured: dict[str, float | None] = {
        "latency": early_stopping_percentile(profile.latencies_s, 0.9),
        "peak_memory": profile.peak_memory_bytes,
    }
    methods = {name: "measured" if value is not None else "unavailable" for name, value in measured.items()}
    return measured | {"inference_energy": energy.value}, methods | {"inference_energy": energy.method}
