"""What every source of energy figures offers: the functions that rapl.py, nvml.py and declared.py have in common.

A source is opened for one part of the machine, read as often as wanted, and asked for the energy between two of its readings.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from pepr_edge.records import Method

Part = Literal["cpu", "gpu"]


@dataclass(frozen=True)
class MeterSettings:
    """What a meter is told about the machine and the job.

    `exclusive` is False where other jobs run on the same machine at the same time: its counters would charge us for them,
    so that only declared watts count. `powercap` is where Linux keeps the RAPL counters; tests put a copy elsewhere.
    """

    watts_per_core: float | None
    gpu_watts: float | None = None
    uses_gpu: bool = False
    exclusive: bool = True
    powercap: Path = Path("/sys/class/powercap")


@dataclass(frozen=True)
class OpenSource:
    """A source in use.

    `source` goes into every figure it gives. `period_s` is the longest that may pass between two readings without losing
    energy, None where that does not matter. `handle` is the source's own affair.
    """

    method: Method
    source: str
    period_s: float | None
    handle: Any


class EnergySource(Protocol):
    """The functions of a source module. A reading is the source's own affair too."""

    def unavailable(self, settings: MeterSettings, part: Part) -> str | None:
        """None where the source can be used for this part, else the reason, in plain words."""

    def start(self, settings: MeterSettings, part: Part) -> OpenSource:
        """Open the source, once `unavailable` has said None."""

    def read(self, handle: Any) -> Any | None:
        """The counters as they stand, or None where they cannot be read just now."""

    def joules(self, handle: Any, before: Any, now: Any) -> float | None:
        """Energy between two readings, at most `period_s` apart; None where it cannot be told."""

    def stop(self, handle: Any) -> None:
        """Let go of what `start` took hold of."""
