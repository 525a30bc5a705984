"""The processor's energy counters as one rising counter, for callers that read it often."""

from __future__ import annotations

from collections.abc import Callable

from pepr_edge.energy import rapl
from pepr_edge.energy.source import MeterSettings


def cpu_counter(settings: MeterSettings | None = None) -> tuple[str, Callable[[], float | None]] | None:
    """Return the counter's name and a function for the joules since this call; None without counters.

    Call the function at least every 30 s: a counter could wrap twice in a longer time. Once a counter could
    not be read, it always returns None.
    """
    settings = settings or MeterSettings(watts_per_core=None)
    if rapl.unavailable(settings, "cpu") is not None:
        return None
    opened = rapl.start(settings, "cpu")
    last = rapl.read(opened.handle)
    total_j = 0.0

    def joules() -> float | None:
        nonlocal last, total_j
        if last is None:
            return None
        now = rapl.read(opened.handle)
        used_j = None if now is None else rapl.joules(opened.handle, last, now)
        if used_j is None:
            last = None
            return None
        last = now
        total_j += used_j
        return total_j

    return opened.source, joules
