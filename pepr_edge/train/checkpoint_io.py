"""The file that a training goes on from after an epoch: written whole or not at all, and read without running what is in it."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from pepr_edge.records import TrainingState
from pepr_edge.run_dir.store import sha256_file, write_record, written
from pepr_edge.run_dir.training_files import SPENT, TRAINING, resumable, state_name, tidy


def save(folder: Path, training: TrainingState, state: dict[str, Any] | None) -> TrainingState:
    """Write the state of a training after an epoch, then the record that names it, and only then remove the one before.

    Args:
        folder: the candidate's.
        training: how far it is.
        state: tensors, numbers and texts, nested; None where there is no new one. Before the first epoch the seed alone makes it all.
    Returns:
        The record as it was written.
    """
    if state is not None:
        name = state_name(len(training.epochs))
        with written(folder / name) as file:
            # Unlike safetensors it keeps the strides: fused optimisers go through the bytes of a tensor and of its averages side by side.
            torch.save(state, file)
        training = training.model_copy(update={"state": name, "state_sha256": sha256_file(folder / name)})
    write_record(folder / TRAINING, training)
    (folder / SPENT).unlink(missing_ok=True)  # it is in the record by now
    tidy(folder, keep=training.state)
    return training


def find(folder: Path, key: str) -> tuple[TrainingState, dict[str, Any] | None] | None:
    """The training that can go on and its state; None where there is none from these inputs, or not a whole one."""
    training = resumable(folder, key)
    if training is None or training.state is None:
        return None if training is None else (training, None)
    try:
        state = torch.load(folder / training.state, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError):
        return None
    return (training, state) if isinstance(state, dict) else None
