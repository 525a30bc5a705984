"""The processor: its name, its instruction sets, its usable cores, and whether it is emulated."""

from __future__ import annotations

import math
import os
import platform
import subprocess
import sys
from pathlib import Path

from pepr_edge.device import cpuid
from pepr_edge.device.cgroup import cpu_limit
from pepr_edge.device.system_files import system_text

# Instruction sets that decide the speed, and for int8 the correctness, of inference.
ISA = (*cpuid.X86, "neon", *cpuid.ARM64)
# Environment variable that describes a restricted or emulated device in a few words, such as "1 core, 512
# MiB".
EMULATED = "PEPR_EDGE_EMULATED"
EMULATORS = ("qemu", "box64", "box86", "fex")
# Values of PF_AVX_INSTRUCTIONS_AVAILABLE and the like in winnt.h.
WINDOWS_FEATURES = {
    "ssse3": 36,
    "sse4_2": 38,
    "avx": 39,
    "avx2": 40,
    "avx512f": 41,
    "neon": 19,
    "asimddp": 43,
}
# Names of `sysctl hw.optional.arm` on macOS.
MACOS_FEATURES = {"asimddp": "FEAT_DotProd", "i8mm": "FEAT_I8MM", "bf16": "FEAT_BF16", "fphp": "FEAT_FP16"}


def cpu_name() -> str:
    """Return the processor's model, with the description of a restricted device in brackets.

    Under an emulator it is the emulated processor, as far as it is known.
    """
    description = os.environ.get(EMULATED)
    if translated():
        return description or f"{os.environ.get('QEMU_CPU') or platform.machine()}, emulated"
    return f"{_system_name()} ({description})" if description else _system_name()


def _system_name() -> str:
    """Return the processor's model as the system gives it."""
    name: str | None = None
    if sys.platform == "linux":
        board = system_text("/proc/device-tree/model").strip("\0\n ")
        name = parse_name(system_text("/proc/cpuinfo")) or board
    elif sys.platform == "darwin":
        name = first_line_of("sysctl", "-n", "machdep.cpu.brand_string")
    elif sys.platform == "win32":
        import winreg

        key_name = r"HARDWARE\DESCRIPTION\System\CentralProcessor\0"
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, key_name) as key:
            name = str(winreg.QueryValueEx(key, "ProcessorNameString")[0]).strip()
    return name or platform.processor() or platform.machine() or "unknown"


def isa() -> tuple[str, ...]:
    """Return those of ISA that the processor has, as far as the system tells."""
    flags: set[str] = set()
    if sys.platform == "linux":
        flags = cpuid.flags() if translated() else parse_flags(system_text("/proc/cpuinfo"))
    elif sys.platform == "darwin":
        flags = _macos_flags()
    elif sys.platform == "win32":
        import ctypes

        has = ctypes.windll.kernel32.IsProcessorFeaturePresent
        flags = {name for name, number in WINDOWS_FEATURES.items() if has(number)}
    return tuple(name for name in ISA if name in flags)


def _macos_flags() -> set[str]:
    flags: set[str] = set()
    for key in ("machdep.cpu.features", "machdep.cpu.leaf7_features"):
        text = (first_line_of("sysctl", "-n", key) or "").lower()
        text = text.replace("avx1.0", "avx").replace("sse4.2", "sse4_2")
        flags.update(name.split(".")[0] for name in text.split())
    for name, key in MACOS_FEATURES.items():
        if first_line_of("sysctl", "-n", f"hw.optional.arm.{key}") == "1":
            flags.add(name)
    return flags


def parse_name(cpuinfo: str) -> str | None:
    """Return the processor's model from the text of /proc/cpuinfo.

    On ARM boards it stands at the end, if at all.
    """
    fields = _fields(cpuinfo)
    return fields.get("model name") or fields.get("Model") or fields.get("Hardware") or None


def parse_flags(cpuinfo: str) -> set[str]:
    """Return the flags from the text of /proc/cpuinfo: "flags" on x86, "Features" on ARM."""
    fields = _fields(cpuinfo)
    return set((fields.get("flags") or fields.get("Features") or "").split())


def affinity() -> int | None:
    """Return the number of cores that this process may run on; None where the system does not tell."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def usable_cores() -> int:
    """Return the cores that affinity and control groups allow, at least 1. More threads are of no use."""
    cores = affinity() or os.cpu_count() or 1
    limit = cpu_limit()
    if limit is not None:
        cores = min(cores, math.ceil(limit))
    return max(1, cores)


def emulated() -> bool:
    """True if times on this device are not those of a real device.

    The process is translated, or the environment variable PEPR_EDGE_EMULATED is set.
    """
    return bool(os.environ.get(EMULATED)) or translated()


def translated() -> bool:
    """True if this process is known to run under a user-mode emulator.

    /proc/cpuinfo may then describe another processor.
    """
    if sys.platform == "darwin":
        return first_line_of("sysctl", "-n", "sysctl.proc_translated") == "1"
    if sys.platform != "linux":
        return False
    try:
        # qemu-user replaces /proc/self/exe by the emulated program, but not this path.
        program = Path("/proc/thread-self/exe").readlink().name
    except OSError:
        program = ""
    return is_emulated(platform.machine(), system_text("/proc/cpuinfo"), program)


def is_emulated(machine: str, cpuinfo: str, program: str) -> bool:
    """True if the process has another machine type than the kernel, or its program is an emulator.

    Args:
        machine: machine type as the process sees it.
        cpuinfo: text of /proc/cpuinfo.
        program: name of the program that the kernel runs.
    """
    fields = _fields(cpuinfo)
    is_arm = machine in ("aarch64", "arm64", "armv7l", "armv8l")
    is_x86 = machine in ("x86_64", "i686")
    is_other_machine = (is_arm and "vendor_id" in fields) or (is_x86 and "CPU implementer" in fields)
    # "QEMU Virtual CPU" is a virtual machine, which may run at full speed. TCG is the interpreter.
    has_interpreter = "TCG" in (parse_name(cpuinfo) or "")
    return is_other_machine or program.lower().startswith(EMULATORS) or has_interpreter


def first_line_of(*command: str) -> str | None:
    """Return the first line that a system command prints; None if it is missing or fails."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return next((line.strip() for line in done.stdout.splitlines() if line.strip()), None)


def _fields(cpuinfo: str) -> dict[str, str]:
    """Return name -> value, the first of each name."""
    fields: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    return fields
