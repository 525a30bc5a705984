from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from pepr_edge.errors import ModelError
from pepr_edge.records import Candidate
from pepr_edge.run_dir.store import sha256_file
from pepr_edge.train.models import create, create_with_weights, head_parameters, normalisation, restore

NAME = "test_efficientnet"


def candidate(**changes: Any) -> Candidate:
    values = {"architecture": NAME, "image_size_px": 32, "in_channels": 1, "num_classes": 2}
    return Candidate.model_validate({**values, **changes})


def other() -> dict[str, torch.Tensor]:
    """Weights of another training, including batch statistics."""
    torch.manual_seed(7)
    model = timm.create_model(NAME, in_chans=1, num_classes=2)
    return {
        key: torch.rand_like(value) if value.is_floating_point() else value + 5
        for key, value in model.state_dict().items()
    }


@pytest.mark.parametrize(("channels", "classes"), [(1, 2), (3, 7)])
def test_from_scratch_with_our_channels_and_classes(channels: int, classes: int) -> None:
    model = create(candidate(in_channels=channels, num_classes=classes))
    assert model(torch.zeros(2, channels, 32, 32)).shape == (2, classes)
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize(
    ("given", "near"), [("mobilenetv2_05", "mobilenetv2_050"), ("resnet18dd", "resnet18d")]
)
def test_the_error_for_an_unknown_architecture_suggests_the_most_similar(given: str, near: str) -> None:
    with pytest.raises(ModelError, match=rf"^{given}: unknown architecture\. Did you mean '{near}'\?"):
        create(candidate(architecture=given))


def test_there_is_no_suggestion_without_a_similar_architecture() -> None:
    with pytest.raises(ModelError, match=r"^zzzzzzzz: unknown architecture\. `pepr-edge zoo list`"):
        create(candidate(architecture="zzzzzzzz"))


@pytest.mark.parametrize(("architecture", "px"), [("bat_resnext26ts", 40), ("pvt_v2_b0", 16)])
def test_a_size_that_the_architecture_cannot_take_is_an_error_at_once(architecture: str, px: int) -> None:
    with pytest.raises(ModelError, match=rf"^{architecture}: cannot take images of {px} px .+image_size_px"):
        create(candidate(architecture=architecture, image_size_px=px))


@pytest.mark.parametrize("architecture", ["eca_botnext26ts_256", "crossvit_9_240"])
def test_an_architecture_with_a_fixed_size_is_built_for_the_wanted_size(architecture: str) -> None:
    model = create(candidate(architecture=architecture, image_size_px=64))
    assert model(torch.zeros(1, 1, 64, 64)).shape == (1, 2)


@pytest.mark.parametrize(("architecture", "is_redrawn"), [("mobilenetv2_050", True), ("resnet14t", False)])
def test_a_classifier_begins_with_small_logits(architecture: str, is_redrawn: bool) -> None:
    """With two classes, timm's classifier of a MobileNet begins with logits of 5."""
    chosen = candidate(architecture=architecture)
    torch.manual_seed(0)
    plain = create(chosen).get_classifier().weight  # type: ignore[operator]
    torch.manual_seed(0)
    small = create(chosen, small_logits=True).get_classifier()  # type: ignore[operator]
    assert torch.equal(plain, small.weight) != is_redrawn
    assert float(small.weight.detach().std()) < 0.02
    if is_redrawn:
        assert float(plain.detach().std()) > 0.3
        assert not small.bias.any()


def test_the_head_is_the_classifier_only() -> None:
    model = create(candidate())
    assert [tuple(parameter.shape) for parameter in head_parameters(model)] == [(2, model.num_features), (2,)]


def test_a_model_without_a_classifier_has_no_head(tiny: Callable[..., nn.Module]) -> None:
    model = tiny()
    model.fc = nn.Identity()
    with pytest.raises(ModelError, match=r'Use train\.mode = "full"'):
        head_parameters(model)


def test_pretrained_weights_have_their_own_normalisation() -> None:
    assert normalisation(timm.create_model("test_vit"), 3) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    imagenet = create(candidate(architecture="mobilenetv2_050", in_channels=3))
    assert normalisation(imagenet, 3) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    mean, std = normalisation(imagenet, 1)
    assert mean == pytest.approx((0.449,))
    assert std == pytest.approx((0.226,))


def test_a_restored_checkpoint_does_not_depend_on_the_seed(tmp_path: Path) -> None:
    save_file(other(), tmp_path / "checkpoint.safetensors")
    images = torch.randn(3, 1, 32, 32)
    logits = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        with torch.no_grad():
            logits.append(restore(candidate(), tmp_path / "checkpoint.safetensors").eval()(images))
    assert torch.equal(*logits)


def test_weights_that_changed_since_the_run_began_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file(other(), path)
    begun = candidate(weights="file", weights_sha256="0" * 64)
    with pytest.raises(ModelError, match=r"w\.safetensors.+began with.+--fresh"):
        create_with_weights(begun, path)
    same = candidate(weights="file", weights_sha256=sha256_file(path))
    model, loaded = create_with_weights(same, path)
    assert loaded.match == "names"
    assert torch.equal(model.state_dict()["classifier.bias"], other()["classifier.bias"])


@pytest.mark.parametrize(
    ("architecture", "mean"),
    [("gluon_resnet34_v1b", 0.485), ("tf_efficientnet_lite0", 0.5), ("resnet18.a1_in1k", 0.485)],
)
def test_a_model_with_weights_has_the_configuration_of_the_weights(architecture: str, mean: float) -> None:
    model = create(candidate(architecture=architecture, weights="pretrained", in_channels=3))
    assert normalisation(model, 3)[0][0] == mean
