"""Begin a model with the weights of a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import timm
import torch
from timm.models import adapt_input_conv
from timm.utils.model import reparameterize_model
from torch import nn

from pepr_edge.errors import ModelError
from pepr_edge.records import WeightsMatch
from pepr_edge.train.weights.finding import file_notes
from pepr_edge.train.weights.fitting import Fitted, Misfit, by_names, by_order, left_out
from pepr_edge.train.weights.layers import Layers, Template
from pepr_edge.train.weights.prefixes import copies, parts_of_model
from pepr_edge.train.weights.reading import StateDict, WeightsFile, read_weights
from pepr_edge.train.weights.timm_names import converted
from pepr_edge.untrusted.shown import shown

RGB = 3
# In names of models that were changed after their training: by torch.nn.utils.prune, by timm's
# reparameterize_model.
PRUNED, DEPLOYED = "_orig", "reparam"
VARIANCE = ".running_var"


class Loaded(NamedTuple):
    """How the tensors of a file were assigned to a model, and what else was done; empty from scratch."""

    match: WeightsMatch = ""
    notes: tuple[str, ...] = ()


def load_weights(model: nn.Module, template: Template, channels: int, path: Path) -> Loaded:
    """Load a file into a model.

    A first layer with other channels is adapted by timm's rule. A classifier with other classes keeps its
    initial weights.

    Args:
        model: of the architecture, with its own channels and classes.
        template: its architecture.
        channels: of its images, 1 or 3.
        path: of the file.
    Raises:
        ModelError: the file cannot be read, or does not fit.
    """
    layers = layers_of(model)
    fitted = fit(read_weights(path), layers, template, path, channels=channels)
    takes_head = _has_own_head(fitted, layers)
    tensors = {}
    for name, value in fitted.tensors.items():
        own = layers.tensors[name]
        if layers.in_head(name) and not takes_head:
            continue
        if value.shape == own.shape:
            tensors[name] = value
        elif layers.is_first(name):
            tensors[name] = _in_channels(value, own, channels)
    left = model.load_state_dict(tensors, strict=False)
    assert not left.unexpected_keys
    assert all(layers.in_head(name) for name in left.missing_keys), left.missing_keys
    return Loaded(fitted.match, fitted.notes)


def _has_own_head(fitted: Fitted, layers: Layers) -> bool:
    """True if a file has the whole classifier, of as many classes: a part of one is of no use."""
    own = {name: value for name, value in layers.tensors.items() if layers.in_head(name)}
    return all(
        name in fitted.tensors and fitted.tensors[name].shape == value.shape for name, value in own.items()
    )


def layers_of(model: nn.Module) -> Layers:
    """Return the tensors of a model of timm, and the names of its first layer and its classifier."""
    config: dict[str, Any] = getattr(model, "pretrained_cfg", None) or {}
    return Layers(model.state_dict(), _names(config.get("first_conv")), _names(config.get("classifier")))


def fit(
    file: WeightsFile,
    layers: Layers,
    template: Template,
    path: Path,
    *,
    averaged: bool = False,
    channels: int = RGB,
) -> Fitted:
    """Assign the tensors of a file: by name, by timm's conversion of older names, or by order and shape.

    Args:
        file: as it was read.
        layers: of the architecture.
        template: the architecture.
        path: of the file.
        averaged: of two copies in the file, take the averaged one.
        channels: of the images that the first layer takes, 1 or 3.
    Raises:
        ModelError: none of them fits, it was written for another architecture, or its numbers are not those
            of a trained model.
    """
    made_for = file_notes(path).architecture
    if made_for and _base(made_for) != _base(template.name):
        raise ModelError(
            f"{path}: these weights were imported for {made_for}, expected {template.name}. Import the "
            f"original file again, with --architecture {_base(template.name)}."
        )
    fitted = _assigned(file, layers, template, path, averaged)
    _check_numbers(fitted, path)
    for name, value in fitted.tensors.items():
        if layers.is_first(name):
            _check_channels(value, layers.tensors[name], channels, path)
    return fitted


def _base(architecture: str) -> str:
    """Return timm's name of an architecture without that of its weights."""
    return architecture.partition(".")[0]


