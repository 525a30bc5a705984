"""What a training and an answer on the device use, as the resources of a score: values in SI units, and how each was obtained."""

from __future__ import annotations

from pepr_edge.records import DeviceProfile, TrainCost
from pepr_edge.scoring.percentiles import early_stopping_percentile

Used = tuple[dict[str, float | None], dict[str, str]]  # by resource


def of_training(cost: TrainCost, images: int | None) -> Used:
    """The resources of a training, see `run_dir.reader.used`."""
    energy, co2eq, gpu = cost.energy_j, cost.co2eq_g, cost.gpu_peak_memory_bytes
    memory, where = (gpu, "GPU") if gpu.value is not None else (cost.peak_memory_bytes, "process")
    values = {"train_energy": energy.value, "train_co2eq": co2eq.value, "train_time": cost.duration_s.value}
    values |= {"train_memory": memory.value, "train_data": images}
    methods = {
        "train_energy": energy.method,
        "train_time": cost.duration_s.method,
        "train_memory": f"{memory.method}, {where}",
    }
    methods |= {
        "train_co2eq": f"{co2eq.method}, from energy {energy.method}"
        if co2eq.value is not None
        else co2eq.method
    }
    methods |= {"train_data": "counted"} if images is not None else {}
    return values, methods


def of_device(profile: DeviceProfile) -> Used:
    """The resources of an answer, see `run_dir.reader.used`."""
    answer = profile.energy_j_per_inference
    values = {
        "latency": early_stopping_percentile(profile.latencies_s, 0.9),
        "peak_memory": profile.peak_memory_bytes,
    }
    methods = {name: "measured" if value is not None else "unavailable" for name, value in values.items()}
    return values | {"inference_energy": answer.value}, methods | {"inference_energy": answer.method}
