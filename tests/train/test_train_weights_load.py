"""Models that begin with a weights file: what timm's own loading gives, and what it does not read."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.utils.model import reparameterize_model
from torch import nn

from pepr_edge.errors import ModelError
from pepr_edge.records import Candidate
from pepr_edge.train.models import create, create_with_weights
from pepr_edge.train.weights.finding import pretrained_of, timm_name
from pepr_edge.train.weights.layers import Template
from pepr_edge.train.weights.load import fit, layers_of, load_weights
from pepr_edge.train.weights.reading import read_weights
from pepr_edge.zoo import architectures

Write = Callable[[Any, str], Path]
NAME = "test_efficientnet"
FIRST, HEAD = "conv_stem.weight", ("classifier.weight", "classifier.bias")
SMALL = 11_000_000  # parameters of the architectures that are compared with timm's own loading


def candidate(**changes: Any) -> Candidate:
    values = {
        "architecture": NAME,
        "image_size_px": 32,
        "weights": "file",
        "in_channels": 1,
        "num_classes": 2,
    }
    return Candidate.model_validate({**values, **changes})


def built(name: str, **options: Any) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = timm.create_model(name, **options)
    assert isinstance(model, nn.Module)
    return model


def other(name: str = NAME, **options: Any) -> dict[str, torch.Tensor]:
    """Weights of another training, including batch statistics."""
    torch.manual_seed(7)
    return {
        key: torch.rand_like(value) if value.is_floating_point() else value + 5
        for key, value in built(name, **options).state_dict().items()
    }


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize(("channels", "classes"), [(3, 10), (1, 2), (1, 10), (3, 2)])
def test_the_weights_of_a_file_are_loaded(
    weights_file: Write, suffix: str, channels: int, classes: int
) -> None:
    state = other(num_classes=10)
    torch.manual_seed(0)
    path = weights_file(state, suffix)
    model, loaded = create_with_weights(candidate(in_channels=channels, num_classes=classes), path)
    actual = model.state_dict()
    assert loaded.match == "names"
    assert actual.keys() == state.keys()
    for name in actual.keys() - {FIRST, *HEAD}:
        assert torch.equal(actual[name], state[name]), name
    torch.testing.assert_close(
        actual[FIRST], state[FIRST] if channels == 3 else state[FIRST].sum(1, keepdim=True)
    )
    if classes == 10:
        assert all(torch.equal(actual[name], state[name]) for name in HEAD)
    else:
        torch.manual_seed(0)
        fresh = create(candidate(in_channels=channels, num_classes=classes)).state_dict()
        assert all(torch.equal(actual[name], fresh[name]) for name in HEAD)


def test_grey_weights_give_the_same_answers_for_grey_images_in_three_channels(weights_file: Write) -> None:
    path = weights_file(other(in_chans=1, num_classes=2), ".pth")
    images = torch.rand(2, 1, 32, 32)
    grey, _ = create_with_weights(candidate(), path)
    colour, _ = create_with_weights(candidate(in_channels=3), path)
    with torch.no_grad():
        expected = grey.eval()(images)
        actual = colour.eval()(images.repeat(1, 3, 1, 1))
    torch.testing.assert_close(actual, expected)


def test_half_a_classifier_is_not_loaded(weights_file: Write) -> None:
    """Its other half would be random."""
    state = other(num_classes=2)
    del state["classifier.weight"]
    loaded, _ = create_with_weights(candidate(in_channels=3), weights_file(state, ".pth"))
    assert not torch.equal(loaded.state_dict()["classifier.bias"], state["classifier.bias"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda key, value: torch.zeros_like(value), "all weights are zero"),
        (lambda key, value: -value - 1 if key.endswith("running_var") else value, "negative variance"),
    ],
)
def test_numbers_that_no_training_gives_are_refused(weights_file: Write, change: Any, words: str) -> None:
    state = {key: change(key, value) for key, value in other().items()}
    with pytest.raises(ModelError, match=words):
        create_with_weights(candidate(), weights_file(state, ".safetensors"))


@pytest.mark.parametrize("convert", [lambda value: (value * 100).to(torch.int8), lambda value: value > 0.5])
def test_whole_numbers_are_refused_before_timm_converts_them(weights_file: Write, convert: Any) -> None:
    state = {key: convert(value) for key, value in other().items()}
    for suffix in (".pth", ".safetensors"):
        with pytest.raises(ModelError, match="whole numbers"):
            create_with_weights(candidate(), weights_file(state, suffix))


def test_a_file_that_was_imported_for_another_architecture_is_refused(tmp_path: Path) -> None:
    """Its shapes may be the same, and the padding another."""
    path = tmp_path / "w.safetensors"
    metadata = {"made_by": "pepr_edge", "architecture": "test_efficientnet_gn.r160_in1k"}
    save_file(other(), path, metadata)
    with pytest.raises(ModelError, match=r"imported for test_efficientnet_gn.+--architecture test_eff"):
        create_with_weights(candidate(), path)
    save_file(other(), path, {**metadata, "architecture": f"{NAME}.r160_in1k"})
    create_with_weights(candidate(), path)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("found", [2, 4, 6, 9])
def test_weights_for_other_than_grey_and_colour_images_are_refused(
    weights_file: Write, channels: int, found: int
) -> None:
    with pytest.raises(ModelError, match=f"first layer is for {found} channels, expected 1 or 3"):
        create_with_weights(candidate(in_channels=channels), weights_file(other(in_chans=found), ".pth"))


def test_a_checkpoint_of_a_training_script_is_loaded(weights_file: Write) -> None:
    state = other(in_chans=1, num_classes=2)
    content = {"epoch": 3, "state_dict": {f"module._orig_mod.{name}": value for name, value in state.items()}}
    model, loaded = create_with_weights(candidate(), weights_file(content, ".pth"))
    assert loaded.match == "names"
    assert all(torch.equal(model.state_dict()[name], state[name]) for name in state)


def test_other_names_are_assigned_by_order(weights_file: Write) -> None:
    state = other(in_chans=1, num_classes=2)
    renamed = {f"encoder.body_{name}": value for name, value in state.items()}
    model, loaded = create_with_weights(candidate(), weights_file(renamed, ".pth"))
    assert loaded.match == "order"
    assert all(torch.equal(model.state_dict()[name], state[name]) for name in state)


def test_safetensors_with_other_names_are_refused_as_they_keep_no_order(weights_file: Write) -> None:
    renamed = {f"encoder.body_{name}": value for name, value in other().items()}
    with pytest.raises(ModelError, match="safetensors keeps no order"):
        create_with_weights(candidate(), weights_file(renamed, ".safetensors"))


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_of_another_architecture_are_refused(weights_file: Write, suffix: str) -> None:
    path = weights_file(other("test_resnet"), suffix)
    with pytest.raises(ModelError, match=rf"another architecture than {NAME}.+\d+ missing") as caught:
        create_with_weights(candidate(), path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_incomplete_file_is_not_said_to_be_of_another_architecture(weights_file: Write) -> None:
    state = other(in_chans=1, num_classes=2)
    del state["bn1.weight"]
    with pytest.raises(ModelError, match=r"incomplete.+1 missing \(such as 'bn1\.weight'\)") as caught:
        create_with_weights(candidate(), weights_file(state, ".pth"))
    assert "another architecture" not in str(caught.value)


def test_a_pruned_model_is_named(weights_file: Write) -> None:
    state = other(num_classes=2)
    state["conv_stem.weight_orig"], state["conv_stem.weight_mask"] = (state.pop("conv_stem.weight"),) * 2
    with pytest.raises(ModelError, match=r"pruned model\. Call torch\.nn\.utils\.prune\.remove"):
        create_with_weights(candidate(in_channels=3), weights_file(state, ".pth"))


def test_the_deployed_form_is_named_as_such_for_its_own_architecture(weights_file: Write) -> None:
    path = weights_file(reparameterize_model(built("repvgg_a0")).state_dict(), ".pth")
    with pytest.raises(ModelError, match="weights of repvgg_a0 are of the deployed form"):
        load_weights(built("repvgg_a0"), Template("repvgg_a0", {}), 3, path)
    with pytest.raises(ModelError, match="another architecture than mobileone_s0"):
        load_weights(built("mobileone_s0"), Template("mobileone_s0", {}), 3, path)


def test_tensors_outside_the_model_are_said_also_where_timm_converts_or_order_counts(
    weights_file: Write,
) -> None:
    beside = {"projector.weight": torch.ones(2)}
    vit = {f"model.{name}": value for name, value in other("test_vit").items()}
    model = built("test_vit", img_size=96)
    file = read_weights(weights_file({**vit, **beside}, ".pth"))
    fitted = fit(file, layers_of(model), Template("test_vit", {"img_size": 96}), Path("x"))
    assert (fitted.match, fitted.notes[0]) == ("timm", "1 tensor outside 'model' left out")
    renamed = {f"model.{name.replace('classifier.', 'fc.')}": value for name, value in other().items()}
    file = read_weights(weights_file({**renamed, **beside}, ".pth"))
    fitted = fit(file, layers_of(built(NAME)), Template(NAME, {}), Path("x"))
    assert (fitted.match, fitted.notes[0]) == ("order", "1 tensor outside 'model' left out")


def test_a_larger_network_of_the_same_family_is_another_architecture(weights_file: Write) -> None:
    """Every tensor of a ResNet-18 is in a ResNet-34, with its name and shape."""
    path = weights_file(other("resnet34", num_classes=2), ".pth")
    with pytest.raises(ModelError, match="another architecture than resnet18"):
        create_with_weights(candidate(architecture="resnet18"), path)


def test_weights_for_another_image_size_are_converted_by_timm(weights_file: Write) -> None:
    model = built("test_vit", img_size=96, num_classes=2)
    path = weights_file(other("test_vit"), ".safetensors")
    assert load_weights(model, Template("test_vit", {"img_size": 96}), 3, path).match == "timm"
    expected = built(
        "test_vit",
        pretrained=True,
        pretrained_cfg_overlay={"state_dict": other("test_vit")},
        img_size=96,
        num_classes=2,
    ).state_dict()
    actual = model.state_dict()
    assert all(torch.equal(actual[name], expected[name]) for name in actual if not name.startswith("head."))


def test_what_timm_would_leave_random_is_refused(
    monkeypatch: pytest.MonkeyPatch, weights_file: Write
) -> None:
    """For some architectures timm loads what is there, and leaves the rest as it is."""
    state = other("test_vit")
    del state["blocks.0.norm1.weight"]
    original = nn.Module.load_state_dict

    def lenient(module: nn.Module, tensors: Any, strict: bool = True, assign: bool = False) -> Any:
        return original(module, tensors, strict=False, assign=assign)

    monkeypatch.setattr(nn.Module, "load_state_dict", lenient)
    model = built("test_vit", img_size=96, num_classes=2)
    with pytest.raises(ModelError, match="incomplete"):
        load_weights(model, Template("test_vit", {"img_size": 96}), 3, weights_file(state, ".pth"))
    assert nn.Module.load_state_dict is lenient


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, one in architectures().items() if one.num_params < SMALL])
def test_the_weights_are_as_timm_loads_them(name: str, tmp_path: Path) -> None:
    """For grey images and two classes, from weights for colour images and 1000 classes."""
    px = architectures()[name].check_px
    offered = pretrained_of(name)
    if offered is not None and offered.only_px is not None:
        px = offered.only_px
    state = other(timm_name(name))
    save_file(state, tmp_path / "w.safetensors")
    wanted = candidate(architecture=name, weights="pretrained", image_size_px=px)
    model, _ = create_with_weights(wanted, tmp_path / "w.safetensors")
    options = {"pretrained": True, "pretrained_cfg_overlay": {"state_dict": state}, "in_chans": 1}
    expected = built(timm_name(name), **options, num_classes=2)
    layers = layers_of(expected)
    for key, value in model.state_dict().items():
        if not layers.in_head(key):
            torch.testing.assert_close(value, layers.tensors[key], msg=key)
