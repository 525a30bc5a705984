"""What this device is, and the state that it is in. Nothing here identifies the device or its owner."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil

from pepr_edge.records import DeviceFacts, Environment

# The instruction sets that decide how fast, and how rightly, int8 and float run.
ISA = (
    *("ssse3", "sse4_2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "amx_bf16"),
    *("neon", "asimd", "asimddp", "i8mm", "bf16", "sve", "fphp", "asimdhp"),
)
FIELD_PACKAGES = ("pepr_edge", "onnxruntime", "numpy", "pillow")


def facts() -> DeviceFacts:
    """Read what can be read without privileges; None where it cannot."""
    cpu, flags = _cpu()
    temperature, frequency = _temperature(), _frequency()
    return DeviceFacts(
        cpu=cpu,
        architecture=platform.machine(),
        isa=tuple(name for name in ISA if name in flags),
        cores=os.cpu_count() or 1,
        memory_bytes=psutil.virtual_memory().total,
        os=_os(),
        python=platform.python_version(),
        versions=versions(FIELD_PACKAGES),
        affinity=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        cgroup_cpu_limit=_cgroup_cpus(),
        cgroup_memory_bytes=_number("/sys/fs/cgroup/memory.max"),
        governor=_text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        frequency_mhz=frequency,
        temperature_c=temperature,
        on_battery=_on_battery(),
        gpu=_gpu(),
    )


def environment(threads: int, accelerator: str = "", packages: Sequence[str] = ()) -> Environment:
    """Where and with what a figure is obtained; for records of the workstation."""
    return Environment(
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        cpu=_cpu()[0],
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
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def load_average() -> float | None:
    """Processes that wanted to run over the last minute."""
    try:
        return os.getloadavg()[0]
    except (OSError, AttributeError):
        return None


def steal_s() -> float | None:
    """Seconds that a hypervisor gave to others since boot, over all cores; None where it is not told."""
    value = getattr(psutil.cpu_times(), "steal", None)
    return None if value is None else float(value)


def emulated() -> bool:
    """Whether this process runs under a user-mode emulator: then the kernel describes a processor of another kind."""
    info = _text("/proc/cpuinfo", whole=True) or ""
    arm = platform.machine() in ("aarch64", "arm64")
    x86 = platform.machine() in ("x86_64", "AMD64")
    return ("vendor_id" in info and arm) or ("CPU implementer" in info and x86) or "QEMU" in _cpu()[0]


def _cpu() -> tuple[str, set[str]]:
    """Model name and instruction-set flags."""
    if sys.platform == "darwin":
        return _command("sysctl", "-n", "machdep.cpu.brand_string") or platform.machine(), {"neon"}
    fields: dict[str, str] = {}
    for line in (_text("/proc/cpuinfo", whole=True) or "").splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    name = fields.get("model name") or fields.get("Model") or platform.processor() or platform.machine()
    return name, set((fields.get("flags") or fields.get("Features") or "").split())


def _os() -> str:
    """Name and version, without the node's name."""
    if sys.platform == "linux":
        try:
            return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
        except OSError:
            return "Linux"
    return f"{platform.system()} {platform.release()}"


def _cgroup_cpus() -> float | None:
    quota, _, period = (_text("/sys/fs/cgroup/cpu.max") or "").partition(" ")
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else None


def _frequency() -> float | None:
    try:
        frequency = psutil.cpu_freq()
    except (OSError, NotImplementedError, AttributeError, RuntimeError):
        return None
    return float(frequency.current) if frequency and frequency.current else None


def _temperature() -> float | None:
    read = getattr(psutil, "sensors_temperatures", None)
    try:
        sensors = read() if read else {}
    except (OSError, RuntimeError):
        return None
    values = [entry.current for name in ("coretemp", "k10temp", "cpu_thermal", "acpitz") for entry in sensors.get(name, [])]
    return max(values) if values else None


def _on_battery() -> bool | None:
    try:
        battery = psutil.sensors_battery() if hasattr(psutil, "sensors_battery") else None
    except (OSError, RuntimeError):
        return None
    return None if battery is None or battery.power_plugged is None else not battery.power_plugged


def _gpu() -> str | None:
    if shutil.which("nvidia-smi") is None:
        return None
    return _command("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")


def _command(*words: str) -> str | None:
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip().splitlines()[0] if done.stdout.strip() else None


def _text(path: str, *, whole: bool = False) -> str | None:
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return text if whole else text.strip()


def _number(path: str) -> int | None:
    text = _text(path)
    return int(text) if text and text.isdigit() else None
