"""How much CPU and memory a container may use. Linux only; both versions of control groups.

Source: Linux kernel documentation, admin-guide/cgroup-v1 and cgroup-v2.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from pepr_edge.device.system_files import system_text

MEMBERSHIP = Path("/proc/self/cgroup")
ROOT = Path("/sys/fs/cgroup")
# Version 1 says "no limit" with a number near 2^63.
NO_LIMIT_BYTES = 1 << 60


def cpu_limit(membership: Path = MEMBERSHIP, root: Path = ROOT) -> float | None:
    """Return the cores that this process may use, the minimum over its groups; None without a limit."""
    limits = []
    for folder in _folders("cpu", membership, root):
        quota, _, period = system_text(folder / "cpu.max").partition(" ")
        if not quota:
            quota = system_text(folder / "cpu.cfs_quota_us")
            period = system_text(folder / "cpu.cfs_period_us")
        if quota.isdecimal() and period.isdecimal() and int(period) > 0:
            limits.append(int(quota) / int(period))
    return min(limits, default=None)


def memory_limit_bytes(membership: Path = MEMBERSHIP, root: Path = ROOT) -> int | None:
    """Return the memory that this process may use, the minimum over its groups; None without a limit."""
    limits = []
    for folder in _folders("memory", membership, root):
        text = system_text(folder / "memory.max") or system_text(folder / "memory.limit_in_bytes")
        if text.isdecimal() and int(text) < NO_LIMIT_BYTES:
            limits.append(int(text))
    return min(limits, default=None)


def _folders(controller: str, membership: Path, root: Path) -> Iterator[Path]:
    """Yield the folders of this process's groups for a controller, up to the root.

    A container often sees its own group as the root.
    """
    for line in system_text(membership).splitlines():
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
