"""The meter: what a stretch of work cost in energy, time and CPU time, and how the energy was obtained.

For each part of the machine the first source that can be used is taken: counters, else declared watts, else none.
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

__all__ = ["ORDER", "SOURCES", "Mark", "Meter", "MeterSettings", "Use", "add"]

SOURCES: dict[str, EnergySource] = {"rapl": rapl, "nvml": nvml, "declared": declared}
ORDER: dict[Part, tuple[str, ...]] = {"cpu": ("rapl", "declared"), "gpu": ("nvml", "declared")}

_WEAKNESS: dict[Method, int] = {"measured": 0, "counted": 1, "declared": 2, "unavailable": 3}


@dataclass(frozen=True)
class Count:
    """What one part of the machine had used by some moment, and how often its source had failed to say."""

    total_j: float = 0.0
    failures: int = 0


@dataclass(frozen=True)
class Mark:
    """Where a stretch of work began."""

    at_s: float
    cpu_s: float
    counts: tuple[Count, ...]


@dataclass(frozen=True)
class Use:
    """What a stretch of work cost: `energy` in joules, CPU and GPU together."""

    energy: Quantity
    duration_s: float
    cpu_s: float


@dataclass
class _Account:
    """One part of the machine while the meter is open. Without a source, `source` says why."""

    source: str
    module: EnergySource | None = None
    opened: OpenSource | None = None
    last: Any = None
    count: Count = Count()

    def update(self) -> Count:
        if self.module is not None and self.opened is not None:
            now = self.module.read(self.opened.handle)
            used_j = (
                None
                if now is None or self.last is None
                else self.module.joules(self.opened.handle, self.last, now)
            )
            self.last = now
            self.count = Count(self.count.total_j + (used_j or 0.0), self.count.failures + (used_j is None))
        return self.count

    def between(self, before: Count, now: Count) -> Quantity:
        if self.opened is None:
            return Quantity(value=None, method="unavailable", source=self.source)
        if now.failures != before.failures:
            return Quantity(
                value=None, method="unavailable", source=f"{self.source}: could not be read all the time"
            )
        used_j = now.total_j - before.total_j
        # A machine at work uses energy: a counter that did not move has measured nothing.
        if used_j == 0 and self.opened.method == "measured":
            return Quantity(value=None, method="unavailable", source=f"{self.source}: did not move")
        return Quantity(value=used_j, method=self.opened.method, source=self.source)


class Meter:
    """Counts energy while it is open; a thread reads the counters that would otherwise wrap or be missed.

    It never raises for want of a counter, so that it cannot stop the work that it measures.
    """

    def __init__(self, settings: MeterSettings) -> None:
        self._settings = settings
        self._accounts: tuple[_Account, ...] = ()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Meter:
        parts: tuple[Part, ...] = ("cpu", "gpu") if self._settings.uses_gpu else ("cpu",)
        self._accounts = tuple(_open(self._settings, part) for part in parts)
        periods_s = [
            account.opened.period_s
            for account in self._accounts
            if account.opened and account.opened.period_s
        ]
        if periods_s:
            self._thread = threading.Thread(
                target=self._watch, args=(min(periods_s),), name="energy meter", daemon=True
            )
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
        for account in self._accounts:
            if account.module is not None and account.opened is not None:
                account.module.stop(account.opened.handle)
        self._accounts = ()

    def mark(self) -> Mark:
        """Begin a stretch of work.

        Raises:
            MeasurementError: the meter is not open.
        """
        counts, cpu_s = self._update(), declared.cpu_seconds()
        return Mark(time.perf_counter(), cpu_s, counts)

    def since(self, mark: Mark) -> Use:
        """What was used since the mark of this meter; marks may overlap.

        Raises:
            MeasurementError: the meter is not open.
        """
        duration_s = time.perf_counter() - mark.at_s
        cpu_s = max(0.0, declared.cpu_seconds() - mark.cpu_s)
        counts = self._update()
        parts = [
            account.between(*pair) for account, *pair in zip(self._accounts, mark.counts, counts, strict=True)
        ]
        return Use(parts[0] if len(parts) == 1 else add(*parts), duration_s, cpu_s)

    def _update(self) -> tuple[Count, ...]:
        if not self._accounts:
            raise MeasurementError(
                "the energy meter is not open: use it inside `with Meter(settings) as meter:`."
            )
        with self._lock:
            return tuple(account.update() for account in self._accounts)

    def _watch(self, period_s: float) -> None:
        while not self._closing.wait(period_s):
            self._update()


def add(a: Quantity, b: Quantity) -> Quantity:
    """Sum of two figures of one unit: known only if both are, and obtained in the weaker of the two ways.

    Returns:
        A Quantity whose source names both, without repeats; None and "unavailable" where either is.
    """
    method = max(a.method, b.method, key=_WEAKNESS.__getitem__)
    pieces = dict.fromkeys(piece for quantity in (a, b) for piece in quantity.source.split("; ") if piece)
    source = "; ".join(pieces)
    if a.value is None or b.value is None or method == "unavailable":
        return Quantity(value=None, method="unavailable", source=source)
    return Quantity(value=a.value + b.value, method=method, source=source)


def _open(settings: MeterSettings, part: Part) -> _Account:
    reasons = []
    for name in ORDER[part]:
        module = SOURCES[name]
        try:
            reason = module.unavailable(settings, part)
            if reason is None:
                opened = module.start(settings, part)
                return _Account(opened.source, module, opened, module.read(opened.handle))
        except Exception as fault:  # whatever a driver does, the training goes on
            reason = f"{name} failed ({fault})"
        reasons.append(reason)
    return _Account("; ".join(reasons))
