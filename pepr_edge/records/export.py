"""Records of an export: the ONNX file of a variant, and how its settings were chosen."""

from __future__ import annotations

from typing import Literal

from pepr_edge.records.base import (
    Candidate,
    Count,
    Estimate,
    Message,
    NonNegative,
    Record,
    Sha256,
    Split,
    Versioned,
)
from pepr_edge.records.measurement import Machine, SessionSettings

Outcome = Literal["chosen", "slower", "quality", "memory", "size", "failed", "not tried"]


class Parity(Record):
    """Agreement of an ONNX file with PyTorch on real images. `tolerance` follows the spread of the logits."""

    images: int
    batches: tuple[int, ...]
    max_abs_diff: float
    tolerance: float
    passed: bool


class Flips(Record):
    """Decisions that differ from the model before, on n images of a split; `ci`: 95 % interval of it."""

    count: int
    n: int
    ci: tuple[float, float]
    split: Split = "test"


class Quality(Record):
    """Share of the float32 performance that a variant keeps on validation, run as on the device.

    `performance` holds metrics by name; `kept` the share of the float32 value, for the metrics that the
    quality gate checks.
    `passed`: each share is at least `threshold`; `reason` names the metric that is not.
    """

    settings: SessionSettings
    threshold: float
    performance: dict[str, Estimate]
    kept: dict[str, float]
    flips: Flips
    passed: bool
    reason: str = ""


class SettingsTrial(Record):
    """One file with some settings: the median of `n` latencies, interleaved with those of the best so far.

    `latency_s` is None if it could not be run; `reason` says why. `peak_memory_bytes` is the peak of its
    process.
    """

    settings: SessionSettings
    latency_s: NonNegative | None
    n: Count = 0
    load_s: NonNegative | None = None
    peak_memory_bytes: int | None = None
    reason: Message = ""


class VariantTrial(Record):
    """One variant that autotune tried or left out, and its outcome."""

    variant: str
    outcome: Outcome
    reason: Message
    remedy: str | None = None
    made_s: float | None = None
    size_bytes: int | None = None
    trials: tuple[SettingsTrial, ...] = ()
    quality: Quality | None = None


class Artifact(Versioned):
    """export.json: one ONNX file of a candidate. `performance` was measured on this file, as it will be run.

    `quantised` is None for float32; else it says whether int8 was made as the variant asks, or with which
    remedy. If autotune chose the variant, `settings` are its settings on the machine `chosen_on`, and `rungs`
    the variants that it tried; where the recipe names its variants they are None and empty. `notes` are
    warnings about the file.
    """

    key: str
    candidate: Candidate
    variant: str
    path: str
    sha256: Sha256
    size_bytes: int
    opset: int
    exporter: str
    producer: str
    dynamic_batch: bool
    simplified: bool = False
    quantised: str | None = None
    parity: Parity
    flips: Flips
    quality: Quality | None = None
    performance: dict[str, Estimate]
    performance_before: dict[str, Estimate]
    settings: SessionSettings | None = None
    rungs: tuple[VariantTrial, ...] = ()
    chosen_on: Machine | None = None
    notes: tuple[str, ...] = ()
    duration_s: float
