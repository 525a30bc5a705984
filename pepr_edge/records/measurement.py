"""Records of a measurement: the settings, the device, and the latencies."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pepr_edge.records.base import NonNegative, Quantity, Record, Sha256, Versioned

# How long something is measured: see measure/rules.py.
RulesName = Literal["full", "quick", "look"]
Provider = Literal["cpu", "cuda", "tensorrt", "directml"]


class SessionSettings(Record):
    """How the runtime was told to run.

    `precision` is that of what the file has in float32; `batch` is the one number of images that the model is compiled for, None for any.
    """

    runtime: str = "onnxruntime"
    provider: Provider = "cpu"
    threads: Annotated[int, Field(ge=1)] = 1
    spinning: bool = False
    arena: bool = True
    graph_optimisation: str = "all"
    precision: Literal["float32", "bfloat16"] = "float32"
    batch: Annotated[int, Field(ge=1)] | None = None


class Machine(Record):
    """What was measured, or chosen by measuring, holds for this processor with these versions of the libraries."""

    cpu: str
    versions: dict[str, str]


class Validity(Record):
    """Whether a measurement may be relied on, and if not, why."""

    valid: bool
    reasons: tuple[str, ...] = ()


class Percentiles(Record):
    """Early-stopping estimates of latency, seconds; None where there are too few samples."""

    p50: float | None
    p90: float | None
    p95: float | None
    p99: float | None


class DeviceFacts(Record):
    """What the device is and the state that it was in; nothing that identifies it or its owner. None where it cannot be read."""

    cpu: str
    architecture: str
    isa: tuple[str, ...]
    cores: int
    memory_bytes: int | None
    os: str
    python: str
    versions: dict[str, str]
    affinity: int | None = None
    cgroup_cpu_limit: float | None = None
    cgroup_memory_bytes: int | None = None
    governor: str | None = None
    frequency_mhz: float | None = None
    temperature_c: float | None = None
    on_battery: bool | None = None
    gpu: str | None = None

    @property
    def machine(self) -> Machine:
        """What figures from it hold for."""
        return Machine(cpu=self.cpu, versions=self.versions)


class SelfTestResult(Record):
    """A bundle's own test, run on this device: `agreeing` of its `n` decisions are as at home; None in a report from before it was kept."""

    passed: bool
    decisions_agree: bool
    max_abs_diff: float
    tolerance: float
    n: int
    agreeing: int | None = None


class DeviceProfile(Versioned):
    """One artifact on one device under one runtime. Latencies are raw, after warm-up, in the order they were taken.

    `peak_memory_bytes` comes from a pass of its own; `memory_stages_bytes` holds the high-water marks after import, load,
    first run and at the end.
    `provider_used` is what really ran, whatever was asked for.
    """

    key: str = ""
    artifact_sha256: Sha256
    settings: SessionSettings
    provider_used: str
    scenario: str = "single_stream"
    paced_s: float | None = None
    rules: RulesName
    input_shape: tuple[int, ...]
    validity: Validity
    latencies_s: tuple[NonNegative, ...]
    warmup_runs: int
    import_s: float
    load_s: float
    first_s: float
    peak_memory_bytes: int | None
    memory_stages_bytes: dict[str, int | None]
    cpu_s_per_inference: float | None
    energy_j_per_inference: Quantity
    load_before: float | None
    load_after: float | None
    steal_s: float | None
    device: DeviceFacts
