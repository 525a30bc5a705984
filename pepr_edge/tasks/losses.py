"""Training losses of tasks. Apart from the tasks, since they need torch, which the field has not."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from pepr_edge.tasks.task import ClassCounts


class OrdinalLoss(nn.Module):
    """Cross-entropy plus the ranked probability score, the mean over a batch."""

    weight: torch.Tensor | None

    def __init__(self, class_counts: ClassCounts | None = None) -> None:
        """Create the loss; with class counts, every grade weighs the same."""
        super().__init__()
        weight = None
        if class_counts is not None:
            present = np.maximum(class_counts, 1)
            weights = np.sum(class_counts) / (len(class_counts) * present)
            weight = torch.tensor(weights, dtype=torch.float32)
        self.register_buffer("weight", weight)

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the loss of logits of shape (n, grades) for grades of shape (n,)."""
        values = logits.float()
        cross_entropy = functional.cross_entropy(values, labels, reduction="none")
        predicted = values.softmax(dim=1).cumsum(dim=1)
        grades = torch.arange(values.shape[1], device=labels.device)
        actual = (labels[:, None] <= grades).to(predicted.dtype)
        ranked = (predicted - actual).square().sum(dim=1)
        each = cross_entropy + ranked
        if self.weight is None:
            return each.mean()
        weights = self.weight[labels]
        return (weights * each).sum() / weights.sum()


class FindingsLoss(nn.Module):
    """Binary cross-entropy of several findings, the mean over all answers of a batch."""

    pos_weight: torch.Tensor | None

    def __init__(self, class_counts: ClassCounts | None = None, images: int = 0) -> None:
        """Create the loss; with class counts out of `images`, a finding weighs as much as its absence."""
        super().__init__()
        weight = None
        if class_counts is not None:
            counts = np.asarray(class_counts)
            weights = np.maximum(images - counts, 1) / np.maximum(counts, 1)
            weight = torch.tensor(weights, dtype=torch.float32)
        self.register_buffer("pos_weight", weight)

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the loss of logits of shape (n, findings) for labels of 0 and 1 of the same shape."""
        values = logits.float()
        return functional.binary_cross_entropy_with_logits(
            values, labels.to(values.dtype), pos_weight=self.pos_weight
        )
