"""Where latencies are measured: the device, or a machine that stands for it, undisturbed by the run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pepr_edge.engine.engine import Engine
from pepr_edge.measure.interleaved_profiles import Subject, Watch
from pepr_edge.measure.profile import Progress
from pepr_edge.records import DeviceProfile, Machine, ProfileRequest


class ProfileFunction(Protocol):
    """`measure.profile.profile`, on this machine or on another."""

    def __call__(
        self, model: Path, request: ProfileRequest, progress: Progress | None = None
    ) -> DeviceProfile:
        """Measure an ONNX file of this machine on the host."""


class ProfileInterleaved(Protocol):
    """`measure.interleaved_profiles.profile_interleaved`, on this machine or on another."""

    def __call__(self, subjects: Sequence[Subject], watch: Watch) -> None:
        """Measure ONNX files of this machine on the host, in turns."""


@dataclass(frozen=True)
class MeasurementHost:
    """A place to measure at.

    `machine`: the processor and libraries that its figures are valid for. `profile`: measures there.
    `profile_interleaved`: measures several models there in turns; None: it measures one after the other.
    `engine`: runs autotune there, one candidate after the other. `reserve`: inside this context the run's
    engine starts nothing else there.
    """

    machine: Machine
    profile: ProfileFunction
    engine: Engine
    reserve: Callable[[], AbstractContextManager[None]] = nullcontext
    profile_interleaved: ProfileInterleaved | None = None
