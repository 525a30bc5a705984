"""Records of a measurement: the settings, the device, and the latencies."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from pepr_edge.records.base import Count, NonNegative, Quantity, Record, Sha256, Versioned

# How long to measure: see measure/rules.py.
RulesName = Literal["adaptive", "full", "quick", "look"]
# More than any machine has that we run on; each thread needs memory.
MAX_THREADS = 1024
Provider = Literal["cpu", "cuda", "tensorrt", "directml"]


class SessionSettings(Record):
    """How the runtime runs a model.

    `precision` is used where the file has float32. `batch` is the number of images that the model is compiled
    for; None: any.
    """

    runtime: str = "onnxruntime"
    provider: Provider = "cpu"
    threads: Annotated[int, Field(ge=1, le=MAX_THREADS)] = 1
    spinning: bool = False
    arena: bool = True
    graph_optimisation: str = "all"
    precision: Literal["float32", "bfloat16"] = "float32"
    batch: Annotated[int, Field(ge=1)] | None = None


class ProfileRequest(Record):
    """One ONNX file, and how to measure it.

    `sha256` is the expected checksum of the file, `input_shape` is (1, channels, px, px). `watts_per_core` is
    the declared power of a busy core, to estimate the energy of an inference; None: no estimate. `paced_s` is
    the time from the start of one image to the next, as in a clinic; None: each follows the last.
    """

    sha256: Sha256
    settings: SessionSettings
    rules: RulesName
    input_shape: tuple[int, ...]
    watts_per_core: NonNegative | None = None
    paced_s: NonNegative | None = None


class Machine(Record):
    """Processor and library versions for which a measurement, or a choice by measurement, is valid."""

    cpu: str
    versions: dict[str, str]

    @field_validator("versions")
    @classmethod
    def _without_ours(cls, versions: dict[str, str]) -> dict[str, str]:
        """Leave out pepr_edge itself: `run_dir.keys` says which of its changes make a measurement stale."""
        return {name: version for name, version in versions.items() if name != "pepr_edge"}


class Validity(Record):
    """True if a measurement can be relied on; else `reasons` say why not."""

    valid: bool
    reasons: tuple[str, ...] = ()


class Percentiles(Record):
    """Early-stopping estimates of latency, seconds; None if there are too few samples."""

    p50: NonNegative | None
    p90: NonNegative | None
    p95: NonNegative | None
    p99: NonNegative | None


class DeviceFacts(Record):
    """The device and its state. Nothing here identifies the device or its owner. None: could not be read."""

    cpu: str
    architecture: str
    isa: tuple[str, ...]
    cores: Annotated[int, Field(ge=1)]
    memory_bytes: Count | None
    os: str
    python: str
    versions: dict[str, str]
    affinity: Count | None = None
    cgroup_cpu_limit: NonNegative | None = None
    cgroup_memory_bytes: Count | None = None
    governor: str | None = None
    frequency_mhz: NonNegative | None = None
    temperature_c: float | None = None
    on_battery: bool | None = None
    gpu: str | None = None

    @property
    def machine(self) -> Machine:
        """The processor and libraries that its measurements are valid for."""
        return Machine(cpu=self.cpu, versions=self.versions)


class SelfTestResult(Record):
    """Result of a bundle's self-test on this device.

    `agreeing` is the number of its `n` decisions that are the same as in the run; None in reports that did
    not keep it. `novelty_agrees`: the same images are unlike the training images here; None for a model
    without this output.
    """

    passed: bool
    decisions_agree: bool
    max_abs_diff: NonNegative
    tolerance: NonNegative
    n: Count
    agreeing: Count | None = None
    novelty_agrees: bool | None = None


class DeviceProfile(Versioned):
    """profile.json: one artifact measured on one device under one runtime.

    Latencies are raw, after warm-up, in the order in which they were taken. `blocks` holds the number of
    latencies in each block of the measurement, in order (empty: not recorded); between two blocks other
    models may have run. `ended_by` says why an adaptive measurement ended: the interval of its p90 was narrow
    enough; further latencies would change neither its place nor the bundles; or it had run as long as the
    full rules ask for.

    `peak_memory_bytes` comes from separate passes: it is the median of `peak_memory_samples_bytes` (empty: of
    a single pass). `memory_stages_bytes` holds the high-water marks of the median pass, after import, load,
    first run and at the end. `provider_used` is the provider that ran, which may differ from the one in
    `settings`.
    """

    key: str = ""
    artifact_sha256: Sha256
    settings: SessionSettings
    provider_used: str
    scenario: str = "single_stream"
    paced_s: NonNegative | None = None
    rules: RulesName
    input_shape: tuple[int, ...]
    validity: Validity
    latencies_s: tuple[NonNegative, ...]
    blocks: tuple[Count, ...] = ()
    ended_by: Literal["interval", "place", "time"] | None = None
    warmup_runs: Count
    import_s: NonNegative
    load_s: NonNegative
    first_s: NonNegative
    peak_memory_bytes: Count | None
    peak_memory_samples_bytes: tuple[Count, ...] = ()
    memory_stages_bytes: dict[str, Count | None]
    cpu_s_per_inference: NonNegative | None
    energy_j_per_inference: Quantity
    load_before: NonNegative | None
    load_after: NonNegative | None
    steal_s: NonNegative | None
    device: DeviceFacts
