"""The tensors of a file and the layers of an architecture: names, prefixes, order, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from made_weights import equal, layers, named, trained
from torch import nn

from pepr_edge.train.weights.fitting import Fitted, Misfit, by_names, by_order
from pepr_edge.train.weights.layers import Layers
from pepr_edge.train.weights.order import order_fault

HEAD_OF_TWO = {"0.weight": (8, 4), "0.bias": (8,), "3.weight": (5, 8), "3.bias": (5,)}


def test_what_is_beside_the_model_in_a_file_is_left_out_and_said() -> None:
    state = trained()
    file = {f"model.{name}": value for name, value in state.items()}
    found = named(by_names({**file, "criterion.weight": torch.ones(5)}, layers()))
    assert equal(found.tensors, state)
    assert found.notes == ("1 tensor outside 'model' left out",)


def test_a_loss_beside_a_model_without_prefix_is_left_out_and_said() -> None:
    state = trained()
    found = named(
        by_names({**state, "criterion.weight": torch.ones(5), "loss_fn.w": torch.ones(1)}, layers())
    )
    assert equal(found.tensors, state)
    assert found.notes == ("2 tensors beside the model left out",)


@pytest.mark.parametrize(
    "name", ["neck.weight", "blocks.2.conv1.weight", "criterions.weight", "norm_pre.bias"]
)
def test_an_unknown_part_of_a_model_is_refused(name: str) -> None:
    found = by_names({**trained(), name: torch.ones(4)}, layers())
    assert isinstance(found, Misfit)
    assert found.unknown == (name,)


@pytest.mark.parametrize("prefix", ["", "backbone."])
@pytest.mark.parametrize("classes", [5, 2])
def test_a_classifier_behind_dropout_is_kept(prefix: str, classes: int) -> None:
    state = trained(classes=classes)
    file = {prefix + name.replace("head.", "head.1."): value for name, value in state.items()}
    found = named(by_names(file, layers()))
    assert equal(found.tensors, state)
    assert found.notes == ()


@pytest.mark.parametrize("prefix", ["", "backbone."])
def test_a_classifier_of_other_layers_is_left_out_and_said(prefix: str) -> None:
    state = {name: value for name, value in trained().items() if not name.startswith("head.")}
    own = {f"head.{name}": torch.ones(shape) for name, shape in HEAD_OF_TWO.items()}
    file = {prefix + name: value for name, value in {**state, **own}.items()}
    found = named(by_names(file, layers()))
    assert equal(found.tensors, state)
    assert found.notes == ("its classifier has other layers: 4 tensors left out",)


def test_one_layer_of_other_features_is_no_classifier() -> None:
    state = {name: value for name, value in trained().items() if not name.startswith("head.")}
    found = named(by_names({**state, "head.fc.weight": torch.ones(5, 9)}, layers()))
    assert equal(found.tensors, state)
    assert found.notes == ("its classifier has other layers: 1 tensor left out",)


@pytest.mark.parametrize("convert", [lambda value: (value * 100).to(torch.int8), lambda value: value > 0.5])
def test_whole_numbers_are_no_weights(convert: Callable[[torch.Tensor], torch.Tensor]) -> None:
    file = {name: convert(value) for name, value in trained().items()}
    found = by_names(file, layers())
    assert isinstance(found, Misfit)
    assert "of another shape or type" in found.text()
    refused = by_order({f"x.{name}": value for name, value in file.items()}, layers())
    assert isinstance(refused, str)


def test_missing_counters_begin_at_zero() -> None:
    state = trained()
    file = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    found = named(by_names(file, layers())).tensors
    assert found.keys() == state.keys()
    assert found["blocks.0.bn1.num_batches_tracked"] == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32(dtype: torch.dtype) -> None:
    state = trained()
    file = {name: value.to(dtype) if value.is_floating_point() else value for name, value in state.items()}
    found = named(by_names(file, layers()))
    assert found.tensors["stem.weight"].dtype == torch.float32
    assert torch.allclose(found.tensors["stem.weight"], state["stem.weight"], atol=1e-2)
    assert found.tensors["blocks.0.bn1.num_batches_tracked"].dtype == torch.int64
    assert "float32" in found.notes[0]


@pytest.mark.parametrize("options", [{"classes": 7}, {"channels": 1}, {"classes": 2, "channels": 1}])
def test_other_classes_and_channels_fit(options: dict[str, int]) -> None:
    state = trained(**options)
    assert equal(named(by_names(state, layers())).tensors, state)
    renamed = {name.replace("blocks", "body"): value for name, value in state.items()}
    assert equal(named(by_order(renamed, layers())).tensors, state)


def test_a_file_without_a_classifier_fits_and_says_so() -> None:
    state = {name: value for name, value in trained().items() if not name.startswith("head.")}
    found = named(by_names(state, layers()))
    assert found.tensors.keys() == state.keys()
    assert found.notes == ("the file has no classifier",)


def test_a_classifier_as_a_convolution_fits() -> None:
    state = trained()
    state["head.weight"] = state["head.weight"][:, :, None, None]
    assert named(by_names(state, layers())).tensors["head.weight"].shape == (5, 4)


def test_counters_of_operations_are_left_out() -> None:
    state = trained()
    file = {**state, "total_ops": torch.zeros(1), "blocks.0.total_params": torch.zeros(1)}
    assert equal(named(by_names(file, layers())).tensors, state)
    assert equal(named(by_order({f"x.{name}": v for name, v in file.items()}, layers())).tensors, state)


def test_another_architecture_is_told_from_an_incomplete_file() -> None:
    state = trained(blocks=6)
    own = layers(blocks=6)
    one_less = by_names({name: v for name, v in state.items() if name != "blocks.5.bn1.bias"}, own)
    assert isinstance(one_less, Misfit)
    assert not one_less.is_another_architecture
    assert one_less.missing == ("blocks.5.bn1.bias",)
    # All tensors of the smaller one are in the larger one, with the same shapes.
    smaller = by_names(state, layers(blocks=3))
    assert isinstance(smaller, Misfit)
    assert smaller.is_another_architecture
    assert not smaller.missing
    larger = by_names(trained(blocks=3), own)
    assert isinstance(larger, Misfit)
    assert larger.is_another_architecture
    assert not larger.is_incomplete


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8, 0.95])
def test_a_file_that_was_cut_short_is_incomplete(share: float) -> None:
    state = trained(blocks=6)
    kept = list(state.items())[: int(len(state) * share)]
    found = by_names({f"module.{name}": value for name, value in kept}, layers(blocks=6))
    assert isinstance(found, Misfit)
    assert found.is_incomplete
    assert not found.is_another_architecture
    assert found.fitting == len(kept)


def test_a_file_with_gaps_is_incomplete_unless_a_shape_differs() -> None:
    own = layers(blocks=6)
    state = {name: value for name, value in trained(blocks=6).items() if "conv2" not in name}
    found = by_names(state, own)
    assert isinstance(found, Misfit)
    assert found.is_incomplete
    state["blocks.0.conv1.weight"] = torch.ones(4, 4, 5, 5)
    found = by_names(state, own)
    assert isinstance(found, Misfit)
    assert not found.is_incomplete
    assert found.is_another_architecture


def test_other_shapes_do_not_fit() -> None:
    state = trained()
    state["blocks.0.conv1.weight"] = torch.ones(4, 4, 5, 5)
    found = by_names(state, layers())
    assert isinstance(found, Misfit)
    assert found.other_shape == ("blocks.0.conv1.weight",)
    assert "conv1" in str(by_order({f"x.{name}": value for name, value in state.items()}, layers()))


def test_other_names_in_the_same_order_are_assigned_by_order() -> None:
    state = trained()
    file = {
        name.replace("blocks.", "_blocks.").replace("bn", "_bn").replace("stem", "_stem"): value
        for name, value in state.items()
    }
    found = named(by_order(file, layers()))
    assert equal(found.tensors, state)
    assert found.match == "order"


def test_numbered_layers_of_a_sequence_are_assigned_by_order() -> None:
    flat = nn.Sequential(nn.Conv2d(3, 4, 3))
    for _ in range(4):
        flat.extend([nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4)])
    flat.append(nn.Linear(4, 5))
    torch.manual_seed(5)
    state = {
        name: torch.rand_like(v) if v.is_floating_point() else v for name, v in flat.state_dict().items()
    }
    found = named(by_order(state, layers())).tensors
    assert torch.equal(found["blocks.0.conv2.weight"], state["3.weight"])
    assert torch.equal(found["blocks.1.bn2.running_var"], state["8.running_var"])


def test_tensors_of_one_layer_in_another_order_are_refused() -> None:
    """TensorFlow's order: beta, gamma, mean, variance, all of the same shape."""
    state = {}
    for name, value in trained().items():
        state[f"x.{name}"] = value
    norm = [name for name in state if ".bn1." in name]
    names = list(state)
    first = names.index(norm[0])
    names[first], names[first + 1] = names[first + 1], names[first]
    fault = by_order({name: state[name] for name in names}, layers())
    assert isinstance(fault, str)
    assert "bn1" in fault


