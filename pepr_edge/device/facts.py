"""Facts about this device and its state. Nothing here identifies the device or its owner."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil

from pepr_edge import __version__
from pepr_edge.device.cgroup import cpu_limit, memory_limit_bytes
from pepr_edge.device.cpu import affinity, cpu_name, first_line_of, isa
from pepr_edge.device.system_files import system_text
from pepr_edge.device.threads import waiting_settings
from pepr_edge.records import DeviceFacts, Environment, Machine

# Packages whose versions affect a measurement, by the names under which they may be installed.
FIELD_PACKAGES = (
    "pepr_edge",
    "numpy",
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-directml",
    "openvino",
    "torch",
    "pillow",
    "pydantic",
)
TEMPERATURE_SENSORS = ("coretemp", "k10temp", "zenpower", "cpu_thermal", "soc_thermal", "acpitz")
GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
DRIVER = GOVERNOR.with_name("scaling_driver")
# Drivers under which the processor itself adapts its frequency to the load (Linux, admin-guide/pm:
# intel_pstate and amd-pstate in their active modes).
SELF_GOVERNED = ("intel_pstate", "amd-pstate-epp")


def facts() -> DeviceFacts:
    """Return what can be read without privileges. A fact that cannot be read is None."""
    return DeviceFacts(
        cpu=cpu_name(),
        architecture=platform.machine(),
        isa=isa(),
        cores=os.cpu_count() or 1,
        memory_bytes=psutil.virtual_memory().total,
        os=_os(),
        python=platform.python_version(),
        versions=versions(FIELD_PACKAGES),
        affinity=affinity(),
        cgroup_cpu_limit=cpu_limit(),
        cgroup_memory_bytes=memory_limit_bytes(),
        governor=governor(),
        frequency_mhz=_frequency_mhz(),
        temperature_c=temperature_c(),
        on_battery=on_battery(),
        gpu=_gpu(),
    )


def here() -> Machine:
    """Return the machine for which a figure measured now is valid."""
    return Machine(cpu=cpu_name(), versions=versions(FIELD_PACKAGES))


def environment(threads: int, accelerator: str = "", packages: Sequence[str] = ()) -> Environment:
    """Return the environment of a figure, for the records of the workstation."""
    return Environment(
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        cpu=cpu_name(),
        cores=os.cpu_count() or 1,
        threads=threads,
        accelerator=accelerator,
        waiting=waiting_settings(),
        versions=versions(packages),
    )


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Return the versions of the packages that are installed."""
    installed = {}
    for name in packages:
        try:
            # The metadata of an editable install may hold an older version.
            installed[name] = __version__ if name == "pepr_edge" else importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return installed


def git_commit() -> str | None:
    """Return the git commit that pepr_edge runs from; None if it does not run from a checkout."""
    root = Path(__file__).parents[2]
    return first_line_of("git", "-C", str(root), "rev-parse", "HEAD") if (root / ".git").exists() else None


def _os() -> str:
    """Return name and version of the system and its kernel, without the host name."""
    name = platform.system()
    if sys.platform == "linux":
        try:
            name = f"{platform.freedesktop_os_release()['PRETTY_NAME']}, Linux"
        except (OSError, KeyError):
            name = "Linux"
    elif sys.platform == "darwin":
        return f"macOS {platform.mac_ver()[0]}"
    # A custom kernel may have any text after its number.
    release = re.match(r"[\d.]*\d", platform.release())
    return f"{name} {release[0]}" if release else name


def governor() -> str | None:
    """Return the frequency governor of the system; None if it is unknown."""
    return system_text(GOVERNOR) or None


def is_self_governed() -> bool:
    """True if the processor chooses its frequency itself. Then the governor "powersave" is not slow."""
    return system_text(DRIVER) in SELF_GOVERNED


def _frequency_mhz() -> float | None:
    frequency = clock_frequency()
    return float(frequency.current) if frequency and frequency.current else None


def clock_frequency(percpu: bool = False) -> Any:
    """Return what psutil says of the processor's clock, or of each core's; None where it cannot be read."""
    try:
        read: Callable[..., Any] = psutil.cpu_freq
        return read(percpu=percpu)
    except (OSError, NotImplementedError, AttributeError, RuntimeError):  # psutil's, by system
        return None


def temperature_c() -> float | None:
    """Return the temperature of the warmest sensor of the processor; None if none can be read."""
    read = getattr(psutil, "sensors_temperatures", None)
    try:
        sensors = read() if read else {}
    except (OSError, RuntimeError, ValueError):
        return None
    temperatures: list[float] = []
    for name in TEMPERATURE_SENSORS:
        temperatures += [float(entry.current) for entry in sensors.get(name, [])]
    return max(temperatures, default=None)


def on_battery() -> bool | None:
    """True if the device runs on its battery; None if it has none, or if that is unknown."""
    read = getattr(psutil, "sensors_battery", None)
    try:
        battery = read() if read else None
    except (OSError, RuntimeError, ValueError):
        return None
    if battery is None or battery.power_plugged is None:
        return None
    return not battery.power_plugged


def _gpu() -> str | None:
    """Return name, driver and memory of the first NVIDIA GPU, without its UUID or serial number."""
    if shutil.which("nvidia-smi") is None:
        return None
    return first_line_of(
        "nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"
    )
