"""Records of training: its epochs, its cost, and how far it is."""

from __future__ import annotations

from typing import Literal

from pepr_edge.records.base import (
    Candidate,
    Count,
    Estimate,
    FileName,
    Message,
    NonNegative,
    Quantity,
    Record,
    Sha256,
    Versioned,
)
from pepr_edge.records.data import Preprocess


class Epoch(Record):
    """One epoch of training. `energy_j` is that of the training steps alone; None where it was not measured."""

    epoch: int
    train_loss: float
    val_loss: float
    val_performance: float
    duration_s: float
    energy_j: float | None


class ProbeResult(Record):
    """Throughput of one memory layout and precision, measured over a few training steps; None with the reason where it failed."""

    layout: Literal["contiguous", "channels_last"]
    precision: Literal["float32", "bfloat16", "float16"]
    images_per_s: float | None
    reason: Message = ""


class TrainCost(Record):
    """What the training cost, all epochs counted; the evaluation on validation and test apart.

    `peak_memory_bytes` is that of the training process, interpreter and libraries included.
    """

    energy_j: Quantity
    co2eq_g: Quantity
    duration_s: Quantity
    peak_memory_bytes: Quantity
    gpu_peak_memory_bytes: Quantity
    images: Quantity
    evaluation_energy_j: Quantity
    evaluation_duration_s: Quantity


class Environment(Record):
    """Where and with what a figure was obtained. Holds nothing that names a person or a machine."""

    python: str
    platform: str
    cpu: str
    cores: int
    threads: int
    accelerator: str = ""
    versions: dict[str, str]


class TrainResult(Versioned):
    """A trained candidate. `performance` holds `val_<metric>` and `<metric>` (test) by name."""

    key: str
    candidate: Candidate
    preprocess: Preprocess
    num_params: int
    checkpoint: FileName
    checkpoint_sha256: Sha256
    data_sha256: Sha256
    protocol: str
    mode: str
    layout: str
    precision: str
    probes: tuple[ProbeResult, ...]
    epochs: tuple[Epoch, ...]
    best_epoch: int
    stopped_early: bool
    performance_metric: str
    performance: dict[str, Estimate]
    cost: TrainCost
    environment: Environment
    seed: int


class InterruptionLoss(Record):
    """What interruptions took from a training: it was spent, and is of no epoch. `energy_j` is None where it was not measured."""

    interruptions: Count = 0
    energy_j: NonNegative | None = 0.0
    duration_s: NonNegative = 0.0
    images: Count = 0


class TrainingState(Versioned):
    """training.json: a training under way, after its mode was chosen (no epochs yet) and after each epoch.

    `cost` is all that was spent on it by then, what was `lost` included. `state` is the file that it goes on from, None before the first
    epoch. `stopped_early`: by its patience, so that more epochs are not to be had.
    """

    key: str
    candidate: Candidate
    num_params: int
    layout: Literal["contiguous", "channels_last"]
    precision: Literal["float32", "bfloat16", "float16"]
    probes: tuple[ProbeResult, ...]
    epochs: tuple[Epoch, ...] = ()
    epochs_wanted: int
    best_epoch: int = 0
    stopped_early: bool = False
    cost: TrainCost
    lost: InterruptionLoss = InterruptionLoss()
    state: str | None = None
    state_sha256: Sha256 | None = None


class CostProbe(Versioned):
    """probe.json: what an epoch of a candidate would cost, by a few training steps in its fastest mode.

    `epoch_energy_j` and `epoch_duration_s` are estimates for the training steps of one epoch. `cost` is all that was spent on the candidate
    by the end of the probe; a training that follows counts it in.
    """

    key: str
    candidate: Candidate
    num_params: int
    layout: str
    precision: str
    steps: int
    images_per_s: NonNegative
    epoch_energy_j: Quantity
    epoch_duration_s: Quantity
    peak_memory_bytes: Quantity
    gpu_peak_memory_bytes: Quantity
    cost: TrainCost
