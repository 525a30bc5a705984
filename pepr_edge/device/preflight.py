"""Checks whether this machine can run models at all, before numpy and onnxruntime are imported.

If the processor lacks an instruction that they are built with, their import ends the process without a
message. Standard library only.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from pepr_edge.device.cgroup import memory_limit_bytes
from pepr_edge.device.cpu import cpu_name, isa
from pepr_edge.device.system_files import system_text
from pepr_edge.errors import MeasurementError
from pepr_edge.untrusted.documents import json_document
from pepr_edge.untrusted.files import MANIFEST_BYTES, MIB, content

# The same as in setup.cfg.
PYTHON = (3, 10)
X86 = ("x86_64", "AMD64")
# With these the wheels of numpy 2.4 and onnxruntime 1.32 load on any x86 processor. Without one of them the
# import is tried: under qemu-user it worked on a Nehalem, which has no AVX, and died of SIGILL on a Core 2,
# which has no SSE 4.2 either.
REQUIRED = ("ssse3", "sse4_2", "avx")
# A report holds each latency: 60 s of a model that takes 0.1 ms are about 6 MB, those of a typical model 1
# MB. It is written beside the old report.
REPORT_BYTES = 16 << 20
# The packages that are imported as onnxruntime, and the first release for numpy 2.
ONNXRUNTIMES = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml")
FIRST_WITH_NUMPY_2 = (1, 19)
# From ntstatus.h of Windows.
STATUS_ILLEGAL_INSTRUCTION = 0xC000001D


def check(bundles: int, out: Path | None = None) -> None:
    """Raise an error if this machine cannot run models, or has no room for their report.

    Args:
        bundles: number of bundles that are measured.
        out: file of a report that will be written, if any.
    Raises:
        MeasurementError: the reason and the remedy, on one line.
    """
    fault = machine_fault()
    if fault is None and out is not None:
        fault = disk_fault(out, bundles)
    if fault is not None:
        raise MeasurementError(fault)


def check_memory(bundle: Path) -> None:
    """Raise an error if a bundle's model does not fit into memory. A folder that is no bundle is ignored.

    Raises:
        MeasurementError: the reason and the remedy, on one line.
    """
    fault = memory_fault(bundle, available_memory_bytes())
    if fault is not None:
        raise MeasurementError(fault)


def machine_fault() -> str | None:
    """Return why numpy and onnxruntime cannot be used here, or None."""
    return python_fault(sys.version_info[:2], sys.maxsize > 1 << 32) or cpu_fault() or packages_fault()


def python_fault(version: tuple[int, int], is_64_bit: bool) -> str | None:
    """Return what is wrong with this Python, or None."""
    if version >= PYTHON and is_64_bit:
        return None
    required = ".".join(map(str, PYTHON))
    actual = f"{version[0]}.{version[1]}"
    if not is_64_bit:
        actual += " of 32 bit"
    advice = "Install one and run pepr-edge with it."
    return f"this Python is {actual}, expected {required} or later of 64 bit. {advice}"


def packages_fault() -> str | None:
    """Return why the installed numpy and onnxruntime do not fit each other, or None.

    onnxruntime before 1.19 was built for numpy 1: with numpy 2 its import fails in ways that look like
    another fault. Only the versions are looked at, since the import takes long.
    """
    numpy = _installed("numpy")
    runtime = next(filter(None, map(_installed, ONNXRUNTIMES)), None)
    if numpy is None or runtime is None:
        return None
    if _release(numpy) < (2,) or _release(runtime) >= FIRST_WITH_NUMPY_2:
        return None
    return (
        f"onnxruntime {runtime} does not work with numpy {numpy}, expected onnxruntime 1.19 or later. "
        "Run: pip install --upgrade onnxruntime, or pip install 'numpy<2'"
    )


def _installed(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _release(version: str) -> tuple[int, ...]:
    """Return the numbers that a version begins with."""
    numbers = []
    for part in version.split("."):
        if not part.isdecimal():
            break
        numbers.append(int(part))
    return tuple(numbers)


def cpu_fault() -> str | None:
    """Return which instructions the processor lacks, or None.

    Only x86 is checked: every 64-bit ARM processor (ARMv8.0) has all that the wheels need.
    """
    if platform.machine() not in X86:
        return None
    flags = isa()
    missing = [name for name in REQUIRED if name not in flags]
    if not missing or not _import_is_fatal():
        return None
    return (
        f"this processor ({cpu_name()}) lacks {', '.join(missing)}: numpy and onnxruntime from PyPI cannot "
        "be loaded on it. Use a computer with a processor of 2011 or later "
        "(Intel Sandy Bridge, AMD Bulldozer)."
    )


def _import_is_fatal() -> bool:
    """True if the import of numpy and onnxruntime kills a process.

    It is tried in a fork, because an exec'd process may leave an emulator.
    """
    if not hasattr(os, "fork"):
        command = [sys.executable, "-c", "import numpy, onnxruntime"]
        # `-c` also searches the working directory. In a kit the packages are beside ours.
        done = subprocess.run(command, capture_output=True, cwd=Path(__file__).parents[2])
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
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        import numpy  # noqa: F401
        import onnxruntime  # noqa: F401
    finally:
        os._exit(0)  # An error that Python can raise is reported by the later import.


def memory_fault(bundle: Path, free_bytes: int | None) -> str | None:
    """Return why a bundle's model does not fit into memory, or None."""
    needed = needed_memory_bytes(bundle)
    if needed is None or free_bytes is None or needed <= free_bytes:
        return None
    return (
        f"{bundle}: needs about {needed // MIB} MiB of memory, {free_bytes // MIB} MiB are free. "
        "Close other programs and try again, or use the bundle of a smaller model."
    )


