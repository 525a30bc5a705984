"""Prefixes in a weights file: which tensors are the model's, and which copy is taken."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_weights import equal, layers, named, trained

from pepr_edge.train.weights.fitting import Misfit, by_names
from pepr_edge.train.weights.prefixes import copies, parts_of_model, without_prefixes


@pytest.mark.parametrize(
    "prefix",
    [
        "",
        "module.",
        "_orig_mod.",
        "model.",
        "module._orig_mod.",
        "_orig_mod.module.model.",
        "model._orig_mod.",
        "net.backbone.",
        "student.encoder.module.",
    ],
)
def test_prefixes_of_wrappers_and_scripts_are_removed(prefix: str) -> None:
    state = trained()
    found = named(by_names({f"{prefix}{name}": value for name, value in state.items()}, layers()))
    assert equal(found.tensors, state)
    assert found.match == "names"
    assert found.notes == ()


def test_wrapping_inside_a_name_is_removed() -> None:
    state = trained()
    wrapped = {name.replace("blocks.", "blocks._orig_mod."): value for name, value in state.items()}
    assert equal(named(by_names(wrapped, layers())).tensors, state)


@pytest.mark.parametrize("averaged", [False, True])
def test_of_two_copies_the_wanted_one_is_taken(averaged: bool) -> None:
    state = trained()
    file = {f"model.{name}": value for name, value in state.items()}
    file |= {f"model_ema.module.{name}": value + 1 for name, value in state.items()}
    found = named(by_names(file, layers(), averaged)).tensors
    assert torch.equal(found["head.bias"], state["head.bias"] + averaged)


@pytest.mark.parametrize("averaged", [False, True])
@pytest.mark.parametrize("lacks", ["num_batches_tracked", "head"])
def test_a_copy_with_fewer_tensors_is_taken_if_it_is_the_wanted_one(averaged: bool, lacks: str) -> None:
    """What the model does not need does not decide between two copies."""
    state = trained()
    average = {name: value + 1 for name, value in state.items()}
    fewer = {name: value for name, value in (average if averaged else state).items() if lacks not in name}
    file = {f"net.{name}": value for name, value in (state if averaged else fewer).items()}
    file |= {f"net_ema.{name}": value for name, value in (fewer if averaged else average).items()}
    found = named(by_names(file, layers(), averaged)).tensors
    assert torch.equal(found["stem.weight"], (average if averaged else state)["stem.weight"])


def test_copies_that_differ_are_named() -> None:
    state = trained()
    other = {name: value + 1 for name, value in state.items()}
    both = {f"teacher.{name}": value for name, value in state.items()}
    both |= {f"student.{name}": value for name, value in other.items()}
    assert copies(both, layers(), averaged=False) == ["teacher", "student"]
    alike = {f"{part}.{name}": value for part in ("teacher", "student") for name, value in state.items()}
    assert copies(alike, layers(), averaged=False) == []
    beside = {**state, **{f"teacher.{name}": value for name, value in other.items()}}
    assert copies(beside, layers(), averaged=False) == []


@settings(deadline=None)
@given(st.sampled_from(["module.", "model.", "_orig_mod.", "net."]), st.integers(0, 3))
def test_a_shared_prefix_is_removed_however_often(prefix: str, times: int) -> None:
    state = trained()
    found = without_prefixes({f"{prefix * times}{name}": value for name, value in state.items()}, layers())
    assert list(found) == list(state)


def test_a_first_part_that_the_architecture_has_is_no_prefix() -> None:
    state = {"stem.weight": torch.ones(1), "stem.bias": torch.ones(1)}
    assert list(without_prefixes(state, layers())) == list(state)


def test_an_average_does_not_take_the_place_of_a_damaged_model() -> None:
    state = trained()
    file = {f"model.{name}": value for name, value in state.items() if name != "blocks.0.bn1.weight"}
    file |= {f"ema.{name}": value + 1 for name, value in state.items()}
    found = by_names(file, layers())
    assert isinstance(found, Misfit)
    assert found.missing == ("blocks.0.bn1.weight",)
    whole = named(by_names({**file, "model.blocks.0.bn1.weight": torch.ones(4)}, layers()))
    assert torch.equal(whole.tensors["head.bias"], state["head.bias"])


def test_an_average_alone_is_taken() -> None:
    state = trained()
    found = named(by_names({f"ema.module.{name}": value for name, value in state.items()}, layers()))
    assert equal(found.tensors, state)
    assert found.notes == ("its averaged weights were taken: it has no whole others",)


def test_two_classifiers_on_one_backbone_are_two_models() -> None:
    state = trained()
    both = {f"{part}.{name}": value for part in "ab" for name, value in state.items()}
    assert copies(both, layers(), averaged=False) == []
    assert copies({**both, "b.head.weight": torch.zeros(5, 4)}, layers(), averaged=False) == ["a", "b"]


@pytest.mark.parametrize("averaged", [False, True])
def test_the_parts_of_the_wanted_model_are_told_from_others(averaged: bool) -> None:
    state = trained()
    file = {f"model.{name}": value for name, value in state.items()}
    file |= {f"ema.{name}": value + 1 for name, value in state.items()} | {"loss.weight": torch.ones(3)}
    file |= {f"{part}.extra": torch.ones(1) for part in ("model", "ema")}
    found, prefix = parts_of_model(file, layers(), averaged)
    assert prefix == ("ema." if averaged else "model.")
    assert found.keys() == {*state, "extra"}
    assert torch.equal(found["head.bias"], state["head.bias"] + averaged)


def test_of_other_names_all_are_parts() -> None:
    file = {f"net.x_{name}": value for name, value in trained().items()}
    found, prefix = parts_of_model(file, layers(), averaged=False)
    assert (found.keys(), prefix) == ({name.removeprefix("net.") for name in file}, "")
