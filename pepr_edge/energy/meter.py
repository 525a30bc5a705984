"""The energy meter: energy, time and CPU time of a period of work, and how the energy was obtained.

For each part of the machine it uses the first available source: counters, then declared watts, then none.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from pepr_edge.energy import declared, nvml, rapl
from pepr_edge.energy.source import EnergySource, MeterSettings, OpenSource, Part
from pepr_edge.errors import MeasurementError
from pepr_edge.records import Method, Quantity

__all__ = ["ORDER", "SOURCES", "Mark", "Meter", "MeterSettings", "Usage", "add", "unavailable"]

SOURCES: dict[str, EnergySource] = {"rapl": rapl, "nvml": nvml, "declared": declared}
ORDER: dict[Part, tuple[str, ...]] = {"cpu": ("rapl", "declared"), "gpu": ("nvml", "declared")}

# The weaker the method, the higher its number. A sum has the weakest method of its parts.
_METHOD_WEAKNESS: dict[Method, int] = {"measured": 0, "counted": 1, "declared": 2, "unavailable": 3}


@dataclass(frozen=True)
class EnergyCount:
    """The energy of one part of the machine so far, and how many readings failed."""

    total_j: float = 0.0
    failures: int = 0


@dataclass(frozen=True)
class Mark:
    """The beginning of a period of work."""

    at_s: float
    cpu_s: float
    counts: tuple[EnergyCount, ...]


@dataclass(frozen=True)
class Usage:
    """What a period of work used: `energy` in joules, CPU and GPU together."""

    energy: Quantity
    duration_s: float
    cpu_s: float


@dataclass
class _PartMeter:
    """The meter of one part of the machine. `source_or_reason`: the energy source, or why there is none."""

    source_or_reason: str
    module: EnergySource | None = None
    opened: OpenSource | None = None
    last: Any = None
    count: EnergyCount = EnergyCount()

    def update(self) -> EnergyCount:
        """Read the source and return the count."""
        if self.module is None or self.opened is None:
            return self.count
        handle = self.opened.handle
        now = self.module.read(handle)
        used_j = None
        if now is not None and self.last is not None:
            used_j = self.module.joules(handle, self.last, now)
        self.last = now
        if used_j is None:
            self.count = EnergyCount(self.count.total_j, self.count.failures + 1)
        else:
            self.count = EnergyCount(self.count.total_j + used_j, self.count.failures)
        return self.count

    def energy_between(self, before: EnergyCount, now: EnergyCount) -> Quantity:
        """Return the energy between two counts, or why it is not known."""
        if self.opened is None:
            return _unknown(self.source_or_reason)
        if now.failures != before.failures:
            return _unknown(f"{self.source_or_reason}: could not be read all the time")
        used_j = now.total_j - before.total_j
        # No work is free of energy, so a counter that did not move is broken.
        if used_j == 0 and self.opened.method == "measured":
            return _unknown(f"{self.source_or_reason}: did not move")
        return Quantity(value=used_j, method=self.opened.method, source=self.source_or_reason)

    def stop(self) -> None:
        """Close the source."""
        if self.module is not None and self.opened is not None:
            self.module.stop(self.opened.handle)


class Meter:
    """Counts energy while it is open. A thread reads the counters before they can wrap around.

    A missing or failing counter raises no error, so that the meter never stops the work that it measures.
    """

    def __init__(self, settings: MeterSettings) -> None:
        self._settings = settings
        self._parts: tuple[_PartMeter, ...] = ()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Meter:
        names: tuple[Part, ...] = ("cpu", "gpu") if self._settings.uses_gpu else ("cpu",)
        self._parts = tuple(_open(self._settings, name) for name in names)
        opened = [part.opened for part in self._parts if part.opened is not None]
        periods_s = [source.period_s for source in opened if source.period_s]
        if periods_s:
            self._thread = threading.Thread(
                target=self._read_regularly, args=(min(periods_s),), name="energy meter", daemon=True
            )
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
        for part in self._parts:
            part.stop()
        self._parts = ()

    def mark(self) -> Mark:
        """Begin a period of work.

        Raises:
            MeasurementError: the meter is not open.
        """
        counts = self._update()
        cpu_s = declared.cpu_seconds()
        return Mark(time.perf_counter(), cpu_s, counts)

    def since(self, mark: Mark) -> Usage:
        """Return what was used since a mark of this meter; periods may overlap.

        Raises:
            MeasurementError: the meter is not open.
        """
        duration_s = time.perf_counter() - mark.at_s
        cpu_s = max(0.0, declared.cpu_seconds() - mark.cpu_s)
        counts = self._update()
        energies = [
            part.energy_between(before, now)
            for part, before, now in zip(self._parts, mark.counts, counts, strict=True)
        ]
        energy = energies[0] if len(energies) == 1 else add(*energies)
        return Usage(energy, duration_s, cpu_s)

    def _update(self) -> tuple[EnergyCount, ...]:
        if not self._parts:
            raise MeasurementError(
                "the energy meter is not open: use it inside `with Meter(settings) as meter:`."
            )
        with self._lock:
            return tuple(part.update() for part in self._parts)

    def _read_regularly(self, period_s: float) -> None:
        while not self._closing.wait(period_s):
            self._update()


def add(a: Quantity, b: Quantity) -> Quantity:
    """Return the sum of two quantities of the same unit, with the weaker of their methods.

    Returns:
        A quantity whose source names both sources, without repeats; "unavailable" if either is.
    """
    method = max(a.method, b.method, key=_METHOD_WEAKNESS.__getitem__)
    names = [*a.source.split("; "), *b.source.split("; ")]
    source = "; ".join(dict.fromkeys(name for name in names if name))
    if a.value is None or b.value is None or method == "unavailable":
        return _unknown(source)
    return Quantity(value=a.value + b.value, method=method, source=source)


def unavailable(settings: MeterSettings) -> str | None:
    """Return why a meter with these settings would know no energy; None if it would."""
    names: tuple[Part, ...] = ("cpu", "gpu") if settings.uses_gpu else ("cpu",)
    for name in names:
        reasons = [SOURCES[source].unavailable(settings, name) for source in ORDER[name]]
        if None not in reasons:
            return "; ".join(reason for reason in reasons if reason)
    return None


def _unknown(source: str) -> Quantity:
    return Quantity(value=None, method="unavailable", source=source)


def _open(settings: MeterSettings, part: Part) -> _PartMeter:
    """Open the first available source of a part."""
    reasons = []
    for name in ORDER[part]:
        module = SOURCES[name]
        try:
            reason = module.unavailable(settings, part)
            if reason is None:
                opened = module.start(settings, part)
                return _PartMeter(opened.source, module, opened, module.read(opened.handle))
        except Exception as fault:  # no error of a driver may stop the work
            reason = f"{name} failed ({fault})"
        reasons.append(reason)
    return _PartMeter("; ".join(reasons))
