from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import timm
import torch
from test_train_trainer import SPEC, settings, trained
from torch import nn

from pepr_edge.data import Dataset
from pepr_edge.train import trainer
from pepr_edge.train.features import frozen_backbone
from pepr_edge.train.loop import predict
from pepr_edge.train.step import ComputeMode

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 1), dtype=np.uint8)


def untrained(name: str) -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model(name, num_classes=3, in_chans=1)


@pytest.mark.parametrize(
    "name", ["resnet10t", "mobilenetv3_small_050", "efficientvit_b0", "test_vit", "test_convnext"]
)
@pytest.mark.parametrize("mode", [ComputeMode(), ComputeMode("channels_last", "bfloat16")])
def test_logits_from_features_equal_those_from_images(name: str, mode: ComputeMode) -> None:
    model = mode.place(untrained(name).eval(), torch.device("cpu"))
    if name == "test_vit":
        model = timm.create_model(name, num_classes=3, in_chans=1, img_size=32)
    backbone = frozen_backbone(model, mode, SPEC, PIXELS)
    assert backbone is not None
    actual = backbone.logits(backbone.features(PIXELS, exact=True))
    assert np.allclose(actual, predict(model, PIXELS, SPEC, mode), atol=1e-3)


class Joined(nn.Module):
    """A model whose classifier is not its last layer (1 classifier), or that has two of them."""

    def __init__(self, classifiers: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(1024, 3) for _ in range(classifiers))

    def get_classifier(self) -> Any:
        return self.heads[0] if len(self.heads) == 1 else tuple(self.heads)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return 2 * sum(head(images.flatten(1)) for head in self.heads)  # type: ignore[no-any-return]


@pytest.mark.parametrize("classifiers", [1, 2])
def test_a_model_that_cannot_be_separated_has_no_backbone(classifiers: int) -> None:
    assert frozen_backbone(Joined(classifiers), ComputeMode(), SPEC, PIXELS) is None


def test_the_backbone_sees_each_image_once(
    tiny: Callable[..., nn.Module], data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = len(data.splits["train"][1]) + len(data.splits["val"][1])

    def images_seen(augment: str) -> tuple[int, nn.Module, Any]:
        model = tiny()
        seen: list[int] = []
        first = next(module for module in model.modules() if isinstance(module, nn.Conv2d))
        first.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
        actual = trained(model, data, settings(mode="head", epochs=3, augment=augment))
        return sum(seen), model, actual

    once, model, actual = images_seen("none")
    assert images <= once <= images + 2 * 16  # a batch more, to test that the model can be separated
    assert images_seen("light")[0] == 3 * images
    monkeypatch.setattr(trainer, "frozen_backbone", lambda *_: None)
    often, whole, expected = images_seen("none")
    assert often == 3 * images
    for ours, theirs in zip(model.state_dict().values(), whole.state_dict().values(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-4)
    assert [epoch.train_loss for epoch in actual.epochs] == pytest.approx(
        [epoch.train_loss for epoch in expected.epochs], rel=1e-3
    )
