"""The trainer: epochs, each evaluated on validation, until the last or until validation stops improving."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pepr_edge.data import Dataset
from pepr_edge.energy.meter import Usage
from pepr_edge.errors import ModelError
from pepr_edge.recipe.settings import ResolvedTrain
from pepr_edge.records import Epoch, Preprocess
from pepr_edge.scoring.metrics import metric as metric_of
from pepr_edge.tasks import TaskKind, task_of
from pepr_edge.train.cost_tracker import CostTracker
from pepr_edge.train.distil import DistillationLoss, with_teacher
from pepr_edge.train.features import Backbone, frozen_backbone
from pepr_edge.train.loop import (
    Labels,
    batch_loader,
    batches,
    loss_function,
    predict,
    train_epoch,
    train_step,
)
from pepr_edge.train.models import backbone_parameters, freeze
from pepr_edge.train.step import ComputeMode

# Arguments: steps done, steps of the epoch, number of the epoch, best validation performance so far (-inf in
# the first epoch).
Progress = Callable[[int, int, int, float], None]
LOWEST_RATING = (-math.inf, -math.inf)


class Trainer:
    """A training in progress: the model, its optimiser, the random generators, and the epochs so far.

    The best epoch has the highest validation performance, and of equal ones the lowest validation loss. It is
    one of the last epochs, at low learning rates, as soon as one of them is reached.
    """

    def __init__(
        self,
        model: nn.Module,
        mode: ComputeMode,
        data: Dataset,
        spec: Preprocess,
        settings: ResolvedTrain,
        metric: str,
        seed: int,
        teacher_logits: NDArray[np.float32] | None = None,
    ) -> None:
        """Begin a training.

        Args:
            model: on its device and in the layout of the mode; trained in place.
            mode: memory layout and precision.
            data: its splits "train" and "val" are used.
            spec: how pixels become the input.
            settings: how to train.
            metric: name of the performance on validation; the epoch with the highest is kept, of the last
                quarter once the training reaches it.
            seed: for dropout, the order of the images and their augmentation.
            teacher_logits: a teacher's, of all training images, which a student learns from; shape
                (n, classes).
        """
        # For dropout. The probe has used the generator before, how often depends on the machine.
        torch.manual_seed(seed)
        self.model = model
        self.mode = mode
        self.epochs: tuple[Epoch, ...] = ()
        self.best_epoch = 0
        self._data = data
        self._spec = spec
        self._settings = settings
        self._metric = metric
        self._rng = np.random.default_rng(seed)
        self._generator = torch.Generator().manual_seed(seed)
        labels = data.splits["train"][1]
        self._steps = len(batches(len(labels), settings.batch_size, self._rng))
        loss = loss_function(
            settings, labels, len(data.info.labels), next(model.parameters()).device, data.info.kind
        )
        if teacher_logits is not None:
            loss = DistillationLoss(loss)
        self.step = train_step(model, mode, settings, loss, self._steps * settings.epochs)
        self._load_batch = batch_loader(
            data.splits["train"], spec, settings, self._generator, self.step.device
        )
        if teacher_logits is not None:
            self._load_batch = with_teacher(self._load_batch, teacher_logits, self.step.device)
        self._head_steps = round(settings.head_share * self._steps * settings.epochs)
        self._frozen = backbone_parameters(model) if self._head_steps else []
        self._backbone: Backbone | None = None
        self._is_inseparable = False  # the backbone cannot be separated from the classifier
        self._trains_on_features = False
        self._val_features: torch.Tensor | None = None
        self._best_weights = model.state_dict()

    @property
    def num_params(self) -> int:
        """Number of parameters, trained or not."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    @property
    def stopped_early(self) -> bool:
        """True if validation has not improved for as many epochs as the patience."""
        done = len(self.epochs)
        is_out = self._settings.is_out_of_patience(done, self.best_epoch)
        return 0 < done < self._settings.epochs and is_out

    @property
    def finished(self) -> bool:
        """True if there is no epoch left to train."""
        return self.stopped_early or len(self.epochs) >= self._settings.epochs

    def train_one_epoch(self, cost_tracker: CostTracker, progress: Progress) -> None:
        """Train one more epoch, and evaluate it on validation.

        Raises:
            ModelError: the loss is not finite, or the metric is not defined on the validation split.
        """
        images = len(self._data.splits["train"][1])
        size = self._settings.batch_size
        epoch = len(self.epochs) + 1
        steps_before = len(self.epochs) * self._steps
        self._freeze_backbone(steps_before)

        def on_step(done: int) -> None:
            self._freeze_backbone(steps_before + done)
            cost_tracker.tick(images if done == self._steps else done * size)
            progress(done, self._steps, epoch, self._best_rating()[0])

        cost_tracker.begin("training")
        self._compute_features(cost_tracker)
        parts = batches(images, size, self._rng)
        train_loss = train_epoch(self.step, self._settings, self._load_batch, parts, on_step)
        usage = cost_tracker.end()
        cost_tracker.begin("evaluation")
        logits = self._validate(cost_tracker)
        cost_tracker.end()
        self._add_epoch(self._epoch_record(epoch, train_loss, logits, usage))

    def _freeze_backbone(self, steps_done: int) -> None:
        """Keep the backbone as it is for the first steps, if so set; then train it, too."""
        is_frozen = steps_done < self._head_steps
        freeze(self._frozen, is_frozen)
        if not is_frozen:
            self._frozen = []

    def uses_features(self) -> bool:
        """True if only the classifier is trained, on images without augmentation.

        The outputs of the backbone are then the same in each epoch, and are computed once.
        """
        settings = self._settings
        is_fixed = settings.mode == "head" and settings.augment == "none"
        if self._backbone is None and is_fixed and not self._is_inseparable:
            sample = self._data.splits["train"][0][: settings.batch_size]
            self._backbone = frozen_backbone(self.model, self.mode, self._spec, sample)
            self._is_inseparable = self._backbone is None
        return self._backbone is not None

    def _compute_features(self, cost_tracker: CostTracker) -> None:
        """Train on the backbone's features from now on, if they never change."""
        if not self.uses_features() or self._trains_on_features:
            return
        assert self._backbone is not None
        pixels, labels = self._data.splits["train"]
        features = self._backbone.features(pixels, cost_tracker.tick)
        targets = torch.from_numpy(np.array(labels))
        device = self.step.device
        self._load_batch = lambda chosen: (features[chosen].to(device), targets[chosen].to(device))
        self.step.forward = self._backbone.head
        self._trains_on_features = True

    def _validate(self, cost_tracker: CostTracker) -> NDArray[np.float32]:
        pixels = self._data.splits["val"][0]
        if self._backbone is None:
            return predict(self.model, pixels, self._spec, self.mode, cost_tracker.tick)
        if self._val_features is None:
            self._val_features = self._backbone.features(pixels, cost_tracker.tick, exact=True)
        return self._backbone.logits(self._val_features)

    def _epoch_record(
        self, epoch: int, train_loss: float, logits: NDArray[np.float32], usage: Usage
    ) -> Epoch:
        """Return the record of an epoch, from its training loss and its logits on validation."""
        labels = self._data.splits["val"][1]
        info = self._data.info
        val_loss = _loss(logits, labels, info.kind)
        if not math.isfinite(train_loss) or not math.isfinite(val_loss):
            raise ModelError(
                f"the loss became {train_loss} in training and {val_loss} on validation in epoch {epoch}. "
                f"Lower train.learning_rate ({self._settings.learning_rate})."
            )
        performance = metric_of(self._metric, info.positive_index, info.kind)(logits, labels)
        if math.isnan(performance):
            raise ModelError(
                f"{self._metric} is not defined on the validation split: all its images are of one class. "
                "Use another score.performance."
            )
        return Epoch(
            epoch=epoch,
            train_loss=train_loss,
            val_loss=val_loss,
            val_performance=performance,
            duration_s=usage.duration_s,
            energy_j=usage.energy.value,
        )

    def _add_epoch(self, epoch: Epoch) -> None:
        is_best = _rating(epoch) > self._best_rating() or self._is_first_kept(epoch)
        self.epochs = (*self.epochs, epoch)
        if is_best:
            self.best_epoch = epoch.epoch
            self._best_weights = _copy(self.model)

    def _is_first_kept(self, epoch: Epoch) -> bool:
        return epoch.epoch == self._settings.first_kept_epoch

    def _best_rating(self) -> tuple[float, float]:
        return _rating(self.epochs[self.best_epoch - 1]) if self.best_epoch else LOWEST_RATING

    def restore_best(self) -> nn.Module:
        """Return the model with the weights of its best epoch."""
        self.model.load_state_dict(self._best_weights)
        return self.model

    def state(self) -> dict[str, Any]:
        """Return everything that is needed to resume with bit-identical results."""
        device = self.step.device
        return {
            "model": dict(self.model.state_dict()),
            "best": None if self.best_epoch == len(self.epochs) else dict(self._best_weights),
            "step": self.step.state(),
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
            "order": self._rng.bit_generator.state,
            "augment": self._generator.get_state(),
        }

    def restore(self, state: dict[str, Any], epochs: tuple[Epoch, ...], best_epoch: int) -> None:
        """Continue from a state."""
        self.model.load_state_dict(state["model"])
        self.step.restore(state["step"])
        self.epochs = epochs
        self.best_epoch = best_epoch
        self._best_weights = state["best"] or _copy(self.model)
        torch.set_rng_state(state["torch"])
        if self.step.device.type == "cuda" and state["cuda"] is not None:
            torch.cuda.set_rng_state(state["cuda"], self.step.device)
        self._rng.bit_generator.state = state["order"]
        self._generator.set_state(state["augment"])


def _rating(epoch: Epoch) -> tuple[float, float]:
    return epoch.val_performance, -epoch.val_loss


def _copy(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def _loss(logits: NDArray[np.float32], labels: Labels, kind: TaskKind) -> float:
    return float(task_of(kind).loss()(torch.from_numpy(logits), torch.from_numpy(np.array(labels))))
