"""The functions that every energy source has: rapl.py, nvml.py and declared.py.

A source is opened for one part of the machine and read repeatedly; it computes the energy between two
readings.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from pepr_edge.records import Method

Part = Literal["cpu", "gpu"]


@dataclass(frozen=True)
class MeterSettings:
    """Settings of a meter.

    `exclusive` is False if other jobs run on the machine at the same time: its counters would include their
    energy, so only declared watts are used. `powercap` is the folder of Linux's RAPL counters; tests use
    another folder.
    """

    watts_per_core: float | None
    gpu_watts: float | None = None
    uses_gpu: bool = False
    exclusive: bool = True
    powercap: Path = Path("/sys/class/powercap")


@dataclass(frozen=True)
class OpenSource:
    """An open source.

    `source` is recorded with every value. `period_s` is the longest time between two readings without loss of
    energy, None if there is no limit. `handle` is private to the source.
    """

    method: Method
    source: str
    period_s: float | None
    handle: Any


class EnergySource(Protocol):
    """The functions of a source module. The type of its readings is private to the source."""

    def unavailable(self, settings: MeterSettings, part: Part) -> str | None:
        """Return why the source cannot be used for this part, else None."""

    def start(self, settings: MeterSettings, part: Part) -> OpenSource:
        """Open the source. To be called only after `unavailable` has returned None."""

    def read(self, handle: Any) -> Any | None:
        """Return the current reading, or None if it cannot be read now."""

    def joules(self, handle: Any, before: Any, now: Any) -> float | None:
        """Return the energy between two readings at most `period_s` apart; None if it is unknown."""

    def stop(self, handle: Any) -> None:
        """Release the resources of `start`."""
