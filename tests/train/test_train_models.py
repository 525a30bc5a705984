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
from pepr_edge.train.models import create, head_parameters, normalisation, restore

Write = Callable[[Any, str], Path]
NAME = "test_efficientnet"
SUFFIXES = [".safetensors", ".pth"]


def candidate(**changes: Any) -> Candidate:
    values = {"architecture": NAME, "image_size_px": 32, "in_channels": 1, "num_classes": 2}
    return Candidate.model_validate({**values, **changes})


def other(in_chans: int = 3, num_classes: int = 10, name: str = NAME) -> dict[str, torch.Tensor]:
    """Weights of another training, including batch statistics."""
    torch.manual_seed(7)
    model = timm.create_model(name, in_chans=in_chans, num_classes=num_classes)
    return {
        key: torch.rand_like(value) if value.is_floating_point() else value + 5
        for key, value in model.state_dict().items()
    }


@pytest.mark.parametrize(("channels", "classes"), [(1, 2), (3, 7)])
def test_from_scratch_with_our_channels_and_classes(channels: int, classes: int) -> None:
    model = create(candidate(in_channels=channels, num_classes=classes))
    assert model(torch.zeros(2, channels, 32, 32)).shape == (2, classes)
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(("channels", "classes"), [(3, 10), (1, 2), (1, 10), (3, 2)])
def test_the_weights_of_a_file_are_loaded(
    weights_file: Write, suffix: str, channels: int, classes: int
) -> None:
    state = other()
    torch.manual_seed(0)
    actual = create(
        candidate(in_channels=channels, num_classes=classes), str(weights_file(state, suffix))
    ).state_dict()
    first, head = "conv_stem.weight", ("classifier.weight", "classifier.bias")
    assert actual.keys() == state.keys()
    for name in actual.keys() - {first, *head}:
        assert torch.equal(actual[name], state[name]), name
    torch.testing.assert_close(
        actual[first], state[first] if channels == 3 else state[first].sum(1, keepdim=True)
    )
    if classes == 10:
        assert all(torch.equal(actual[name], state[name]) for name in head)
    else:
        torch.manual_seed(0)
        fresh = create(candidate(in_channels=channels, num_classes=classes)).state_dict()
        assert all(torch.equal(actual[name], fresh[name]) for name in head)


def test_a_training_checkpoint_that_contains_a_state_dict_is_loaded(weights_file: Write) -> None:
    state = other(1, 2)
    actual = create(candidate(), str(weights_file({"epoch": 3, "state_dict": state}, ".pth"))).state_dict()
    assert all(torch.equal(actual[name], state[name]) for name in state)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_weights_of_another_architecture_are_refused(weights_file: Write, suffix: str) -> None:
    path = weights_file(other(name="test_resnet"), suffix)
    with pytest.raises(ModelError, match=r"architecture: \d+ tensors .+ \d+ are missing") as caught:
        create(candidate(), str(path))
    assert str(path) in str(caught.value)


def test_weights_that_lack_one_tensor_are_refused(weights_file: Write) -> None:
    state = other(1, 2)
    del state["bn1.weight"]
    with pytest.raises(ModelError, match=r"0 tensors .+ 1 are missing .+'bn1\.weight'"):
        create(candidate(), str(weights_file(state, ".pth")))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_torn_file_gives_an_error_on_one_line(weights_file: Write, suffix: str, share: float) -> None:
    path = weights_file(other(1, 2), suffix)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ModelError, match=r"not a weights file") as caught:
        create(candidate(), str(path))
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


class Code:
    """Unpickling it creates a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Path.mkdir, (self.folder,)


def test_code_in_a_weights_file_is_not_run(weights_file: Write, tmp_path: Path) -> None:
    made = tmp_path / "made"
    path = weights_file({**other(1, 2), "extra": Code(made)}, ".pth")
    with pytest.raises(ModelError, match="not a weights file"):
        create(candidate(), str(path))
    assert not made.exists()
    # The test file is dangerous indeed.
    torch.load(path, weights_only=False)
    assert made.is_dir()


@pytest.mark.parametrize("content", [[1, 2], {"a": 1}, {"state_dict": 3}, torch.zeros(3)])
def test_the_error_for_a_file_without_a_state_dict_says_how_to_make_one(
    weights_file: Write, content: object
) -> None:
    with pytest.raises(ModelError, match=r"torch\.save"):
        create(candidate(), str(weights_file(content, ".pt")))


def test_the_error_for_a_missing_weights_file_names_the_choices(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r'none\.pth: no such weights file.+"pretrained", "scratch"'):
        create(candidate(), str(tmp_path / "none.pth"))


def test_pretrained_weights_without_a_network_give_an_error_on_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match=rf"^{NAME}: its pretrained weights .+internet") as caught:
        create(candidate(), "pretrained")
    assert "\n" not in str(caught.value)
    assert 'candidates.weights = "file.safetensors"' in str(caught.value)


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
    save_file(other(1, 2), tmp_path / "checkpoint.safetensors")
    images = torch.randn(3, 1, 32, 32)
    logits = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        with torch.no_grad():
            logits.append(restore(candidate(), tmp_path / "checkpoint.safetensors").eval()(images))
    assert torch.equal(*logits)
