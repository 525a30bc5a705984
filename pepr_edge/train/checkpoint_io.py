"""The state from which a training resumes: written atomically, and read without running code from it."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from pepr_edge.records import TrainingState
from pepr_edge.run_dir.layout import SPENT, TRAINING, state_name
from pepr_edge.run_dir.store import atomic_writer, sha256_file, write_record
from pepr_edge.run_dir.training_files import resumable, tidy


def save(folder: Path, training: TrainingState, state: dict[str, Any] | None) -> TrainingState:
    """Write the state after an epoch, then the record that names it, and only then remove the previous state.

    Args:
        folder: of the candidate.
        training: the progress of the training.
        state: tensors, numbers and texts, nested; None if there is no new state. Before the first epoch the
            seed alone determines it.
    Returns:
        The record as it was written.
    """
    if state is not None:
        name = state_name(len(training.epochs))
        with atomic_writer(folder / name) as file:
            # Unlike safetensors, this keeps the strides: fused optimisers process the bytes of a tensor and
            # of its averages side by side.
            torch.save(state, file)
        training = training.model_copy(update={"state": name, "state_sha256": sha256_file(folder / name)})
    write_record(folder / TRAINING, training)
    (folder / SPENT).unlink(missing_ok=True)  # the record contains this cost now
    tidy(folder, keep=training.state)
    return training


def load(folder: Path, key: str) -> tuple[TrainingState, dict[str, Any] | None] | None:
    """Return the training that can be resumed and its state.

    Returns:
        None if there is none with this key, or its state is damaged. The state is None before epoch 1.
    """
    training = resumable(folder, key)
    if training is None:
        return None
    if training.state is None:
        return training, None
    try:
        state = torch.load(folder / training.state, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError):
        return None
    return (training, state) if isinstance(state, dict) else None