def _check_numbers(fitted: Fitted, path: Path) -> None:
    """Refuse what no training gives, as a damaged file has it."""
    for name, value in fitted.tensors.items():
        if not torch.isfinite(value).all():
            raise ModelError(
                f"{path}: {shown(name)} holds a number that is not finite, so the model could give no "
                "answer. Give a file of a training that went well."
            )
        if name.endswith(VARIANCE) and bool((value < 0).any()):
            raise ModelError(f"{path}: {shown(name)} holds a negative variance. Fetch or copy it again.")
    weights = [value for value in fitted.tensors.values() if value.ndim > 1]
    if weights and not any(bool(value.any()) for value in weights):
        raise ModelError(f"{path}: all weights are zero. Fetch or copy the file again.")


def _check_channels(value: torch.Tensor, own: torch.Tensor, channels: int, path: Path) -> None:
    """Refuse a first layer for images that are neither grey nor colour."""
    per_channel = own.shape[1] // channels  # more than 1 where blocks of pixels are channels
    found = value.shape[1]
    if found not in (per_channel, RGB * per_channel):
        raise ModelError(
            f"{path}: the first layer is for {found} channels, expected 1 or 3. "
            "Give weights that were trained on grey or colour images."
        )


def _assigned(file: WeightsFile, layers: Layers, template: Template, path: Path, averaged: bool) -> Fitted:
    several = copies(file.tensors, layers, averaged)
    if several:
        raise ModelError(
            f"{path}: holds several models of {template.name}: {', '.join(shown(name) for name in several)}. "
            "Save a file of the one that you want."
        )
    named = by_names(file.tensors, layers, averaged)
    if isinstance(named, Fitted):
        return named
    own, prefix = parts_of_model(file.tensors, layers, averaged)
    notes = left_out(len(file.tensors) - len(own), prefix, averaged)
    made = converted(own, template, layers)
    if made is not None:
        fitted = by_names(made.tensors, layers)
        if isinstance(fitted, Fitted):
            return Fitted(fitted.tensors, "timm", (*notes, *made.notes, *fitted.notes))
    _refuse_other_forms(own, layers, template, path)
    if not file.ordered:
        order = "safetensors keeps no order, so its names must be the architecture's"
        raise _misfit_error(named, template, path, order)
    ordered = by_order(own, layers, is_mostly_named=not named.is_another_architecture)
    if isinstance(ordered, str):
        raise _misfit_error(named, template, path, f"by order: {ordered}")
    return Fitted(ordered.tensors, "order", (*notes, *ordered.notes))


def _refuse_other_forms(file: StateDict, layers: Layers, template: Template, path: Path) -> None:
    """Refuse the weights of a model that was changed after its training.

    Raises:
        ModelError: the model was pruned, or its branches were joined.
    """
    if any(name.removesuffix(PRUNED) in layers.tensors for name in file if name.endswith(PRUNED)):
        raise ModelError(
            f"{path}: these weights of {template.name} are those of a pruned model. Call "
            "torch.nn.utils.prune.remove on its layers, and save it again."
        )
    if any(DEPLOYED in name for name in file):
        model = timm.create_model(template.name, **template.size)
        if set(file) == set(reparameterize_model(model).state_dict()):
            raise ModelError(
                f"{path}: these weights of {template.name} are of the deployed form, whose branches were "
                "joined. Give those of the training."
            )


def _in_channels(value: torch.Tensor, own: torch.Tensor, channels: int) -> torch.Tensor:
    """Return the weights of a first layer for images of other channels.

    Grey images are as three equal channels, so the weights of the three are added (timm's rule). The weights
    for grey images become a third for each of three channels.
    """
    if channels == RGB and value.shape[1] * RGB == own.shape[1]:
        return value.repeat(1, RGB, 1, 1) / RGB
    adapted: torch.Tensor = adapt_input_conv(channels, value)
    return adapted


def _misfit_error(misfit: Misfit, template: Template, path: Path, reason: str) -> ModelError:
    if misfit.is_incomplete:
        return ModelError(
            f"{path}: an incomplete file of {template.name}, perhaps cut short ({misfit.text()}). "
            "Fetch or copy it again, or give the file as its training saved it."
        )
    found = f"{misfit.text()}; {reason}"
    if misfit.is_another_architecture:
        return ModelError(
            f"{path}: these weights belong to another architecture than {template.name} ({found}). "
            "Give a file of this architecture."
        )
    return ModelError(
        f"{path}: these weights of {template.name} are incomplete or were changed ({found}). "
        "Give the file as its training saved it."
    )


def _names(value: Any) -> tuple[str, ...]:
    """Return layer names as a tuple: timm gives one name, several, or none."""
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(value)