def needed_memory_bytes(bundle: Path) -> int | None:
    """Return the peak memory of a bundle's model at home, at least the size of its file; None if unknown.

    A peak on a GPU or in PyTorch does not count: it is that of another runtime.
    """
    sizes = []
    # A folder that is no bundle, or a damaged one, is reported when it is read.
    with suppress(OSError, ValueError):
        sizes.append(_peak_memory_bytes(json_document(content(bundle / "manifest.json", MANIFEST_BYTES))))
    with suppress(OSError):
        sizes.append((bundle / "model.onnx").stat().st_size)
    return max((size for size in sizes if size is not None), default=None)


def _peak_memory_bytes(manifest: Any) -> int | None:
    """Return the peak memory in a manifest that was not validated yet."""
    profile = manifest.get("profile") if isinstance(manifest, dict) else None
    if not isinstance(profile, dict):
        return None
    settings = profile.get("settings")
    is_of_another_runtime = isinstance(settings, dict) and (
        settings.get("provider", "cpu") != "cpu" or settings.get("runtime") == "pytorch"
    )
    peak = profile.get("peak_memory_bytes")
    return peak if isinstance(peak, int) and not is_of_another_runtime else None


def disk_fault(out: Path, bundles: int) -> str | None:
    """Return why the report of this number of bundles does not fit on the disk, or None."""
    folder = out.absolute().parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        return None
    needed = bundles * REPORT_BYTES
    if free >= needed:
        return None
    return (
        f"{folder}: {free // MIB} MiB are free on this disk, the report may need {needed // MIB}. "
        "Make room, or give another --out."
    )


def available_memory_bytes() -> int | None:
    """Return the available memory, swap included; None if it is unknown.

    It is at most what a control group or `ulimit -v` allows.
    """
    free = _windows_free() if sys.platform == "win32" else parse_free(system_text("/proc/meminfo"))
    limits = (free, memory_limit_bytes(), _address_space_bytes())
    return min((value for value in limits if value is not None), default=None)


def _address_space_bytes() -> int | None:
    if sys.platform == "win32":
        return None
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if limit == resource.RLIM_INFINITY else limit


def parse_free(meminfo: str) -> int | None:
    """Return free memory and swap in bytes from the text of /proc/meminfo.

    The kernel's "kB" are 1024 bytes (proc(5)).
    """
    fields = dict(line.split(":", 1) for line in meminfo.splitlines() if ":" in line)
    memory_kib, swap_kib = (_number(fields.get(name, "")) for name in ("MemAvailable", "SwapFree"))
    return None if memory_kib is None else 1024 * (memory_kib + (swap_kib or 0))


def _number(text: str) -> int | None:
    """Return the number at the start of a text; None if there is none."""
    number, _, _ = text.strip().partition(" ")
    return int(number) if number.isdecimal() else None


def _windows_free() -> int | None:
    """Return the memory that can still be committed, page file included, from GlobalMemoryStatusEx."""
    import ctypes

    # dwLength and dwMemoryLoad, then seven 64-bit numbers: total and free memory, total and free page file,
    # ...
    status = (ctypes.c_uint64 * 8)()
    status[0] = ctypes.sizeof(status)
    windll = getattr(ctypes, "windll")  # noqa: B009 - mypy checks each platform's branches as for Linux
    return int(status[4]) if windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)) else None
