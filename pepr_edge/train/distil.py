"""Distillation: a student learns from the labels, and from a teacher's logits on the same training images.

Source: Hinton, Vinyals and Dean 2015, "Distilling the Knowledge in a Neural Network". The teacher sees each
image once, without augmentation.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from pepr_edge.data import Dataset
from pepr_edge.records import Teacher, TrainResult
from pepr_edge.train.cost_tracker import CostTracker
from pepr_edge.train.loop import BatchLoader, predict
from pepr_edge.train.models import restore
from pepr_edge.train.step import ComputeMode, Targets

# Logits of teacher and student are divided by this, so that the student learns which classes are alike.
TEMPERATURE = 2.0
# The weight of the teacher in the loss; that of the labels is the rest.
TEACHER_SHARE = 0.5


@dataclass(frozen=True)
class TeacherFiles:
    """A trained candidate to learn from: its record, the folder of its files, and its images.

    `data` has the same training images as the student's, in the same order, perhaps of another size.
    """

    trained: TrainResult
    folder: Path
    data: Dataset

    def record(self) -> Teacher:
        """Return what the student's record says of it."""
        trained = self.trained
        return Teacher(
            candidate=trained.candidate.id, checkpoint_sha256=trained.checkpoint_sha256, cost=trained.cost
        )


class DistillationLoss(nn.Module):
    """The loss of the labels, and the divergence of the student's probabilities from the teacher's."""

    def __init__(self, of_labels: nn.Module) -> None:
        """Create the loss; `of_labels` is that of the task, the mean over a batch."""
        super().__init__()
        self.of_labels = of_labels

    def forward(self, logits: torch.Tensor, targets: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """Return the loss of logits of shape (n, classes) for labels and the teacher's logits."""
        labels, teacher = targets
        student = functional.log_softmax(logits.float() / TEMPERATURE, dim=1)
        wanted = functional.log_softmax(teacher.float() / TEMPERATURE, dim=1)
        divergence = functional.kl_div(student, wanted, reduction="batchmean", log_target=True)
        # The gradients of the divergence are smaller by the square of the temperature.
        from_teacher = TEMPERATURE**2 * divergence
        from_labels: torch.Tensor = self.of_labels(logits, labels)
        return (1 - TEACHER_SHARE) * from_labels + TEACHER_SHARE * from_teacher


def teacher_logits(
    teacher: TeacherFiles, device: torch.device, cost_tracker: CostTracker
) -> NDArray[np.float32]:
    """Return the teacher's logits on all training images, shape (n, classes).

    What this costs is a part of the student's setup, which the caller counts.
    """
    mode = ComputeMode()
    model = restore(teacher.trained.candidate, teacher.folder / teacher.trained.checkpoint)
    model = mode.place(model, device)
    pixels = teacher.data.splits["train"][0]
    return predict(model, pixels, teacher.trained.preprocess, mode, cost_tracker.tick)


def with_teacher(load_batch: BatchLoader, logits: NDArray[np.float32], device: torch.device) -> BatchLoader:
    """Return a loader of batches whose targets are labels, and the teacher's logits on the same images."""

    def load(chosen: NDArray[np.intp]) -> tuple[torch.Tensor, Targets]:
        images, labels = load_batch(chosen)
        assert isinstance(labels, torch.Tensor)
        return images, (labels, torch.from_numpy(logits[chosen]).to(device, non_blocking=True))

    return load
