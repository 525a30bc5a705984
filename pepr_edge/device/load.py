"""What else the machine was doing while we measured. Standard library only."""

from __future__ import annotations

import os

BUSY = 0.5  # load for each core from which other programs are likely to disturb a measurement


def load_average() -> float | None:
    """Processes that ran or waited to run, mean over the last minute; None where the system does not say."""
    try:
        return round(os.getloadavg()[0], 2)
    except (AttributeError, OSError):
        return None


def busy(cores: int) -> str:
    """That other programs are at work on this machine, in words; empty where they are not, or the system does not say."""
    load = load_average()
    return (
        f"other programs are at work (load {load:g} on {cores} cores)"
        if load is not None and load > BUSY * cores
        else ""
    )


def steal_s() -> float | None:
    """CPU seconds that the hypervisor took from this virtual machine since it started, all cores; None where the system does not say."""
    try:
        with open("/proc/stat", encoding="ascii") as file:
            return parse_steal(file.readline(), os.sysconf("SC_CLK_TCK"))
    except (AttributeError, OSError, ValueError):
        return None


def parse_steal(line: str, ticks_per_s: int) -> float | None:
    """Steal of the first line of /proc/stat, in seconds. It is the eighth figure (proc(5))."""
    figures = line.split()
    return int(figures[8]) / ticks_per_s if figures[:1] == ["cpu"] and len(figures) > 8 else None
