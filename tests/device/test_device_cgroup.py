from __future__ import annotations

from pathlib import Path

import pytest

from pepr_edge.device.cgroup import cpu_limit, memory_limit_bytes


def write(root: Path, files: dict[str, str]) -> tuple[Path, Path]:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root / "membership", root / "fs"


def test_version_2_takes_the_minimum_along_the_path(tmp_path: Path) -> None:
    files = {
        "membership": "0::/slice/box\n",
        "fs/cpu.max": "max 100000\n",
        "fs/slice/cpu.max": "150000 100000\n",
        "fs/slice/box/cpu.max": "200000 100000\n",
        "fs/slice/memory.max": "4000000000\n",
        "fs/slice/box/memory.max": "2000000000\n",
    }
    paths = write(tmp_path, files)
    assert cpu_limit(*paths) == 1.5
    assert memory_limit_bytes(*paths) == 2_000_000_000


def test_version_1(tmp_path: Path) -> None:
    files = {
        "membership": "4:memory:/box\n1:cpu,cpuacct:/box\n",
        "fs/cpu/cpu.cfs_quota_us": "-1\n",
        "fs/cpu/cpu.cfs_period_us": "100000\n",
        "fs/cpu/box/cpu.cfs_quota_us": "50000\n",
        "fs/cpu/box/cpu.cfs_period_us": "100000\n",
        "fs/memory/memory.limit_in_bytes": "9223372036854771712\n",
        "fs/memory/box/memory.limit_in_bytes": "1000000000\n",
    }
    paths = write(tmp_path, files)
    assert cpu_limit(*paths) == 0.5
    assert memory_limit_bytes(*paths) == 1_000_000_000


def test_a_container_sees_its_own_group_as_the_root(tmp_path: Path) -> None:
    paths = write(tmp_path, {"membership": "0::/not/here\n", "fs/cpu.max": "100000 100000\n"})
    assert cpu_limit(*paths) == 1.0


@pytest.mark.parametrize("membership", ["", "0::/../outside\n", "nonsense\n", "1:name=systemd:/\n"])
def test_no_limit_is_none(tmp_path: Path, membership: str) -> None:
    paths = write(tmp_path, {"membership": membership, "fs/cpu.max": "max 100000"})
    assert cpu_limit(*paths) is None
    assert memory_limit_bytes(*paths) is None
