"""RAPL: the energy counters of the processor and its memory, which Linux offers for Intel and AMD.

The sum includes every package zone (several sockets) and the dram zones, which packages do not contain. Core
and uncore are parts of a package, and psys (the whole platform) contains the packages: neither is added.
Without a package zone, psys alone is read. The zones intel-rapl-mmio:* are the same packages by another
interface and ignored.
Source: Linux, Documentation/power/powercap/powercap.rst.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from pepr_edge.energy.source import MeterSettings, OpenSource, Part

# More than any zone draws (server packages end near 500 W). A counter is read before this power could use up
# its range, so that at most one wrap lies between two readings: AMD's 65.5 kJ, the smallest range in use, is
# read every 32 s, Intel's 262 kJ every minute.
MAX_ZONE_W = 2000.0
MAX_PERIOD_S = 60.0


@dataclass(frozen=True)
class Zone:
    """One counter. It counts up to `range_uj` and then starts again from 0."""

    name: str
    counter: Path
    range_uj: int


@dataclass(frozen=True)
class RaplReading:
    """All counters at one time, in the order of the zones."""

    at_s: float
    energies_uj: tuple[int, ...]


def unavailable(settings: MeterSettings, part: Part) -> str | None:
    """Return why RAPL cannot be used here; None if it can."""
    powercap = settings.powercap
    if part != "cpu":
        return "RAPL counts the processor, not the GPU"
    if not settings.exclusive:
        return "RAPL counts the whole machine, on which other jobs run at the same time"
    folders = _chosen_zones(powercap)
    if not folders:
        return f"no RAPL zone in {powercap} (not Linux on Intel or AMD, a virtual machine, or a container)"
    try:
        counters_uj = [_number(_zone(folder).counter) for folder in folders]
    except PermissionError:
        fix = f"sudo chmod a+r {powercap}/intel-rapl:*/energy_uj (until the next boot)"
        return f"RAPL counters are readable by root only: {fix}"
    except (OSError, ValueError) as fault:
        return f"RAPL counters cannot be read ({fault})"
    return None if any(counters_uj) else "all RAPL counters stand at 0, as in some virtual machines"


def start(settings: MeterSettings, part: Part) -> OpenSource:
    """Choose the zones, and how often they must be read."""
    zones = tuple(_zone(folder) for folder in _chosen_zones(settings.powercap))
    smallest_range_j = min(zone.range_uj for zone in zones) / 1e6
    period_s = min(MAX_PERIOD_S, smallest_range_j / MAX_ZONE_W)
    return OpenSource("measured", f"RAPL counters {', '.join(zone.name for zone in zones)}", period_s, zones)


def read(handle: tuple[Zone, ...]) -> RaplReading | None:
    """Return all counters now."""
    try:
        return RaplReading(time.perf_counter(), tuple(_number(zone.counter) for zone in handle))
    except (OSError, ValueError):
        return None


def joules(handle: tuple[Zone, ...], before: RaplReading, now: RaplReading) -> float | None:
    """Return the energy between two readings, summed over the zones; each may have wrapped once.

    None if a counter was reset, for example by suspend to disk.
    """
    # One second is added because counters advance in steps.
    max_wrapped_j = MAX_ZONE_W * (now.at_s - before.at_s + 1)
    total_j = 0.0
    for zone, first_uj, last_uj in zip(handle, before.energies_uj, now.energies_uj, strict=True):
        wrapped = last_uj < first_uj
        used_uj = last_uj - first_uj
        if wrapped:
            used_uj += zone.range_uj
        zone_j = used_uj / 1e6
        # More energy than any zone can draw means a reset, not a wrap.
        if zone_j < 0 or (wrapped and zone_j > max_wrapped_j):
            return None
        total_j += zone_j
    return total_j


def stop(handle: tuple[Zone, ...]) -> None:
    """Do nothing: the counters are plain files that are opened for each reading."""


def _chosen_zones(powercap: Path) -> list[Path]:
    # Zones are listed flat: intel-rapl:0 is a package, intel-rapl:0:1 a part of it.
    folders = sorted(powercap.glob("intel-rapl:*"))
    names = {folder: _name(folder) for folder in folders}
    top_level = [folder for folder in folders if folder.name.count(":") == 1]
    packages = [folder for folder in top_level if names[folder].startswith("package")]
    if not packages:
        return [folder for folder in folders if names[folder] == "psys"][:1]
    return sorted(packages + [folder for folder in folders if names[folder] == "dram"])


def _name(folder: Path) -> str:
    try:
        return (folder / "name").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


def _zone(folder: Path) -> Zone:
    number = folder.name.partition(":")[2]
    range_uj = _number(folder / "max_energy_range_uj")
    if range_uj <= 0:
        raise ValueError(f"{folder / 'max_energy_range_uj'} = {range_uj}")
    return Zone(f"{_name(folder)} ({number})", folder / "energy_uj", range_uj)


def _number(path: Path) -> int:
    return int(path.read_text(encoding="ascii"))
