"""The tables of a recipe about machines: the device and its limits, the training machine, and its workers."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from pepr_edge.recipe.key_types import AtLeastOne, Positive, Share
from pepr_edge.recipe.toml import Section
from pepr_edge.records import Provider, SessionSettings


def _own_resource(value: str) -> str:
    """Refuse the resources that Ray gives to every node."""
    if value in ("CPU", "GPU", "memory", "object_store_memory"):
        raise PydanticCustomError("expected", "a name of your own: Ray uses this name itself")
    return value


def _bytes(mib: float | None) -> float | None:
    return None if mib is None else mib * 2.0**20


class Device(Section):
    """The target device. `memory_mib` is all its memory: no model may need more.

    `runtime` "auto" is onnxruntime; with variants "auto" it is the fastest installed runtime. `allow_bf16`: a
    runtime may compute float32 operators in bfloat16, if the quality that is measured with it passes.
    """

    name: str
    runtime: Literal["auto", "onnxruntime", "openvino", "pytorch"] = "auto"
    provider: Provider = "cpu"
    allow_bf16: bool = False
    threads: AtLeastOne = 2
    memory_mib: Positive | None = None
    watts_per_core: Positive | None = None

    @property
    def memory_bytes(self) -> float | None:
        """The memory in bytes; None if the recipe does not say it."""
        return _bytes(self.memory_mib)

    def settings(self) -> SessionSettings:
        """Return how named variants run on the device: the same for all, so that results are comparable."""
        runtime = "onnxruntime" if self.runtime == "auto" else self.runtime
        return SessionSettings(runtime=runtime, provider=self.provider, threads=self.threads)


class Budgets(Section):
    """Limits for a model on the device, and for its decisions on validation. Absent: no limit."""

    latency_p90_ms: Positive | None = None
    peak_memory_mib: Positive | None = None
    size_mib: Positive | None = None
    min_sensitivity: Share | None = None
    min_specificity: Share | None = None

    def si(self) -> dict[str, float]:
        """Return the budgets that are set: latency_p90_s, peak_memory_bytes, size_bytes."""
        budgets = {
            "latency_p90_s": (self.latency_p90_ms, 1e-3),
            "peak_memory_bytes": (self.peak_memory_mib, 2.0**20),
            "size_bytes": (self.size_mib, 2.0**20),
        }
        return {name: value * unit for name, (value, unit) in budgets.items() if value is not None}


class Cluster(Section):
    """Resources that each candidate needs on a node, with `pepr-edge run --engine ray`.

    `cpus` is also the number of training threads. `device_resource` is the Ray resource of the nodes that
    are the target device, or represent it: measurements run on one of them. None: they run on the node
    where the run was started.
    """

    cpus: AtLeastOne = 2
    gpus: Annotated[float, Field(ge=0)] = 0.0
    memory_mib: Positive | None = None
    device_resource: (
        Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]*$"), AfterValidator(_own_resource)] | None
    ) = None

    @property
    def memory_bytes(self) -> float | None:
        """The memory in bytes; None if none is requested."""
        return _bytes(self.memory_mib)


class Workstation(Section):
    """Facts about the training machine that its counters do not give. `country` is ISO 3166 alpha-3."""

    watts_per_core: Positive | None = None
    gpu_watts: Positive | None = None
    country: str | None = None


class WorkerLimits(Section):
    """Limits of a candidate's process (screening, training with export, or variant choice).

    At a limit the process is killed and the next candidate starts. `silence_min`: kill the process after
    this long without progress. `memory_mib`: on Linux an allocation beyond it fails; on other systems the
    process is killed when it is seen to use more. No limit changes a result, so results stay valid when a
    limit changes.
    """

    time_h: Positive | None = None
    silence_min: Positive = 60.0
    memory_mib: Positive | None = None

    @property
    def time_s(self) -> float:
        """The time limit in seconds; infinite without a limit."""
        return math.inf if self.time_h is None else self.time_h * 3600.0

    @property
    def silence_s(self) -> float:
        """The longest time without progress, in seconds."""
        return self.silence_min * 60.0

    @property
    def memory_bytes(self) -> float | None:
        """The memory limit in bytes; None without a limit."""
        return _bytes(self.memory_mib)
