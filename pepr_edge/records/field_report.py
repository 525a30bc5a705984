"""Records of a field report: the measurements of `bench` on a device."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pepr_edge.records.base import Count, Method, NonNegative, Record, Sha256, Versioned
from pepr_edge.records.measurement import DeviceFacts, Percentiles, SelfTestResult, SessionSettings, Validity


class Preprocessing(Record):
    """Time from an image file to the model's input: decode, resize, scale.

    The file is a square JPEG, `source_px` wide, that was read once before.
    """

    median_s: NonNegative
    n: Count
    source_px: Count


class Throughput(Record):
    """Images per second with `batch` images in each call of the model."""

    batch: Annotated[int, Field(ge=1)]
    images_per_s: NonNegative
    n: Count


class ThreadTiming(Record):
    """Median latency of `n` images with this number of threads; None if it could not be run."""

    threads: Annotated[int, Field(ge=1)]
    p50_s: NonNegative | None
    n: Count


class Sustained(Record):
    """Median latency of the first and the last third of a measurement: a device that heats up slows down."""

    first_third_s: NonNegative
    last_third_s: NonNegative


class BenchResult(Record):
    """One bundle under one scenario on the device that the report is of.

    `partial`: the measurement was interrupted, and this is what it had by then. `fallback`: the float32 file
    beside the model was measured. `warnings` name problems of the device and their remedies.

    In a browser the clock moves in steps of `timer_resolution_s`; if these are coarse, each latency is the
    mean of `inferences_per_latency` inferences that follow each other.
    """

    bundle: str
    artifact_sha256: Sha256
    runtime: str
    provider_used: str
    threads: Annotated[int, Field(ge=1)]
    scenario: str
    rules: Literal["full", "quick"]
    validity: Validity
    latencies_s: tuple[NonNegative, ...]
    percentiles_s: Percentiles
    import_s: NonNegative
    load_s: NonNegative
    first_s: NonNegative
    peak_memory_bytes: Count | None
    memory_stages_bytes: dict[str, Count | None]
    cpu_s_per_inference: NonNegative | None
    energy_j_per_inference: NonNegative | None
    energy_method: Method = "unavailable"
    selftest: SelfTestResult | None
    settings: SessionSettings | None = None
    paced_s: NonNegative | None = None
    warmup_runs: Count | None = None
    load_before: NonNegative | None = None
    load_after: NonNegative | None = None
    steal_s: NonNegative | None = None
    partial: bool = False
    fallback: bool = False
    preprocessing: Preprocessing | None = None
    throughput: tuple[Throughput, ...] = ()
    thread_sweep: tuple[ThreadTiming, ...] = ()
    sustained: Sustained | None = None
    warnings: tuple[str, ...] = ()
    inferences_per_latency: Annotated[int, Field(ge=1)] = 1
    timer_resolution_s: NonNegative | None = None


class FieldReport(Versioned):
    """bench --out: the measurements of one real device. `partial`: the measurement was interrupted.

    `checksum` is the sha256 of all other fields (see `field.report_checksum`), so that a later change is
    noticed.
    """

    emulated: bool
    partial: bool
    device: DeviceFacts
    results: tuple[BenchResult, ...]
    checksum: Sha256 | None = None
