"""Mode "head" for less: what the frozen backbone makes of an image is the same in every epoch, so it is worked out once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pepr_edge.images.preprocess import to_tensor
from pepr_edge.records import Preprocess
from pepr_edge.train.loop import EVALUATION_BATCH, Pixels
from pepr_edge.train.step import Mode

# Logits by way of the features may differ from the model's own by rounding alone.
TOLERANCE = 1e-3


class Backbone:
    """Holds a model whose classifier alone is trained, and takes what reaches that classifier."""

    def __init__(self, model: nn.Module, classifier: nn.Module, mode: Mode, spec: Preprocess) -> None:
        self._model, self._classifier, self._mode, self._spec = model, classifier, mode, spec

    def features(
        self, pixels: Pixels, tick: Callable[[], None] = lambda: None, exact: bool = False
    ) -> torch.Tensor:
        """The classifier's inputs for a whole split, on the CPU.

        Args:
            pixels: uint8, shape (n, px, px, channels).
            tick: called after each batch.
            exact: in float32, as the model will be deployed; else in the precision of the mode, as it is trained.
        Returns:
            Shape (n, ...).
        """
        found: list[torch.Tensor] = []
        hook = self._classifier.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0].cpu()))
        try:
            for start in range(0, len(pixels), EVALUATION_BATCH):
                self._forward(pixels[start : start + EVALUATION_BATCH], exact)
                tick()
        finally:
            hook.remove()
        return torch.cat(found)

    def _forward(self, pixels: Pixels, exact: bool) -> torch.Tensor:
        device = next(self._model.parameters()).device
        self._model.eval()
        images = torch.from_numpy(to_tensor(pixels, self._spec)).to(device)
        mode = Mode(self._mode.layout) if exact else self._mode
        with torch.no_grad(), mode.autocast(device):
            logits: torch.Tensor = self._model(mode.arrange(images))
        return logits

    def head(self, features: torch.Tensor) -> torch.Tensor:
        """Logits of features, shape (n, classes)."""
        logits: torch.Tensor = self._classifier(features)
        return logits.flatten(1)

    def logits(self, features: torch.Tensor) -> NDArray[np.float32]:
        """Logits of a whole split's exact features."""
        device = next(self._model.parameters()).device
        self._model.eval()
        with torch.inference_mode():
            return self.head(features.to(device)).cpu().numpy()

    def agrees(self, pixels: Pixels) -> bool:
        """Whether the classifier is the last that the model does, so that its inputs are enough."""
        device = next(self._model.parameters()).device
        with torch.no_grad():
            own, ours = (
                self._forward(pixels, exact=True),
                self.head(self.features(pixels, exact=True).to(device)),
            )
        return own.shape == ours.shape and bool(
            (own - ours).abs().max() <= TOLERANCE * own.abs().max().clamp(min=1.0)
        )


def frozen(model: nn.Module, mode: Mode, spec: Preprocess, some: Pixels) -> Backbone | None:
    """The backbone of a model whose classifier alone is trained; None where it cannot be taken apart from it.

    Args:
        model: on its device, in the layout of the mode.
        some: a few images, to try it on.
    """
    classifier = model.get_classifier()  # type: ignore[operator]
    if not isinstance(classifier, nn.Module):
        return None  # several of them, whose answers the model joins
    backbone = Backbone(model, classifier, mode, spec)
    try:
        return backbone if backbone.agrees(some) else None
    except (RuntimeError, IndexError):
        return None
