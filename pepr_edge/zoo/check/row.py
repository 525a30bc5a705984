"""The job and the result of the check of one architecture."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from pepr_edge.records import Parity, Versioned


class CheckJob(BaseModel):
    """One architecture to check. `image_size_px` may be None outside the zoo: the check then chooses it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    architecture: str
    image_size_px: int | None
    threads: int


class CheckRow(Versioned):
    """One row of the table. Fields of stages that were not reached are None; `reason` explains a failure.

    `num_params` is at 1 channel and 2 classes, of the deployed form if the export was reached, and
    `trained_params` of the trained form. `form_note`: as in Artifact. `spread` is the standard deviation of
    PyTorch's logits over the images, the unit in which parity is judged. `int8` is the quantiser's remedy.
    `decisions_agree` is the share of images on which int8 decides as float32 does; `int8_difference` is the
    root mean square difference of the logits, in spreads. The latencies are medians at batch 1 with one
    thread.
    """

    key: str
    architecture: str
    in_zoo: bool
    status: Literal["ok", "failed"] = "failed"
    reason: str = ""
    stage: str = "start"
    note: str = ""
    image_size_px: int | None = None
    num_params: int | None = None
    trained_params: int | None = None
    form_note: str = ""
    train_s: float | None = None
    spread: float | None = None
    exporter: str | None = None
    opset: int | None = None
    export_s: float | None = None
    dynamic_batch: bool | None = None
    parity: Parity | None = None
    fp32_size_bytes: int | None = None
    int8: str | None = None
    quantise_s: float | None = None
    int8_size_bytes: int | None = None
    decisions_agree: float | None = None
    int8_difference: float | None = None
    fp32_latency_s: float | None = None
    int8_latency_s: float | None = None
    versions: dict[str, str] = Field(default_factory=dict)
