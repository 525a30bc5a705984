"""timm's own conversion of names: what it leaves out is not left out in silence."""

from __future__ import annotations

import pytest
import timm
import torch

from pepr_edge.train.models import build
from pepr_edge.train.weights.layers import Template
from pepr_edge.train.weights.load import layers_of
from pepr_edge.train.weights.timm_names import Converted, converted

StateDict = dict[str, torch.Tensor]


def weights(name: str, **options: object) -> StateDict:
    torch.manual_seed(3)
    state: StateDict = timm.create_model(name, **options).state_dict()
    return state


def convert(state: StateDict, name: str) -> Converted | None:
    template = Template(name, {})
    return converted(state, template, layers_of(build(name, template)))


@pytest.mark.parametrize(
    ("name", "extra"),
    [
        ("dla46_c", "attention.weight"),  # timm loads without checking what it does not know
        ("dla46_c", "level5.tree1.conv2.bias"),
        ("test_vit", "pre_logits.fc.weight"),  # its conversion drops them
    ],
)
def test_a_part_that_timm_would_leave_out_is_not_converted(name: str, extra: str) -> None:
    state = weights(name)
    assert convert(state, name) is not None
    assert convert({**state, extra: torch.ones(8)}, name) is None


@pytest.mark.parametrize("classes", [1000, 2])
def test_another_image_size_is_converted_with_a_note(classes: int) -> None:
    state = weights("test_vit", img_size=96, num_classes=classes)
    found = convert(state, "test_vit")
    assert found is not None
    assert found.notes == ("pos_embed resized from 1 x 37 x 64 to 1 x 101 x 64, as of square images",)
    assert torch.equal(found.tensors["head.weight"], state["head.weight"])
    assert torch.equal(found.tensors["blocks.0.attn.qkv.weight"], state["blocks.0.attn.qkv.weight"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "px"), [("maxvit_nano_rw_256", 128), ("coatnet_nano_rw_224", 128), ("test_vit", 96)]
)
def test_relative_positions_are_resized_for_a_model_of_another_size(name: str, px: int) -> None:
    state = weights(name, num_classes=2)
    template = Template(name, {"img_size": px})
    found = converted(state, template, layers_of(build(name, template)))
    assert found is not None
    assert all("resized from" in note for note in found.notes)
    assert found.notes


@pytest.mark.slow
def test_relative_positions_of_another_window_are_another_architecture() -> None:
    assert convert(weights("swin_s3_tiny_224"), "swin_tiny_patch4_window7_224") is None


@pytest.mark.slow
def test_buffers_of_older_files_are_no_part_of_the_network() -> None:
    """levit_128s of older versions of timm and of its authors has indices of its attention biases."""
    state = weights("levit_128s")
    for name in [name for name in state if name.endswith("attention_biases")]:
        state[name.replace("attention_biases", "attention_bias_idxs")] = torch.zeros(4, dtype=torch.int64)
    found = convert(state, "levit_128s")
    assert found is not None
    assert found.notes == ()


def test_patches_of_another_size_are_another_architecture() -> None:
    assert convert(weights("test_vit", patch_size=32), "test_vit") is None


def test_a_missing_part_is_not_converted() -> None:
    state = weights("dla46_c")
    del state["level5.tree1.conv1.weight"]
    assert convert(state, "dla46_c") is None


@pytest.mark.slow
@pytest.mark.parametrize("classes", [1000, 2])
def test_the_auxiliary_classifier_of_inception_is_left_out_and_said(classes: int) -> None:
    plain = weights("inception_v3", num_classes=classes)
    state = weights("inception_v3", num_classes=classes, aux_logits=True)
    found = convert(state, "inception_v3")
    assert found is not None
    assert found.tensors.keys() == plain.keys()
    left = len(state) - len(plain)
    assert found.notes == (f"{left} tensors of training alone left out",)
    assert torch.equal(found.tensors["fc.weight"], state["fc.weight"])
