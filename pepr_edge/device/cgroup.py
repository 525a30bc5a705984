"""How much CPU and memory a container may use. Linux only; both versions of control groups.

Source: Linux kernel documentation, admin-guide/cgroup-v1 and cgroup-v2.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

MEMBERSHIP = Path("/proc/self/cgroup")
ROOT = Path("/sys/fs/cgroup")
# Version 1 says "no limit" with a number near 2^63.
NO_LIMIT_BYTES = 1 << 60


def cpu_limit(membership: Path = MEMBERSHIP, root: Path = ROOT) -> float | None:
    """Cores that this process may use, the least along its groups; None where there is no limit."""
    limits = []
    for folder in _folders("cpu", membership, root):
        quota, _, period = _read(folder / "cpu.max").partition(" ")
        if not quota:
            quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
        if quota.isdecimal() and period.isdecimal() and int(period) > 0:
            limits.append(int(quota) / int(period))
    return min(limits, default=None)


def memory_limit_bytes(membership: Path = MEMBERSHIP, root: Path = ROOT) -> int | None:
    """Memory that this process may use, the least along its groups; None where there is no limit."""
    limits = []
    for folder in _folders("memory", membership, root):
        text = _read(folder / "memory.max") or _read(folder / "memory.limit_in_bytes")
        if text.isdecimal() and int(text) < NO_LIMIT_BYTES:
            limits.append(int(text))
    return min(limits, default=None)


def _folders(controller: str, membership: Path, root: Path) -> Iterator[Path]:
    """The groups of this process for a controller, up to the root. A container often sees its own group as the root."""
    for line in _read(membership).splitlines():
        _, controllers, group = [*line.split(":", 2), "", ""][:3]
        if controllers == "":
            mount = root
        elif controller in controllers.split(","):
            mount = root / controller
        else:
            continue
        path = PurePosixPath(group.lstrip("/"))
        if ".." not in path.parts:
            yield from (mount / part for part in (path, *path.parents))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
