"""What this device is, and the state that it is in. Nothing here identifies the device or its owner."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil

from pepr_edge import __version__
from pepr_edge.device.cgroup import cpu_limit, memory_limit_bytes
from pepr_edge.device.cpu import affinity, cpu_name, first_line_of, isa
from pepr_edge.records import DeviceFacts, Environment, Machine

# Distributions under which the libraries that measure may be installed.
FIELD_PACKAGES = (
    *("pepr_edge", "numpy", "onnxruntime", "onnxruntime-gpu", "onnxruntime-directml"),
    *("openvino", "torch", "pillow", "pydantic"),
)
TEMPERATURE_SENSORS = ("coretemp", "k10temp", "zenpower", "cpu_thermal", "soc_thermal", "acpitz")
GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
DRIVER = GOVERNOR.with_name("scaling_driver")
# Drivers under which the processor itself follows the load (Linux, admin-guide/pm: intel_pstate, amd-pstate, in their active modes).
SELF_GOVERNED = ("intel_pstate", "amd-pstate-epp")


def facts() -> DeviceFacts:
    """Read what can be read without privileges; None where it cannot."""
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
    """What a figure or a choice that is made by measuring now will hold for."""
    return Machine(cpu=cpu_name(), versions=versions(FIELD_PACKAGES))


def environment(threads: int, accelerator: str = "", packages: Sequence[str] = ()) -> Environment:
    """Where and with what a figure is obtained; for the records of the workstation."""
    return Environment(
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        cpu=cpu_name(),
        cores=os.cpu_count() or 1,
        threads=threads,
        accelerator=accelerator,
        versions=versions(packages),
    )


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Versions of those of the packages that are installed."""
    found = {}
    for name in packages:
        try:
            # An editable install may tell the version of the day it was made.
            found[name] = __version__ if name == "pepr_edge" else importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def commit() -> str | None:
    """The commit of the checkout that pepr_edge runs from; None where it runs from no checkout."""
    root = Path(__file__).parents[2]
    return first_line_of("git", "-C", str(root), "rev-parse", "HEAD") if (root / ".git").exists() else None


def _os() -> str:
    """Name and version of the system and its kernel, without the node's name."""
    name = platform.system()
    if sys.platform == "linux":
        try:
            name = f"{platform.freedesktop_os_release()['PRETTY_NAME']}, Linux"
        except (OSError, KeyError):
            name = "Linux"
    elif sys.platform == "darwin":
        return f"macOS {platform.mac_ver()[0]}"
    # A kernel that somebody built may carry any word behind its number.
    release = re.match(r"[\d.]*\d", platform.release())
    return f"{name} {release[0]}" if release else name


def governor() -> str | None:
    """How the system chooses the processor's frequency; None where it does not say."""
    try:
        return GOVERNOR.read_text(encoding="ascii", errors="replace").strip() or None
    except OSError:
        return None


def governs_itself() -> bool:
    """Whether the processor chooses its frequency: "powersave" is then its ordinary way, and not slow."""
    try:
        return DRIVER.read_text(encoding="ascii", errors="replace").strip() in SELF_GOVERNED
    except OSError:
        return False


def _frequency_mhz() -> float | None:
    try:
        frequency = psutil.cpu_freq()
    except (OSError, NotImplementedError, AttributeError, RuntimeError):
        return None
    return float(frequency.current) if frequency and frequency.current else None


def temperature_c() -> float | None:
    """The warmest sensor of the processor; None where none can be read."""
    read = getattr(psutil, "sensors_temperatures", None)
    try:
        sensors = read() if read else {}
    except (OSError, RuntimeError, ValueError):
        return None
    return max(
        (float(entry.current) for name in TEMPERATURE_SENSORS for entry in sensors.get(name, [])),
        default=None,
    )


def on_battery() -> bool | None:
    """Whether the device runs on its battery; None where it has none, or the system does not say."""
    read = getattr(psutil, "sensors_battery", None)
    try:
        battery = read() if read else None
    except (OSError, RuntimeError, ValueError):
        return None
    return None if battery is None or battery.power_plugged is None else not battery.power_plugged


def _gpu() -> str | None:
    """Name, driver and memory of the first NVIDIA GPU; not its UUID or serial number."""
    if shutil.which("nvidia-smi") is None:
        return None
    return first_line_of(
        "nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"
    )
