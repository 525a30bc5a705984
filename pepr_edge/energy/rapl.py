"""RAPL: the energy counters of the processor and its memory, as Linux shows them for Intel and AMD alike.

What is summed: every package zone (several sockets), and the dram zones, which packages do not contain. Core and uncore
are parts of a package, psys (the whole platform) contains the packages: neither is added. Where there is no package zone,
psys alone is read. The zones intel-rapl-mmio:* are the same packages by another way and are left aside.
Source: Linux, Documentation/power/powercap/powercap.rst.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from pepr_edge.energy.source import MeterSettings, OpenSource, Part

# More than any zone draws (server packages end near 500 W), so that a counter read this often cannot wrap twice unseen.
# The smallest range in use, AMD's 65.5 kJ, is then read every 32 s; Intel's 262 kJ every minute.
GREATEST_ZONE_W = 2000.0
LONGEST_PERIOD_S = 60.0


@dataclass(frozen=True)
class Zone:
    """One counter: it goes from `range_uj` back to 0."""

    name: str
    counter: Path
    range_uj: int


@dataclass(frozen=True)
class RaplReading:
    """All counters at one time, in the order of the zones."""

    at_s: float
    energies_uj: tuple[int, ...]


def unavailable(settings: MeterSettings, part: Part) -> str | None:
    """Why RAPL cannot be used here; None if it can."""
    if part != "cpu":
        return "RAPL counts the processor, not the GPU"
    if not settings.exclusive:
        return "RAPL counts the whole machine, on which other jobs run at the same time"
    folders = _chosen(settings.powercap)
    if not folders:
        return f"no RAPL zone in {settings.powercap} (not Linux on Intel or AMD, a virtual machine, or a container)"
    try:
        zones = [_zone(folder) for folder in folders]
        still = all(_number(zone.counter) == 0 for zone in zones)
    except PermissionError:
        return f"RAPL counters are readable by root only: sudo chmod a+r {settings.powercap}/intel-rapl:*/energy_uj (until the next boot)"
    except (OSError, ValueError) as fault:
        return f"RAPL counters cannot be read ({fault})"
    return "all RAPL counters stand at 0, as in some virtual machines" if still else None


def start(settings: MeterSettings, part: Part) -> OpenSource:
    """Choose the zones and how often they must be read."""
    zones = tuple(_zone(folder) for folder in _chosen(settings.powercap))
    period_s = min(LONGEST_PERIOD_S, *(zone.range_uj / 1e6 / GREATEST_ZONE_W for zone in zones))
    return OpenSource("measured", f"RAPL counters {', '.join(zone.name for zone in zones)}", period_s, zones)


def read(handle: tuple[Zone, ...]) -> RaplReading | None:
    """All counters now."""
    try:
        return RaplReading(time.perf_counter(), tuple(_number(zone.counter) for zone in handle))
    except (OSError, ValueError):
        return None


def joules(handle: tuple[Zone, ...], before: RaplReading, now: RaplReading) -> float | None:
    """Sum over the zones, each of which may have wrapped once. None where a counter was reset (suspend to disk, for one)."""
    total_j = 0.0
    for zone, first_uj, last_uj in zip(handle, before.energies_uj, now.energies_uj, strict=True):
        wrapped = last_uj < first_uj
        zone_j = (last_uj - first_uj + zone.range_uj * wrapped) / 1e6
        # A second of grace: counters advance in steps. What no zone can draw was not a wrap.
        if zone_j < 0 or (wrapped and zone_j > GREATEST_ZONE_W * (now.at_s - before.at_s + 1)):
            return None
        total_j += zone_j
    return total_j


def stop(handle: tuple[Zone, ...]) -> None:
    """Nothing is held open."""


def _chosen(powercap: Path) -> list[Path]:
    # Zones are listed flat: intel-rapl:0 is a package, intel-rapl:0:1 a part of it.
    folders = sorted(powercap.glob("intel-rapl:*"))
    names = {folder: _name(folder) for folder in folders}
    packages = [
        folder for folder in folders if folder.name.count(":") == 1 and names[folder].startswith("package")
    ]
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
