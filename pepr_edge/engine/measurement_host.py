"""Where latencies are measured: the device, or a machine that stands for it, with nothing of the run beside a measurement."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pepr_edge.engine.engine import Engine
from pepr_edge.records import DeviceProfile, Machine, RulesName, SessionSettings


class ProfileFunction(Protocol):
    """`measure.profile.profile`, wherever it is carried out."""

    def __call__(
        self,
        model: Path,
        sha256: str,
        settings: SessionSettings,
        *,
        rules: RulesName,
        input_shape: tuple[int, ...],
        watts_per_core: float | None = None,
        progress: Callable[[float, float], None] | None = None,
    ) -> DeviceProfile:
        """Measure one ONNX file of this machine there."""


@dataclass(frozen=True)
class MeasurementHost:
    """A place to measure at.

    `machine`: what its figures hold for. `profile`: measures there. `engine`: climbs ladders there, one after the other. `reserve`: while
    it is, nobody is given anything else to do there by the run's engine.
    """

    machine: Machine
    profile: ProfileFunction
    engine: Engine
    reserve: Callable[[], AbstractContextManager[None]] = nullcontext
