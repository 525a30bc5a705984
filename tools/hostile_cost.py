"""Measure what the rows of tests/hostile cost: none may take 10 s or 1 GiB.

    python tools/hostile_cost.py [--slow] [--busy] [--only EXPRESSION] [--out hostile_cost.md]

Runs the rows by pytest, one after the other, and measures for each its wall time, its processor time, and the
peak memory that it adds: of this process, in which the command runs, and of its children, which run the
models. What the same command takes on good input is not taken off. On a machine that other programs use, the
wall time says little: with --busy, the processor time is compared with the limit. Linux only: the kernel
resets a peak by /proc/PID/clear_refs. Returns 1 if a row is over a limit, or failed.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[1]
LIMIT_S = 10.0
LIMIT_BYTES = 1 << 30
SHOWN = 10
RESET_PEAK = "5"  # Documentation/filesystems/proc.rst


class Cost(NamedTuple):
    """What a row took: wall time, processor time, and memory beyond that at its start."""

    name: str
    wall_s: float
    cpu_s: float
    added_bytes: int


class Costs:
    """A plugin of pytest that measures each test."""

    def __init__(self) -> None:
        """Measure nothing yet."""
        self.rows: list[Cost] = []

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Measure a test without its fixtures."""
        before = {process.pid: reset_peak(process) for process in processes()}
        ended_before = ended_children_bytes()
        begin_cpu_s = cpu_s()
        begin_s = time.perf_counter()
        try:
            return (yield)
        finally:
            wall_s = time.perf_counter() - begin_s
            spent_s = cpu_s() - begin_cpu_s
            added = [peak_bytes(process) - before.get(process.pid, 0) for process in processes()]
            ended = ended_children_bytes()
            if ended > ended_before:  # a child that ended set a new record
                added.append(ended)
            self.rows.append(Cost(item.nodeid.removeprefix("tests/hostile/"), wall_s, spent_s, max(added)))


def processes() -> list[psutil.Process]:
    """Return this process and its children."""
    here = psutil.Process()
    return [here, *here.children(recursive=True)]


def cpu_s() -> float:
    """Return the processor time of this process and its children so far, those that ended included."""
    total_s = 0.0
    for process in processes():
        with suppress(psutil.Error):
            times = process.cpu_times()
            total_s += times.user + times.system + times.children_user + times.children_system
    return total_s


def reset_peak(process: psutil.Process) -> int:
    """Let the peak memory of a process begin anew; return its memory now, bytes."""
    with suppress(OSError):
        Path(f"/proc/{process.pid}/clear_refs").write_text(RESET_PEAK, encoding="ascii")
    return peak_bytes(process)


def peak_bytes(process: psutil.Process) -> int:
    """Return the peak resident memory of a process since it was reset; 0 if it has ended."""
    try:
        lines = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:")), 0)


def ended_children_bytes() -> int:
    """Return the largest peak of all children that have ended."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss << 10


def table(rows: list[Cost]) -> str:
    """Return the rows that cost most, as Markdown."""
    lines = ["| row | wall, s | processor, s | memory added, MiB |", "| --- | --- | --- | --- |"]
    by_time = sorted(rows, key=lambda row: -row.wall_s)[:SHOWN]
    by_cpu = sorted(rows, key=lambda row: -row.cpu_s)[:SHOWN]
    by_memory = sorted(rows, key=lambda row: -row.added_bytes)[:SHOWN]
    for row in dict.fromkeys([*by_cpu, *by_time, *by_memory]):
        name = row.name.replace("|", "\\|")
        lines.append(f"| {name} | {row.wall_s:.2f} | {row.cpu_s:.2f} | {row.added_bytes / 2**20:.0f} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run the rows and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--slow", action="store_true", help="The rows of the slow tier instead.")
    parser.add_argument("--busy", action="store_true", help="Compare the processor time with the limit.")
    parser.add_argument("--only", default="", help="Only rows that match, as pytest's -k.")
    parser.add_argument("--out", type=Path, help="Write the table here, as Markdown.")
    given = parser.parse_args()
    costs = Costs()
    words = ["-q", "-p", "no:cacheprovider", "-m", "slow" if given.slow else "not slow", "-k", given.only]
    status = pytest.main([*words, str(ROOT / "tests" / "hostile")], plugins=[costs])
    over = []
    for row in costs.rows:
        time_s = row.cpu_s if given.busy else row.wall_s
        if time_s > LIMIT_S or row.added_bytes > LIMIT_BYTES:
            over.append(row)
    text = table(costs.rows) + f"\n{len(costs.rows)} rows, {len(over)} over 10 s or 1 GiB.\n"
    print(text)
    if given.out is not None:
        given.out.write_text(text, encoding="utf-8")
    return int(bool(over) or status != 0)


if __name__ == "__main__":
    sys.exit(main())
