"""A limit of this process's memory: a model that asks for all of it is one line, not a full machine."""

from __future__ import annotations

import os
import sys
import threading

from pepr_edge.device.system_files import system_text

# The exit status of a process that exceeded its limit where the system knows no such limit.
EXCEEDED_STATUS = 77
WATCH_EVERY_S = 0.05
# Ends the watch of an earlier limit.
_lifted = threading.Event()


def limit_memory(more_bytes: int | None) -> None:
    """Let this process use this many bytes more than it does now; None: as many as there are.

    On Linux the system refuses what is beyond. Elsewhere a thread ends the process with EXCEEDED_STATUS.
    """
    lift_watch()
    if sys.platform == "linux":
        _limit_data(more_bytes)
    elif more_bytes is not None:
        watch_memory(more_bytes)


def _limit_data(more_bytes: int | None) -> None:
    import resource

    # Not the address space: libraries reserve much of it that they never use.
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    used = parse_data_bytes(system_text("/proc/self/status"))
    if more_bytes is None or used is None:
        limit = hard
    else:
        limit = used + more_bytes if hard == resource.RLIM_INFINITY else min(hard, used + more_bytes)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


def parse_data_bytes(status: str) -> int | None:
    """Return VmData, in bytes, from the text of /proc/<pid>/status: what RLIMIT_DATA counts (proc(5))."""
    for line in status.splitlines():
        name, _, value = line.partition(":")
        if name == "VmData":
            kibibytes = value.split()[0] if value.split() else ""
            return int(kibibytes) * 1024 if kibibytes.isdecimal() else None
    return None


def lift_watch() -> None:
    """End the watch of an earlier limit: the next model of this process has its own."""
    global _lifted
    _lifted.set()
    _lifted = threading.Event()


def watch_memory(more_bytes: int) -> None:
    """End this process with EXCEEDED_STATUS as soon as it uses this many bytes more than now."""
    import psutil

    lifted = _lifted
    process = psutil.Process()
    limit = process.memory_info().rss + more_bytes

    def watch() -> None:
        while process.memory_info().rss <= limit:
            if lifted.wait(WATCH_EVERY_S):
                return
        os._exit(EXCEEDED_STATUS)

    threading.Thread(target=watch, name="memory limit", daemon=True).start()
