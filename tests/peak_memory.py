"""The peak memory of a command with all its processes: the sum of their proportional set sizes, sampled."""

from __future__ import annotations

import contextlib
import subprocess
import time
from pathlib import Path

import psutil

INTERVAL_S = 0.2


def run(words: list[str], log: Path, limit_s: float) -> tuple[int, int]:
    """Run a command; return its status and its peak memory in bytes."""
    peak = 0
    end_s = time.monotonic() + limit_s
    with log.open("wb") as output, subprocess.Popen(words, stdout=output, stderr=output) as process:
        while process.poll() is None:
            peak = max(peak, _memory_bytes(process.pid))
            if time.monotonic() > end_s:
                process.kill()
            time.sleep(INTERVAL_S)
    return process.returncode, peak


def _memory_bytes(pid: int) -> int:
    total = 0
    with contextlib.suppress(psutil.Error):
        for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
            with contextlib.suppress(psutil.Error, PermissionError):
                total += process.memory_full_info().pss
    return total
