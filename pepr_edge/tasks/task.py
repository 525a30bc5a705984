"""The functions of a task module. A task defines the labels and how logits become decisions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import nn

TaskKind = Literal["multiclass", "binary", "ordinal", "multilabel"]
Logits = NDArray[np.floating[Any]]  # shape (n, classes)
Labels = NDArray[np.integer[Any]]  # one row per image: shape (n,), or (n, findings) of 0 and 1
Decisions = NDArray[np.int64]  # same shape as the labels
Mask = NDArray[np.bool_]  # shape (n,)
ClassCounts = Sequence[int] | NDArray[np.int64]  # images of each class, shape (classes,)


class Task(Protocol):
    """The functions that every task module has. All use numpy alone, except `loss`, which imports torch."""

    METRICS: tuple[str, ...]
    """Names of the metrics that are reported for every model."""
    GATE_METRIC: str
    """The metric that a converted file must keep, besides the metric of the recipe."""
    DEFAULT_PERFORMANCE: str
    """The metric of the ranking, if the recipe names none."""

    def decide(self, logits: Logits) -> Decisions:
        """Return the decision for each image."""

    def correct(self, logits: Logits, labels: Labels) -> Mask:
        """True for each image whose decision equals its label."""

    def errors(self, logits: Logits, labels: Labels) -> NDArray[np.float64]:
        """Return how wrong each image's decision is, shape (n,); 0 for a right one."""

    def agree(self, logits: Logits, others: Logits) -> Mask:
        """True for each image on which two models make the same decision."""

    def margin(self, logits: Logits) -> NDArray[np.float32]:
        """Return the distance of each image's logits from another decision, shape (n,)."""

    def probabilities(self, logits: Logits) -> NDArray[np.float64]:
        """Return the probability of each class, shape (n, classes)."""

    def class_counts(self, labels: Labels, classes: int) -> NDArray[np.int64]:
        """Return the number of images of each class, shape (classes,)."""

    def example_labels(self, class_counts: ClassCounts, images: int) -> NDArray[np.int64]:
        """Return labels of that many images in which each class has the given number of images."""

    def perfect_logits(self, labels: Labels, classes: int) -> NDArray[np.float32]:
        """Return logits whose decisions are the labels, shape (n, classes)."""

    def loss(self, class_counts: ClassCounts | None = None, images: int = 0) -> nn.Module:
        """Return the training loss, the mean over a batch.

        Args:
            class_counts: training images of each class; with them every class weighs the same.
            images: number of training images, on which the weights depend if an image has several classes.
        """

    def baseline(
        self, train_counts: ClassCounts, counts: ClassCounts, train_images: int = 0, images: int = 0
    ) -> tuple[int, float]:
        """Return the majority class of the training split and the accuracy of always deciding for it.

        Args:
            train_counts: images of each class in the training split.
            counts: images of each class in the split on which the accuracy is wanted.
            train_images, images: number of images of both; needed if an image may have several classes.
        """

    def constant_logits(self, class_counts: ClassCounts, images: int = 0) -> dict[int, Logits]:
        """Return the logits of models that always make the same decision, by class.

        Args:
            class_counts: training images of each class; the most frequent class comes first.
            images: their number; needed if an image may have several classes.
        Returns:
            Logits of shape (1, classes), which serve any number of images.
        """
