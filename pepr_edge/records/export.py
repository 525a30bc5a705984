"""Records of an export: the ONNX file of a variant, and how its settings were chosen."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

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


class Form(Record):
    """Parameters of a module in the form that was trained and in the form that is deployed.

    They differ if the training-time branches of the architecture were merged before the export.
    """

    trained_params: Count
    deployed_params: Count


class Flips(Record):
    """Decisions that differ from the model before, on n images of a split; `ci`: 95 % interval of it."""

    count: int
    n: int
    ci: tuple[float, float]
    split: Split = "test"


class Agreement(Record):
    """Decisions of a file that differ from PyTorch's in float32, on validation and drawn training images.

    `comparable`: False if clearly fewer differ on training images; then only the validation images count.
    `low`: one-sided 95 % lower limit of the share of decisions that agree (Clopper and Pearson).
    """

    validation_flips: Count
    validation_images: Count
    training_flips: Count = 0
    training_images: Count = 0
    comparable: bool = True
    low: float

    @property
    def flips(self) -> int:
        """The decisions that differ, on the images that count."""
        return self.validation_flips + (self.training_flips if self.comparable else 0)

    @property
    def images(self) -> int:
        """The number of images that count."""
        return self.validation_images + (self.training_images if self.comparable else 0)


class Quality(Record):
    """Judgement of the quality gate on a variant, run as on the device.

    `performance` holds metrics on validation by name; `kept` the share of the float32 value, for the metrics
    that the gate checks, and `kept_upper` the one-sided 95 % upper limit of the true share.
    `passed`: no loss beyond `threshold` is shown; `reason` names the metric whose loss is. In results of
    version 0.1.0, which have no `kept_upper`, a share itself had to be at least `threshold`.
    `agreement` is None if it was not looked at. `shown`: it is at least `threshold`, with 95 % confidence;
    `note` says of a variant that passed why this is not shown.
    """

    settings: SessionSettings
    threshold: float
    performance: dict[str, Estimate]
    kept: dict[str, float]
    kept_upper: dict[str, float] = Field(default_factory=dict)
    flips: Flips
    passed: bool
    reason: str = ""
    agreement: Agreement | None = None
    shown: bool = False
    note: str = ""


class SettingsTrial(Record):
    """One file with some settings: the median of `n` latencies, interleaved with those of the best so far.

    `latency_s` is None if it could not be run; `reason` says why. `peak_memory_bytes` is the peak of its
    process.
    `ratio_to_float32`: how many times as long it takes as float32 with the settings that were fastest when
    it was tried, from ratios within rounds, chained over the best files in between. Unlike `latency_s` it can
    be compared between variants. None if float32 did not run, and in results of version 0.1.0.
    """

    settings: SessionSettings
    latency_s: NonNegative | None
    n: Count = 0
    load_s: NonNegative | None = None
    peak_memory_bytes: int | None = None
    reason: Message = ""
    ratio_to_float32: NonNegative | None = None


class VariantTrial(Record):
    """One variant that autotune tried or left out, and its outcome.

    `final` is its timing in the final race, in turn with float32; None if it was not in it.
    """

    variant: str
    outcome: Outcome
    reason: Message
    remedy: str | None = None
    made_s: float | None = None
    size_bytes: int | None = None
    trials: tuple[SettingsTrial, ...] = ()
    final: SettingsTrial | None = None
    quality: Quality | None = None


class Artifact(Versioned):
    """export.json: one ONNX file of a candidate. `performance` was measured on this file, as it will be run.

    `quantised` is None for float32; else it says whether int8 was made as the variant asks, or with which
    remedy. If autotune chose the variant, `settings` are its settings on the machine `chosen_on`, and `rungs`
    the variants that it tried; where the recipe names its variants they are None and empty. `form` is None
    in results of version 0.1.0, which exported every module as it was trained. `form_note` says why the
    trained form was exported although the architecture has another; `notes` are warnings about the file.
    `positive` is the class number of the positive of two classes in `performance`. `no_novelty` says why the
    file lacks the second output that the recipe wants.
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
    form: Form | None = None
    form_note: Message = ""
    quantised: str | None = None
    parity: Parity
    flips: Flips
    quality: Quality | None = None
    performance: dict[str, Estimate]
    performance_before: dict[str, Estimate]
    positive: Count = 1
    settings: SessionSettings | None = None
    rungs: tuple[VariantTrial, ...] = ()
    chosen_on: Machine | None = None
    notes: tuple[str, ...] = ()
    no_novelty: Message = ""
    duration_s: float
