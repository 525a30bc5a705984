"""Load of the machine by other programs and virtual machines. Standard library only."""

from __future__ import annotations

import os

# Load per core above which other programs are likely to disturb a measurement.
BUSY = 0.5


def load_average() -> float | None:
    """Return the mean number of running or waiting processes in the last minute; None where it is unknown."""
    try:
        return round(os.getloadavg()[0], 2)
    except (AttributeError, OSError):
        return None


def busy_message(cores: int) -> str:
    """Return a message if other programs use the CPU; empty if they do not, or if it is unknown."""
    load = load_average()
    if load is None or load <= BUSY * cores:
        return ""
    noun = "core" if cores == 1 else "cores"
    return f"other programs use the CPU (load {load:g} on {cores} {noun})"


def steal_s() -> float | None:
    """Return the CPU seconds, over all cores, that the hypervisor took from this machine; None if unknown."""
    try:
        with open("/proc/stat", encoding="ascii") as file:
            return parse_steal(file.readline(), os.sysconf("SC_CLK_TCK"))
    except (AttributeError, OSError, ValueError):
        return None


def parse_steal(line: str, ticks_per_s: int) -> float | None:
    """Return the steal in seconds from the first line of /proc/stat. It is the eighth figure (proc(5))."""
    figures = line.split()
    return int(figures[8]) / ticks_per_s if figures[:1] == ["cpu"] and len(figures) > 8 else None
