"""The high-water mark of this process's memory, as the operating system keeps it. Imports only the standard library at first."""

from __future__ import annotations

import sys
from pathlib import Path


def peak_memory_bytes() -> int | None:
    """Peak resident memory of this process, everything in it counted; None where it cannot be known.

    On Linux it is the peak since exec. `ru_maxrss` would not do: a forked child inherits its parent's.
    """
    peak: int | None = None
    if sys.platform == "linux":
        peak = parse_vm_hwm(_read("/proc/self/status"))
    elif sys.platform == "darwin":
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    elif sys.platform == "win32":
        import psutil

        peak = int(psutil.Process().memory_info().peak_wset)
    return peak


def parse_vm_hwm(status: str) -> int | None:
    """VmHWM of the text of /proc/<pid>/status, in bytes. The kernel's "kB" are 1024 bytes (proc(5))."""
    for line in status.splitlines():
        name, _, value = line.partition(":")
        if name == "VmHWM":
            kibibytes = value.split()[0] if value.split() else ""
            return int(kibibytes) * 1024 if kibibytes.isdecimal() else None
    return None


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
