"""The greatest memory that this process has needed, by the operating system's own high-water mark.

A child that was forked inherits its parent's mark: measure in a process that was freshly exec'd.
"""

from __future__ import annotations

import sys
from pathlib import Path


def peak_memory_bytes() -> int | None:
    """High-water mark of the resident memory of this process, bytes; None where the system does not tell."""
    try:
        if sys.platform == "linux":
            # VmHWM begins anew at exec; ru_maxrss would be the parent's.
            for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
            return None
        if sys.platform == "darwin":
            import resource

            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    except (OSError, ValueError, AttributeError):
        return None
