"""Students: what they learn from their teacher, and what its training adds to their cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pepr_edge.data import Dataset
from pepr_edge.records import Candidate
from pepr_edge.scoring.fair_cost import fair_cost
from pepr_edge.train.distil import TEACHER_SHARE, TEMPERATURE, DistillationLoss, TeacherFiles
from pepr_edge.train.session import TrainingJob
from pepr_edge.train.step import ComputeMode
from pepr_edge.train.train import train

CANDIDATE = Candidate(architecture="test_efficientnet", image_size_px=32, in_channels=1, num_classes=2)


def test_the_loss_is_that_of_the_labels_if_student_and_teacher_agree() -> None:
    logits = torch.tensor([[2.0, -1.0], [0.5, 0.25]])
    labels = torch.tensor([0, 1])
    loss = DistillationLoss(nn.CrossEntropyLoss())
    of_labels = nn.CrossEntropyLoss()(logits, labels)
    # The teacher's probabilities are the same with the same number added to its logits.
    assert torch.isclose(loss(logits, (labels, logits + 3.0)), (1 - TEACHER_SHARE) * of_labels)
    assert loss(logits, (labels, -logits)) > (1 - TEACHER_SHARE) * of_labels


def test_the_gradient_of_the_teacher_is_the_difference_of_probabilities() -> None:
    logits = torch.zeros((1, 2), requires_grad=True)
    teacher = torch.tensor([[2.0, 0.0]])
    loss = DistillationLoss(nn.CrossEntropyLoss())
    loss(logits, (torch.tensor([0]), teacher)).backward()
    softened = torch.softmax(teacher / TEMPERATURE, dim=1)[0, 0]
    expected = (1 - TEACHER_SHARE) * (0.5 - 1.0) + TEACHER_SHARE * TEMPERATURE * (0.5 - softened)
    assert logits.grad is not None
    assert torch.isclose(logits.grad[0, 0], expected)


@pytest.fixture
def jobs(recipe: Any, data: Dataset, tmp_path: Path, fixed_mode: ComputeMode) -> Any:
    chosen = recipe(workstation={"watts_per_core": 5.0, "country": "DNK"}, seed=3)

    def job(name: str, teacher: TeacherFiles | None = None) -> TrainingJob:
        folder = tmp_path / name
        return TrainingJob(CANDIDATE, data, chosen, folder, name, 1, False, lambda *_: None, teacher=teacher)

    return job


def test_a_student_is_charged_for_its_teacher(jobs: Any, data: Dataset, tmp_path: Path) -> None:
    alone = train(jobs("alone"))
    teacher = TeacherFiles(alone, tmp_path / "alone", data)
    student = train(jobs("student", teacher))
    assert alone.teacher is None
    assert student.teacher == teacher.record()
    assert student.checkpoint_sha256 != alone.checkpoint_sha256
    for name in ("energy_j", "co2eq_g", "duration_s", "setup_energy_j"):
        own = getattr(student.cost, name).value
        charged = getattr(fair_cost(student, None).cost, name)
        assert charged.value == pytest.approx(own + getattr(alone.cost, name).value)
        assert "teacher" in charged.source
    # What it measured itself stays as it was.
    assert student.cost.images == fair_cost(student, None).cost.images
    assert fair_cost(alone, None).cost == alone.cost


def test_a_student_that_is_interrupted_goes_on(jobs: Any, data: Dataset, tmp_path: Path) -> None:
    alone = train(jobs("alone"))
    teacher = TeacherFiles(alone, tmp_path / "alone", data)
    whole = train(jobs("whole", teacher))
    paused = jobs("paused", teacher)
    train(paused, until_epoch=1)
    assert train(paused).checkpoint_sha256 == whole.checkpoint_sha256
    assert np.isfinite([epoch.train_loss for epoch in whole.epochs]).all()
