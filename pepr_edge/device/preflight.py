"""Can this machine do it at all? Asked before numpy and onnxruntime are imported: where the processor lacks an instruction that they are
built with, their import ends the process without a word.

Standard library only.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from pepr_edge.device.cgroup import memory_limit_bytes
from pepr_edge.device.cpu import cpu_name, isa
from pepr_edge.errors import MeasurementError

# As in setup.cfg.
PYTHON = (3, 10)
X86 = ("x86_64", "AMD64")
# With these the wheels of numpy 2.4 and onnxruntime 1.32 load on any x86. Where one is missing it is tried: under qemu-user they ran on a
# Nehalem, which has no AVX, and died of SIGILL on a Core 2, which has no SSE 4.2 either.
NEEDED = ("ssse3", "sse4_2", "avx")
# A report holds each latency: 60 s of a model that takes 0.1 ms are some 6 MB, those of an ordinary one 1 MB. It is written beside the
# old one.
REPORT_BYTES = 16 << 20
MIB = 1 << 20
# Of Windows, in ntstatus.h.
STATUS_ILLEGAL_INSTRUCTION = 0xC000001D


def check(bundles: Sequence[Path], out: Path | None = None) -> None:
    """Whether this machine can run models, and has room for these.

    Args:
        bundles: folders; what is no bundle is left to those who read it.
        out: file of a report that is to be written, if any.
    Raises:
        MeasurementError: it cannot; why, and what to do, on one line.
    """
    if (fault := machine_fault()) is not None:
        raise MeasurementError(fault)
    free = available_memory_bytes()
    for bundle in bundles:
        if (fault := memory_fault(bundle, free)) is not None:
            raise MeasurementError(fault)
    if out is not None and (fault := disk_fault(out, len(bundles))) is not None:
        raise MeasurementError(fault)


def machine_fault() -> str | None:
    """Why numpy and onnxruntime cannot be used here; None where nothing is known against it."""
    return python_fault(sys.version_info[:2], sys.maxsize > 1 << 32) or cpu_fault()


def python_fault(version: tuple[int, int], is_64_bit: bool) -> str | None:
    """What is wrong with this Python."""
    least = ".".join(map(str, PYTHON))
    if version >= PYTHON and is_64_bit:
        return None
    found = f"{version[0]}.{version[1]}{'' if is_64_bit else ' of 32 bit'}"
    return (
        f"this Python is {found}, expected {least} or later of 64 bit. Install one and run pepr-edge with it."
    )


def cpu_fault() -> str | None:
    """Which instructions the processor lacks. Known on x86; what runs on ARM has all that the wheels need since ARMv8.0."""
    if platform.machine() not in X86:
        return None
    flags = isa()
    missing = [name for name in NEEDED if name not in flags]
    if not missing or not _dies_of_import():
        return None
    return (
        f"this processor ({cpu_name()}) lacks {', '.join(missing)}: numpy and onnxruntime as they come from PyPI cannot be loaded on it. "
        "Use a computer with a processor of 2011 or later (Intel Sandy Bridge, AMD Bulldozer)."
    )


def _dies_of_import() -> bool:
    """Whether the import of numpy and onnxruntime ends a process by force. A fork: what is exec'd may leave an emulator."""
    if not hasattr(os, "fork"):
        trial = [sys.executable, "-c", "import numpy, onnxruntime"]
        # `-c` looks for packages where it starts: where they lie beside us, as in a kit, it finds them there too.
        done = subprocess.run(trial, capture_output=True, cwd=Path(__file__).parents[2])
        return done.returncode == STATUS_ILLEGAL_INSTRUCTION
    child = os.fork()
    if child == 0:
        _import_and_exit()
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def _import_and_exit() -> None:
    import resource

    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        import numpy  # noqa: F401
        import onnxruntime  # noqa: F401
    finally:
        os._exit(0)  # A fault that Python can tell of is told where they are used.


def memory_fault(bundle: Path, free_bytes: int | None) -> str | None:
    """Why a bundle's model cannot be held in memory: what it needed at home, at the least the size of its file."""
    needed = needed_memory_bytes(bundle)
    if needed is None or free_bytes is None or needed <= free_bytes:
        return None
    return (
        f"{bundle}: needs about {needed // MIB} MiB of memory, {free_bytes // MIB} MiB are free. "
        "Close other programs and try again, or use the bundle of a smaller model."
    )


def needed_memory_bytes(bundle: Path) -> int | None:
    """The peak that a bundle's model had at home, or the size of its file where that is more; None where neither is known.

    A peak on a GPU or in PyTorch was that of another runtime, and does not count.
    """
    known = []
    # What is no bundle, or a torn one, is said by those who read it.
    with suppress(OSError, ValueError, KeyError, TypeError):
        profile = json.loads((bundle / "manifest.json").read_bytes())["profile"]
        settings = profile.get("settings", {})
        if settings.get("provider", "cpu") == "cpu" and settings.get("runtime") != "pytorch":
            known.append(profile["peak_memory_bytes"])
    with suppress(OSError):
        known.append((bundle / "model.onnx").stat().st_size)
    return max((value for value in known if isinstance(value, int)), default=None)


def disk_fault(out: Path, bundles: int) -> str | None:
    """Why a report of so many bundles has no room on the disk."""
    folder = out.absolute().parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        free, needed = shutil.disk_usage(folder).free, bundles * REPORT_BYTES
    except OSError:
        return None
    if free >= needed:
        return None
    return f"{folder}: {free // MIB} MiB are free on this disk, the report may need {needed // MIB}. Make room, or give another --out."


def available_memory_bytes() -> int | None:
    """Memory that can still be had, swap included, at most what a control group or `ulimit -v` allows; None where nobody says."""
    free = _windows_free() if sys.platform == "win32" else parse_free(_read(Path("/proc/meminfo")))
    limits = (free, memory_limit_bytes(), _address_space())
    return min((value for value in limits if value is not None), default=None)


def _address_space() -> int | None:
    if sys.platform == "win32":
        return None
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if limit == resource.RLIM_INFINITY else limit


def parse_free(meminfo: str) -> int | None:
    """Of the text of /proc/meminfo, in bytes. The kernel's "kB" are 1024 bytes (proc(5))."""
    fields = dict(line.split(":", 1) for line in meminfo.splitlines() if ":" in line)
    words = [fields.get(name, "").split() for name in ("MemAvailable", "SwapFree")]
    if not words[0]:
        return None
    return sum(int(word[0]) * 1024 for word in words if word and word[0].isdecimal())


def _windows_free() -> int | None:
    """By GlobalMemoryStatusEx: what can still be committed, page file included."""
    import ctypes

    # dwLength and dwMemoryLoad, then seven numbers of 64 bit: the total and the free of memory, of the page file, ...
    status = (ctypes.c_uint64 * 8)()
    status[0] = ctypes.sizeof(status)
    windll = getattr(ctypes, "windll")  # noqa: B009 - mypy checks each platform's branches as for Linux
    return int(status[4]) if windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)) else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
