"""Records of training: its epochs, its cost and its progress."""

from __future__ import annotations

from typing import Literal

from pepr_edge.records.base import (
    Candidate,
    Count,
    Estimate,
    FileName,
    Message,
    Method,
    NonNegative,
    Quantity,
    Record,
    Sha256,
    Versioned,
)
from pepr_edge.records.data import Preprocess
from pepr_edge.records.weights import WeightsMatch


class Epoch(Record):
    """One epoch of training. `energy_j` is the energy of the training steps alone; None: not measured."""

    epoch: int
    train_loss: float
    val_loss: float
    val_performance: float
    duration_s: float
    energy_j: float | None


class ProbeResult(Record):
    """Throughput of one memory layout and precision over a few training steps; None if it failed.

    `threads` is None where they were not compared: as many as the engine gives.
    """

    layout: Literal["contiguous", "channels_last"]
    precision: Literal["float32", "bfloat16", "float16"]
    images_per_s: float | None
    reason: Message = ""
    threads: Count | None = None


class TrainCost(Record):
    """Cost of the training over all epochs.

    The evaluation on validation and test is counted separately, and so is the setup: building the model, the
    probes of modes, threads and cost, and the warm-up after a pause. The total is the sum of the three. The
    setup is None in records of version 0.1.0, where the training includes it.
    `peak_memory_bytes` is the peak of the training process, interpreter and libraries included.
    """

    energy_j: Quantity
    co2eq_g: Quantity
    duration_s: Quantity
    peak_memory_bytes: Quantity
    gpu_peak_memory_bytes: Quantity
    images: Quantity
    evaluation_energy_j: Quantity
    evaluation_duration_s: Quantity
    setup_energy_j: Quantity | None = None
    setup_co2eq_g: Quantity | None = None
    setup_duration_s: Quantity | None = None


class Environment(Record):
    """Machine, libraries and settings behind a figure. Nothing here names a person or a machine.

    `waiting` is how OpenMP's threads wait, as environment variables; empty for the library's default.
    """

    python: str
    platform: str
    cpu: str
    cores: int
    threads: int
    accelerator: str = ""
    waiting: str = ""
    versions: dict[str, str]


class Teacher(Record):
    """The trained candidate that a student learnt from, by its id, and what its training cost."""

    candidate: str
    checkpoint_sha256: Sha256
    cost: TrainCost


class TrainResult(Versioned):
    """train.json: a trained candidate. `performance` holds `val_<metric>` and `<metric>` (test) by name.

    `num_params` are the parameters of the trained form, that of the checkpoint; see `Form`. `weights_match`
    is how the initial weights were assigned to the layers, and `weights_notes` what else was done with their
    file, such as tensors left out; both are empty from scratch, and in records of 0.1.0.
    `positive` is the class number of the positive of two classes in `performance`. `teacher` is what a
    student learnt from; its cost is not in `cost`, see `pepr_edge.scoring.fair_cost.charged`.
    `stopped_early`: it has fewer epochs than the recipe, by its patience or because a search concluded it.
    `head_epochs` is the number of first epochs that trained the classifier alone, at least for a part.
    """

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
    positive: Count = 1
    cost: TrainCost
    environment: Environment
    seed: int
    weights_match: WeightsMatch = ""
    weights_notes: tuple[str, ...] = ()
    head_epochs: Count = 0
    teacher: Teacher | None = None


class InterruptionLoss(Record):
    """Work lost to interruptions of a training. It still cost energy. `energy_j` None: not measured."""

    interruptions: Count = 0
    energy_j: NonNegative | None = 0.0
    duration_s: NonNegative = 0.0
    images: Count = 0


class TrainingState(Versioned):
    """training.json: an unfinished training, written when its mode is chosen and after each epoch.

    `cost` is the total so far, the `lost` work included. `state` is the file to resume from; None before the
    first epoch.
    `stopped_early`: patience ended the training, so it gets no more epochs.
    `threads` is the number that the probe chose; None: as many as the engine gives. `teacher_sha256` is the
    hash of the checkpoint that a student learns from.
    """

    key: str
    candidate: Candidate
    num_params: int
    layout: Literal["contiguous", "channels_last"]
    precision: Literal["float32", "bfloat16", "float16"]
    threads: Count | None = None
    probes: tuple[ProbeResult, ...]
    epochs: tuple[Epoch, ...] = ()
    epochs_wanted: int
    best_epoch: int = 0
    stopped_early: bool = False
    cost: TrainCost
    lost: InterruptionLoss = InterruptionLoss()
    state: str | None = None
    state_sha256: Sha256 | None = None
    teacher_sha256: Sha256 | None = None


class CostProbe(Versioned):
    """probe.json: estimated cost of one epoch, by a few training steps in the candidate's fastest mode.

    `epoch_energy_j` and `epoch_duration_s` are estimates for the training steps of one epoch. `cost` is the
    total spent on the candidate by the end of the probe; the training that follows includes it.
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


class StepCost(Versioned):
    """cost.json: cost of a candidate's training steps per image, measured in turn with other candidates.

    One value a round in `energy_j` and `duration_s`, so their spread is known; `energy_j` is empty where it
    is not measured. `method` and `source` are those of the energy.
    """

    key: str
    candidate: Candidate
    layout: Literal["contiguous", "channels_last"]
    precision: Literal["float32", "bfloat16", "float16"]
    threads: Count
    images: Count
    energy_j: tuple[NonNegative, ...]
    duration_s: tuple[NonNegative, ...]
    method: Method
    source: str