@pytest.mark.parametrize(
    ("names", "certain"),
    [
        (("q", "k", "v"), True),
        (("_Q", "k_", "V"), True),
        (("proj1", "proj2", "proj3"), True),
        (("0", "1", "2"), True),
        (("query", "key", "value"), False),
        (("k", "q", "v"), False),
        (("proj2", "proj1", "proj3"), False),
        (("a1", "b2", "c3"), False),
    ],
)
def test_parts_of_the_same_shapes_need_names_that_tell_them_apart(
    names: tuple[str, ...], certain: bool
) -> None:
    own = ["attn.q", "attn.k", "attn.v"]
    pairs = [
        (f"{mine}.{leaf}", f"layer.self.{name}.{leaf}")
        for mine, name in zip(own, names, strict=True)
        for leaf in ("weight", "bias")
    ]
    shapes: dict[str, tuple[int, ...]] = {
        mine: (4, 4) if mine.endswith("weight") else (4,) for mine, _ in pairs
    }
    fault = order_fault(pairs, shapes)
    assert (fault is None) == certain


@given(st.permutations(range(6)))
def test_numbered_parts_are_certain_in_their_order_only(order: list[int]) -> None:
    pairs = [(f"blocks.{number}.weight", f"stage.{other}.weight") for number, other in enumerate(order)]
    shapes: dict[str, Any] = {own: (3,) for own, _ in pairs}
    assert (order_fault(pairs, shapes) is None) == (order == sorted(order))


