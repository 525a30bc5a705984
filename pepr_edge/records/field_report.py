"""Records of a field report: what `bench` measured on a device."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pepr_edge.records.base import Count, Method, NonNegative, Record, Sha256, Versioned
from pepr_edge.records.measurement import DeviceFacts, Percentiles, SelfTestResult, SessionSettings, Validity


class Preprocessing(Record):
    """From an image file to the model's input: decode, resize, scale. `source_px` is the width of that square JPEG, read once before."""

    median_s: NonNegative
    n: Count
    source_px: Count


class Throughput(Record):
    """Images per second when `batch` of them are given to the model at once."""

    batch: Annotated[int, Field(ge=1)]
    images_per_s: NonNegative
    n: Count


class ThreadTiming(Record):
    """Latency of one image with so many threads: the median of `n`; None where it could not be run."""

    threads: Annotated[int, Field(ge=1)]
    p50_s: NonNegative | None
    n: Count


class Sustained(Record):
    """Median latency of the first and of the last third of the measurement, seconds: a device that grows hot slows down."""

    first_third_s: NonNegative
    last_third_s: NonNegative


class BenchResult(Record):
    """One bundle under one scenario on the device that the report is of.

    `partial`: the measuring was cut short in it, and what it holds is all that there was. `fallback`: the float32 file beside the model
    was measured. `warnings` say what was not as it should be on the device, and what to do.
    """

    bundle: str
    artifact_sha256: Sha256
    runtime: str
    provider_used: str
    threads: int
    scenario: str
    rules: Literal["full", "quick"]
    validity: Validity
    latencies_s: tuple[NonNegative, ...]
    percentiles_s: Percentiles
    import_s: float
    load_s: float
    first_s: float
    peak_memory_bytes: int | None
    memory_stages_bytes: dict[str, int | None]
    cpu_s_per_inference: float | None
    energy_j_per_inference: float | None
    energy_method: Method = "unavailable"
    selftest: SelfTestResult | None
    settings: SessionSettings | None = None
    paced_s: float | None = None
    warmup_runs: int | None = None
    load_before: float | None = None
    load_after: float | None = None
    steal_s: float | None = None
    partial: bool = False
    fallback: bool = False
    preprocessing: Preprocessing | None = None
    throughput: tuple[Throughput, ...] = ()
    thread_sweep: tuple[ThreadTiming, ...] = ()
    sustained: Sustained | None = None
    warnings: tuple[str, ...] = ()


class FieldReport(Versioned):
    """bench --out: what one real device measured, to be brought home. `partial` where the measuring was cut short.

    `checksum` is the sha256 of all else in it (`field.report_checksum`): a report that was changed on its way is noticed.
    """

    emulated: bool
    partial: bool
    device: DeviceFacts
    results: tuple[BenchResult, ...]
    checksum: Sha256 | None = None
