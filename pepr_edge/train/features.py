"""Cached features for mode "head", since a frozen backbone returns the same ones in every epoch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pepr_edge.images.preprocess import to_tensor
from pepr_edge.records import Preprocess
from pepr_edge.train.loop import EVALUATION_BATCH, Pixels
from pepr_edge.train.step import ComputeMode

# Logits computed from features may differ from the model's own by rounding only.
TOLERANCE = 1e-3


class Backbone:
    """A model of which only the classifier is trained; its features are the inputs of the classifier."""

    def __init__(self, model: nn.Module, classifier: nn.Module, mode: ComputeMode, spec: Preprocess) -> None:
        self._model = model
        self._classifier = classifier
        self._mode = mode
        self._spec = spec

    def features(
        self, pixels: Pixels, tick: Callable[[], None] = lambda: None, exact: bool = False
    ) -> torch.Tensor:
        """Return the inputs of the classifier for a whole split, on the CPU.

        Args:
            pixels: uint8, shape (n, px, px, channels).
            tick: called after each batch.
            exact: compute in float32, as the model will be deployed; else in the precision of the training
                mode.
        Returns:
            Shape (n, ...).
        """
        features: list[torch.Tensor] = []
        hook = self._classifier.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0].cpu()))
        try:
            for start in range(0, len(pixels), EVALUATION_BATCH):
                self._forward(pixels[start : start + EVALUATION_BATCH], exact)
                tick()
        finally:
            hook.remove()
        return torch.cat(features)

    def _device(self) -> torch.device:
        return next(self._model.parameters()).device

    def _forward(self, pixels: Pixels, exact: bool) -> torch.Tensor:
        device = self._device()
        self._model.eval()
        images = torch.from_numpy(to_tensor(pixels, self._spec)).to(device)
        mode = ComputeMode(self._mode.layout) if exact else self._mode
        with torch.no_grad(), mode.autocast(device):
            logits: torch.Tensor = self._model(mode.arrange(images))
        return logits

    def head(self, features: torch.Tensor) -> torch.Tensor:
        """Return the logits of features, shape (n, classes)."""
        logits: torch.Tensor = self._classifier(features)
        return logits.flatten(1)

    def logits(self, features: torch.Tensor) -> NDArray[np.float32]:
        """Return the logits of the exact features of a whole split, shape (n, classes)."""
        self._model.eval()
        with torch.inference_mode():
            return self.head(features.to(self._device())).cpu().numpy()

    def is_separable(self, pixels: Pixels) -> bool:
        """True if the classifier is the last layer, so that logits can be computed from its inputs."""
        with torch.no_grad():
            whole = self._forward(pixels, exact=True)
            from_features = self.head(self.features(pixels, exact=True).to(self._device()))
        if whole.shape != from_features.shape:
            return False
        difference = (whole - from_features).abs().max()
        return bool(difference <= TOLERANCE * whole.abs().max().clamp(min=1.0))


def frozen_backbone(model: nn.Module, mode: ComputeMode, spec: Preprocess, sample: Pixels) -> Backbone | None:
    """Return the backbone of a model of which only the classifier is trained; None if it cannot be separated.

    Args:
        model: on its device, in the layout of the mode.
        mode: in which the model is trained.
        spec: how pixels become the input.
        sample: a few images, to test the separation.
    """
    classifier = model.get_classifier()  # type: ignore[operator]
    if not isinstance(classifier, nn.Module):
        return None  # several classifiers, whose outputs the model combines
    backbone = Backbone(model, classifier, mode, spec)
    try:
        return backbone if backbone.is_separable(sample) else None
    except (RuntimeError, IndexError):
        return None
