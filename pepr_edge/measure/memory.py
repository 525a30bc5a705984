"""Peak memory of this process, as the operating system counts it.

At import it needs only the standard library.
"""

from __future__ import annotations

import sys

from pepr_edge.device.system_files import system_text


def peak_memory_bytes() -> int | None:
    """Return the peak resident memory of this whole process; None where it cannot be known.

    On Linux it is the peak since exec. `ru_maxrss` is not used there: a forked child inherits its parent's.
    """
    peak: int | None = None
    if sys.platform == "linux":
        peak = parse_vm_hwm(system_text("/proc/self/status"))
    elif sys.platform == "darwin":
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    elif sys.platform == "win32":
        import psutil

        peak = int(psutil.Process().memory_info().peak_wset)
    return peak


def parse_vm_hwm(status: str) -> int | None:
    """Return VmHWM, in bytes, from the text of /proc/<pid>/status.

    The kernel's "kB" are 1024 bytes (proc(5)).
    """
    for line in status.splitlines():
        name, _, value = line.partition(":")
        if name == "VmHWM":
            kibibytes = value.split()[0] if value.split() else ""
            return int(kibibytes) * 1024 if kibibytes.isdecimal() else None
    return None