@pytest.mark.parametrize("bias", [None, 9, 0])
def test_a_classifier_without_a_bias_of_its_own_length(bias: int | None) -> None:
    state = trained()
    rest = {name: value for name, value in state.items() if not name.startswith("head.")}
    file = {**rest, "head.weight": torch.ones(5 if bias != 0 else 0, 4)}
    file |= {} if bias is None else {"head.bias": torch.ones(bias)}
    found = named(by_names(file, layers()))
    if bias is None:
        assert equal(found.tensors, {**file, "head.bias": torch.zeros(5)})
        assert found.notes == ("its classifier has no bias: zeros",)
    else:
        assert equal(found.tensors, rest)
        assert found.notes == ("its classifier is not whole: left out",)


def test_a_classifier_of_other_features_is_left_out() -> None:
    state = trained()
    rest = {name: value for name, value in state.items() if not name.startswith("head.")}
    found = named(by_names({**rest, "head.weight": torch.ones(5, 9), "head.bias": torch.ones(5)}, layers()))
    assert equal(found.tensors, rest)
    assert found.notes == ("its classifier has other layers: 2 tensors left out",)


def test_a_convolution_for_other_classes_fits() -> None:
    state = trained(classes=2)
    file = {**state, "head.weight": state["head.weight"][:, :, None, None]}
    assert equal(named(by_names(file, layers())).tensors, state)


def test_a_kernel_of_the_other_direction_does_not_fit() -> None:
    own = Layers({"a.weight": torch.zeros(4, 4, 1, 7)}, first=(), head=())
    turned = by_names({"a.weight": torch.ones(4, 4, 7, 1)}, own)
    assert isinstance(turned, Misfit)
    assert turned.other_shape == ("a.weight",)


def test_by_order_a_backbone_needs_no_classifier() -> None:
    state = {f"x_{name}": value for name, value in trained().items() if not name.startswith("head.")}
    found = named(by_order(state, layers()))
    assert found.match == "order"
    assert "the file has no classifier" in found.notes


def test_by_order_a_part_of_another_name_is_another_part() -> None:
    """As a norm before the blocks, which some architectures have in the place of one behind them."""
    state = trained()
    moved = {name.replace("stem.", "first."): value for name, value in state.items()}
    assert isinstance(by_order(moved, layers()), Fitted)
    fault = by_order(moved, layers(), is_mostly_named=True)
    assert fault == "first.weight stands in the place of stem.weight, and most other names are the same"
    renamed = {name.replace("head.", "fc."): value for name, value in state.items()}
    assert equal(named(by_order(renamed, layers(), is_mostly_named=True)).tensors, state)


def test_a_long_prefix_is_shortened_in_a_note() -> None:
    file = {f"{'q' * 5000}.{name}": value for name, value in trained().items()}
    (note,) = named(by_names({**file, "zz": torch.ones(2)}, layers())).notes
    assert len(note) < 300
