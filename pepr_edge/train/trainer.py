"""The course of a training: epoch after epoch, each judged on validation, until the last or until nothing is gained any more."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pepr_edge.data import Dataset
from pepr_edge.energy.meter import Use
from pepr_edge.errors import ModelError
from pepr_edge.recipe import Train
from pepr_edge.records import Epoch, Preprocess
from pepr_edge.scoring.metrics import metric as metric_of
from pepr_edge.train.cost_tracker import CostTracker
from pepr_edge.train.features import Backbone, frozen
from pepr_edge.train.loop import (
    Labels,
    batch_loader,
    batches,
    loss_function,
    predict,
    train_epoch,
    train_step,
)
from pepr_edge.train.step import Mode

Progress = Callable[
    [int, int, int, float], None
]  # step, steps in an epoch, epoch, best validation performance so far (-inf before)


class Trainer:
    """Holds a training open: the model, its optimiser, the sources of randomness, and what came of the epochs so far.

    The best epoch has the best validation performance, and among equals the least validation loss.
    """

    def __init__(
        self,
        model: nn.Module,
        mode: Mode,
        data: Dataset,
        spec: Preprocess,
        settings: Train,
        metric: str,
        seed: int,
    ) -> None:
        """Begin.

        Args:
            model: on its device and in the layout of the mode; trained in place.
            mode, settings: how to train.
            data, spec: on what.
            metric: by which an epoch is judged.
            seed: of dropout, the order of the images and their augmentation.
        """
        torch.manual_seed(seed)  # for dropout: how much the probe has drawn depends on the machine
        self.model, self.mode, self.epochs, self.best_epoch = model, mode, tuple[Epoch, ...](), 0
        self._data, self._spec, self._settings, self._metric = data, spec, settings, metric
        self._rng, self._generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
        labels = data.splits["train"][1]
        self._steps = len(batches(len(labels), settings.batch_size, self._rng))
        loss = loss_function(settings, labels, len(data.info.labels), next(model.parameters()).device)
        self.step = train_step(model, mode, settings, loss, self._steps * settings.epochs)
        self._draw = batch_loader(data.splits["train"], spec, settings, self._generator, self.step.device)
        self._backbone: Backbone | None = None
        self._entire = self._frozen = (
            False  # whether the model cannot be taken apart; whether its features are there
        )
        self._seen: torch.Tensor | None = None
        self._best = model.state_dict()

    @property
    def num_params(self) -> int:
        """Number of parameters, trained or not."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    @property
    def stopped_early(self) -> bool:
        """Whether validation has gained nothing for as long as the patience."""
        return (
            0 < len(self.epochs) < self._settings.epochs
            and len(self.epochs) - self.best_epoch >= self._settings.patience
        )

    @property
    def over(self) -> bool:
        """Whether there is no epoch left to train."""
        return self.stopped_early or len(self.epochs) >= self._settings.epochs

    def advance(self, cost_tracker: CostTracker, progress: Progress) -> None:
        """Train one epoch more, and judge it.

        Raises:
            ModelError: the loss is no longer a number, or the metric is not defined on the validation split.
        """
        images, labels = len(self._data.splits["train"][1]), self._data.splits["val"][1]
        epoch, size = len(self.epochs) + 1, self._settings.batch_size

        def told(done: int) -> None:
            cost_tracker.tick(images if done == self._steps else done * size)
            progress(done, self._steps, epoch, self._reached()[0])

        cost_tracker.begin("training")
        self._freeze(cost_tracker)
        train_loss = train_epoch(
            self.step, self._settings, self._draw, batches(images, size, self._rng), told
        )
        use = cost_tracker.end()
        cost_tracker.begin("evaluation")
        logits = self._validate(cost_tracker)
        cost_tracker.end()
        self._judge(_epoch(epoch, train_loss, logits, labels, self._metric, use, self._settings))

    def keeps_features(self) -> bool:
        """Whether the backbone stays as it is, and so do the images: what reaches the classifier is then worked out once."""
        if (
            self._backbone is None
            and self._settings.mode == "head"
            and self._settings.augment == "none"
            and not self._entire
        ):
            self._backbone = frozen(
                self.model, self.mode, self._spec, self._data.splits["train"][0][: self._settings.batch_size]
            )
            self._entire = self._backbone is None
        return self._backbone is not None

    def _freeze(self, cost_tracker: CostTracker) -> None:
        if not self.keeps_features() or self._frozen:
            return
        assert self._backbone is not None
        pixels, labels = self._data.splits["train"]
        features, targets, device = (
            self._backbone.features(pixels, cost_tracker.tick),
            torch.from_numpy(np.array(labels)),
            self.step.device,
        )
        self._draw = lambda chosen: (features[chosen].to(device), targets[chosen].to(device))
        self.step.forward = self._backbone.head
        self._frozen = True

    def _validate(self, cost_tracker: CostTracker) -> NDArray[np.float32]:
        pixels = self._data.splits["val"][0]
        if self._backbone is None:
            return predict(self.model, pixels, self._spec, self.mode, cost_tracker.tick)
        if self._seen is None:
            self._seen = self._backbone.features(pixels, cost_tracker.tick, exact=True)
        return self._backbone.logits(self._seen)

    def _judge(self, epoch: Epoch) -> None:
        best = _rating(epoch) > self._reached()
        self.epochs = (*self.epochs, epoch)
        if best:
            self.best_epoch, self._best = epoch.epoch, _copy(self.model)

    def _reached(self) -> tuple[float, float]:
        return _rating(self.epochs[self.best_epoch - 1]) if self.best_epoch else (-math.inf, -math.inf)

    def to_best(self) -> nn.Module:
        """The model with the weights of its best epoch."""
        self.model.load_state_dict(self._best)
        return self.model

    def state(self) -> dict[str, Any]:
        """All that it takes to go on from here, to the bit."""
        device = self.step.device
        return {
            "model": dict(self.model.state_dict()),
            "best": None if self.best_epoch == len(self.epochs) else dict(self._best),
            "step": self.step.state(),
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
            "order": self._rng.bit_generator.state,
            "augment": self._generator.get_state(),
        }

    def restore(self, state: dict[str, Any], epochs: tuple[Epoch, ...], best_epoch: int) -> None:
        """Go on from a state."""
        self.model.load_state_dict(state["model"])
        self.step.restore(state["step"])
        self.epochs, self.best_epoch = epochs, best_epoch
        self._best = state["best"] or _copy(self.model)
        torch.set_rng_state(state["torch"])
        if self.step.device.type == "cuda" and state["cuda"] is not None:
            torch.cuda.set_rng_state(state["cuda"], self.step.device)
        self._rng.bit_generator.state = state["order"]
        self._generator.set_state(state["augment"])


def _rating(epoch: Epoch) -> tuple[float, float]:
    return epoch.val_performance, -epoch.val_loss


def _copy(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def _epoch(
    epoch: int,
    train_loss: float,
    logits: NDArray[np.float32],
    labels: Labels,
    metric: str,
    use: Use,
    settings: Train,
) -> Epoch:
    """The record of an epoch, from its training loss and its logits on validation."""
    val_loss = float(
        nn.functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(np.array(labels)))
    )
    if not math.isfinite(train_loss) or not math.isfinite(val_loss):
        raise ModelError(
            f"the loss became {train_loss} in training and {val_loss} on validation in epoch {epoch}. "
            f"Lower train.learning_rate ({settings.learning_rate})."
        )
    performance = metric_of(metric)(logits, labels)
    if math.isnan(performance):
        raise ModelError(
            f"{metric} is not defined on the validation split: all its images are of one class. Use another score.performance."
        )
    return Epoch(
        epoch=epoch,
        train_loss=train_loss,
        val_loss=val_loss,
        val_performance=performance,
        duration_s=use.duration_s,
        energy_j=use.energy.value,
    )
