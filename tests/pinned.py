"""Imported first: pin each test process to a core.

Threads that wait for each other on a busy machine take many times as long. NumPy's BLAS and PyTorch count the
cores when they are loaded, and start that many threads: so the process is pinned before.
"""

from __future__ import annotations

import os

WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")
if WORKER and hasattr(os, "sched_setaffinity"):
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[int(WORKER.removeprefix("gw")) % len(cores)]})
