"""How OpenMP's threads wait for each other: PyTorch computes with them.

By default they spin. Beside another busy program one thread of a step comes late, and the others spin for
it. That takes processor time away from it, and counts as work: a step took up to fifteen times as long, and
several times the CPU seconds. So the threads of our processes sleep while they wait. Figures:
docs/benchmarks/waiting.json.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

# GNU's OpenMP, in PyTorch's wheels for Linux, obeys the first; LLVM's (macOS) and Intel's (Windows) need the
# second as well. They are read when the library is loaded.
PASSIVE: Mapping[str, str] = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}
# What the record of a training names, if it is set.
NAMES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


def with_passive_waiting(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment for a new process whose threads sleep while they wait.

    Values that the user has set stay as they are.
    """
    return {**PASSIVE, **environment}


def waiting_settings() -> str:
    """Return how the threads of this process wait, as `NAME=value, ...`; empty for the library's default."""
    settings = [f"{name}={os.environ[name]}" for name in NAMES if name in os.environ]
    return ", ".join(settings)
