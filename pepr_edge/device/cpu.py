"""The processor: its name, what it can do, and whether it is one at all or an emulator's."""

from __future__ import annotations

import math
import os
import platform
import subprocess
import sys
from pathlib import Path

from pepr_edge.device import cpuid
from pepr_edge.device.cgroup import cpu_limit

# The instruction sets that decide how fast, and how rightly, float and int8 run.
ISA = (
    *("ssse3", "sse4_2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512vl"),
    *("avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "amx_bf16"),
    *("neon", "asimd", "asimddp", "asimdhp", "fphp", "i8mm", "bf16", "sve", "sve2"),
)
# Whoever runs us on less than a whole device, or on one that is played, says so here in a few words: "1 core, 512 MiB".
EMULATED = "PEPR_EDGE_EMULATED"
EMULATORS = ("qemu", "box64", "box86", "fex")
# Of PF_AVX_INSTRUCTIONS_AVAILABLE and its like in winnt.h.
WINDOWS_FEATURES = {
    "ssse3": 36,
    "sse4_2": 38,
    "avx": 39,
    "avx2": 40,
    "avx512f": 41,
    "neon": 19,
    "asimddp": 43,
}
# By macOS's own names in `sysctl hw.optional.arm`.
MACOS_FEATURES = {"asimddp": "FEAT_DotProd", "i8mm": "FEAT_I8MM", "bf16": "FEAT_BF16", "fphp": "FEAT_FP16"}


def cpu_name() -> str:
    """The processor's model; under an emulator what it plays, as far as that is known, and of a device cut short also how."""
    why = os.environ.get(EMULATED)
    if translated():
        return why or f"{os.environ.get('QEMU_CPU') or platform.machine()}, emulated"
    return f"{_own_name()} ({why})" if why else _own_name()


def _own_name() -> str:
    found: str | None = None
    if sys.platform == "linux":
        found = parse_name(_read("/proc/cpuinfo")) or _read("/proc/device-tree/model").strip("\0\n ")
    elif sys.platform == "darwin":
        found = first_line_of("sysctl", "-n", "machdep.cpu.brand_string")
    elif sys.platform == "win32":
        import winreg

        with winreg.OpenKey(
            winreg.HKEY_LOCAL_MACHINE, r"HARDWARE\DESCRIPTION\System\CentralProcessor\0"
        ) as key:
            found = str(winreg.QueryValueEx(key, "ProcessorNameString")[0]).strip()
    return found or platform.processor() or platform.machine() or "unknown"


def isa() -> tuple[str, ...]:
    """Those of ISA that the processor has, as far as the system tells."""
    flags: set[str] = set()
    if sys.platform == "linux":
        flags = cpuid.flags() if translated() else parse_flags(_read("/proc/cpuinfo"))
    elif sys.platform == "darwin":
        intel = f"{first_line_of('sysctl', '-n', 'machdep.cpu.features')} {first_line_of('sysctl', '-n', 'machdep.cpu.leaf7_features')}"
        flags = {
            name.split(".")[0]
            for name in intel.lower().replace("avx1.0", "avx").replace("sse4.2", "sse4_2").split()
        }
        flags |= {
            name
            for name, key in MACOS_FEATURES.items()
            if first_line_of("sysctl", "-n", f"hw.optional.arm.{key}") == "1"
        }
    elif sys.platform == "win32":
        import ctypes

        has = ctypes.windll.kernel32.IsProcessorFeaturePresent
        flags = {name for name, number in WINDOWS_FEATURES.items() if has(number)}
    return tuple(name for name in ISA if name in flags)


def parse_name(cpuinfo: str) -> str | None:
    """The model in the text of /proc/cpuinfo. On ARM boards it stands at the end, if at all."""
    fields = _fields(cpuinfo)
    return fields.get("model name") or fields.get("Model") or fields.get("Hardware") or None


def parse_flags(cpuinfo: str) -> set[str]:
    """The flags in the text of /proc/cpuinfo: "flags" on x86, "Features" on ARM."""
    fields = _fields(cpuinfo)
    return set((fields.get("flags") or fields.get("Features") or "").split())


def affinity() -> int | None:
    """Cores that this process may run on; None where the system does not say."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def usable_cores() -> int:
    """Cores that are worth a thread: those of the machine, less what an affinity or a control group forbids. At least 1."""
    limit = cpu_limit()
    return max(
        1, min(affinity() or os.cpu_count() or 1, math.ceil(limit) if limit is not None else sys.maxsize)
    )


def emulated() -> bool:
    """Whether the times of this process are not a device's: it is translated, or the environment's PEPR_EDGE_EMULATED says why."""
    return bool(os.environ.get(EMULATED)) or translated()


def translated() -> bool:
    """Whether this process runs under a user-mode emulator, as far as it can be seen. /proc/cpuinfo may then be of another processor."""
    if sys.platform == "darwin":
        return first_line_of("sysctl", "-n", "sysctl.proc_translated") == "1"
    if sys.platform != "linux":
        return False
    try:
        # qemu-user answers for /proc/self/exe with the guest's program, but leaves this name to the kernel.
        program = Path("/proc/thread-self/exe").readlink().name
    except OSError:
        program = ""
    return is_emulated(platform.machine(), _read("/proc/cpuinfo"), program)


def is_emulated(machine: str, cpuinfo: str, program: str) -> bool:
    """Whether the process's machine is another than the kernel's, or its program an emulator.

    Args:
        machine: what the process takes the machine for.
        cpuinfo: text of /proc/cpuinfo.
        program: name of the program that the kernel runs.
    """
    fields = _fields(cpuinfo)
    arm, x86 = machine in ("aarch64", "arm64", "armv7l", "armv8l"), machine in ("x86_64", "i686")
    foreign = (arm and "vendor_id" in fields) or (x86 and "CPU implementer" in fields)
    # "QEMU Virtual CPU" is a virtual machine's, which may well be at full speed; TCG is the interpreter.
    return foreign or program.lower().startswith(EMULATORS) or "TCG" in (parse_name(cpuinfo) or "")


def first_line_of(*words: str) -> str | None:
    """The first line that a command of the system prints; None where there is no such command or it fails."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, errors="replace", timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return next((line.strip() for line in done.stdout.splitlines() if line.strip()), None)


def _fields(cpuinfo: str) -> dict[str, str]:
    """Name -> value, the first of each name."""
    fields: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    return fields


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
