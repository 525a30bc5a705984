"""The processor's counters as one that only goes up, for whoever reads it often and has no need of a meter and its thread."""

from __future__ import annotations

from collections.abc import Callable

from pepr_edge.energy import rapl
from pepr_edge.energy.source import MeterSettings


def cpu_counter(settings: MeterSettings | None = None) -> tuple[str, Callable[[], float | None]] | None:
    """What is counted, and a function that says how many joules were used since this call; None where there is no counter.

    The function has to be called more often than every half minute, or a counter may wrap twice unseen. Once a counter could not be read,
    it says None for ever.
    """
    settings = settings or MeterSettings(watts_per_core=None)
    if rapl.unavailable(settings, "cpu") is not None:
        return None
    opened = rapl.start(settings, "cpu")
    last, total_j = rapl.read(opened.handle), 0.0

    def joules() -> float | None:
        nonlocal last, total_j
        now = rapl.read(opened.handle)
        used_j = None if last is None or now is None else rapl.joules(opened.handle, last, now)
        last = None if used_j is None else now
        total_j += used_j or 0.0
        return None if used_j is None else total_j

    return opened.source, joules
