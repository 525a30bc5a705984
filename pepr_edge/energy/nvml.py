"""NVML: the energy counter of an NVIDIA GPU (Volta and later), or its sampled power, integrated.

It reads the first GPU that CUDA shows this process, as PyTorch's `cuda` does; CUDA_VISIBLE_DEVICES counts.
Source: NVML API reference, nvmlDeviceGetTotalEnergyConsumption and nvmlDeviceGetPowerUsage.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from pepr_edge.energy.source import MeterSettings, OpenSource, Part

# Most boards update their power every 20 or 100 ms (Yang et al. 2023, arXiv:2312.02741): faster sampling adds
# little.
POWER_PERIOD_S = 0.1


@dataclass(frozen=True)
class Gpu:
    """One GPU. `counts` is False if it has no energy counter, so that its power is integrated."""

    nvml: Any
    device: Any
    name: str
    counts: bool


@dataclass(frozen=True)
class NvmlReading:
    """The counter (joules since the driver was loaded) or the power (watts), at one time."""

    at_s: float
    value: float


class _NoGpuError(Exception):
    """There is no GPU to read; the message is the reason."""


def unavailable(settings: MeterSettings, part: Part) -> str | None:
    """Return why NVML cannot be used here; None if it can."""
    if part != "gpu":
        return "NVML counts the GPU, not the processor"
    if not settings.exclusive:
        return "NVML counts the whole GPU, on which other jobs may run at the same time"
    try:
        gpu = _open()
    except _NoGpuError as reason:
        return str(reason)
    stop(gpu)
    return None


def start(settings: MeterSettings, part: Part) -> OpenSource:
    """Open the GPU."""
    gpu = _open()
    if gpu.counts:
        return OpenSource("measured", f"NVML energy counter of {gpu.name}", None, gpu)
    source = f"NVML power of {gpu.name}, sampled every {POWER_PERIOD_S:g} s"
    return OpenSource("measured", source, POWER_PERIOD_S, gpu)


def read(handle: Gpu) -> NvmlReading | None:
    """Return the counter or the power now."""
    try:
        return NvmlReading(time.perf_counter(), _value(handle))
    except handle.nvml.NVMLError:
        return None


def joules(handle: Gpu, before: NvmlReading, now: NvmlReading) -> float | None:
    """Return the counter's increase, or the mean of two power samples times their distance.

    None if the counter decreased: the driver was reloaded.
    """
    if not handle.counts:
        return (before.value + now.value) / 2 * (now.at_s - before.at_s)
    return now.value - before.value if now.value >= before.value else None


def stop(handle: Gpu) -> None:
    """Close the library, which counts how often it was opened."""
    try:
        handle.nvml.nvmlShutdown()
    except handle.nvml.NVMLError:
        return


def _value(gpu: Gpu) -> float:
    if gpu.counts:
        return float(gpu.nvml.nvmlDeviceGetTotalEnergyConsumption(gpu.device)) / 1e3
    return float(gpu.nvml.nvmlDeviceGetPowerUsage(gpu.device)) / 1e3


def _open() -> Gpu:
    try:
        # Imported by name because it is optional: type checking must not need it.
        nvml: Any = import_module("pynvml")
    except ImportError:
        raise _NoGpuError("the package nvidia-ml-py is missing: pip install 'pepr_edge[gpu]'") from None
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as fault:
        raise _NoGpuError(f"NVML does not answer ({fault})") from None
    try:
        return _gpu(nvml, _device(nvml))
    except nvml.NVMLError as fault:
        nvml.nvmlShutdown()
        raise _NoGpuError(f"NVML cannot read this GPU ({fault})") from None
    except _NoGpuError:
        nvml.nvmlShutdown()
        raise


def _gpu(nvml: Any, device: Any) -> Gpu:
    name = nvml.nvmlDeviceGetName(device)
    if _is_sliced(nvml, device):
        raise _NoGpuError(f"{name} is divided (MIG), and a slice has no counter of its own")
    for counts in (True, False):
        gpu = Gpu(nvml, device, name, counts)
        try:
            _value(gpu)
        except nvml.NVMLError:
            continue
        return gpu
    raise _NoGpuError(f"{name} reports neither its energy nor its power")


def _is_sliced(nvml: Any, device: Any) -> bool:
    try:
        return bool(nvml.nvmlDeviceGetMigMode(device)[0])
    except nvml.NVMLError:
        return False


def _device(nvml: Any) -> Any:
    """Return the device that CUDA numbers 0."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    first = "0" if visible is None else visible.split(",")[0].strip()
    devices = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
    if first.startswith("MIG-"):
        raise _NoGpuError(
            "CUDA_VISIBLE_DEVICES names a slice of a GPU (MIG), which has no counter of its own"
        )
    if first.startswith("GPU-"):
        matches = [device for device in devices if nvml.nvmlDeviceGetUUID(device).startswith(first)]
    else:
        _check_order(nvml, devices)
        index = int(first) if first.isdecimal() else len(devices)
        matches = devices[index : index + 1]
    if not matches:
        count = f"{len(devices)} in the machine"
        raise _NoGpuError(f"CUDA shows no GPU here: {count}, CUDA_VISIBLE_DEVICES = {visible!r}")
    return matches[0]


def _check_order(nvml: Any, devices: list[Any]) -> None:
    """Refuse GPUs of different models without a fixed order: CUDA numbers them by speed, NVML by slot."""
    models = {nvml.nvmlDeviceGetName(device) for device in devices}
    if len(models) > 1 and os.environ.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID":
        raise _NoGpuError(
            "this machine has different GPUs, which CUDA and NVML number differently: "
            "set CUDA_DEVICE_ORDER=PCI_BUS_ID"
        )
