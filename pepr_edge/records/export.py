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
    """Agreement of an ONNX file with PyTorch on real images. `tolerance` comes from the spread of PyTorch's logits."""

    images: int
    batches: tuple[int, ...]
    max_abs_diff: float
    tolerance: float
    passed: bool


class Flips(Record):
    """Decisions that differ from those of the model before, on n images of one split; `ci` is the 95 % interval of their share."""

    count: int
    n: int
    ci: tuple[float, float]
    split: Split = "test"


class Quality(Record):
    """What a file keeps on validation of its candidate's float32 file, run as it would run on the device.

    `performance` holds metrics by name, `kept` the share of the float32 file's value for those that the gate rests on. `passed`: each of
    these is at least `threshold`; `reason` says which is not.
    """

    settings: SessionSettings
    threshold: float
    performance: dict[str, Estimate]
    kept: dict[str, float]
    flips: Flips
    passed: bool
    reason: str = ""


class SettingsTrial(Record):
    """One file under one runtime with some options: the median of `n` latencies, taken in turn with the best so far of its ladder.

    `latency_s` is None where it could not be run; `reason` says why. `peak_memory_bytes` is that of its process.
    """

    settings: SessionSettings
    latency_s: NonNegative | None
    n: Count = 0
    load_s: NonNegative | None = None
    peak_memory_bytes: int | None = None
    reason: Message = ""


class VariantTrial(Record):
    """One variant that a ladder tried or left out, and what became of it."""

    variant: str
    outcome: Outcome
    reason: Message
    remedy: str | None = None
    made_s: float | None = None
    size_bytes: int | None = None
    trials: tuple[SettingsTrial, ...] = ()
    quality: Quality | None = None


class Artifact(Versioned):
    """One ONNX file of a candidate. `performance` was measured on this very file as it will be run, as in TrainResult.

    `quantised` is None for float32, and else says whether int8 was made as the variant asks, or with which remedy. `settings` are those
    that a ladder chose on the machine `chosen_on`, whose `rungs` these are; None and empty where the recipe names its variants. `notes`
    say what to beware of.
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
