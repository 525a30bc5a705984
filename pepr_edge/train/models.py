"""Candidates as PyTorch modules: timm's architectures with our channels, classes and initial weights."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import load_file
from torch import nn

from pepr_edge import zoo
from pepr_edge.errors import ModelError
from pepr_edge.records import Candidate
from pepr_edge.run_dir.store import sha256_file
from pepr_edge.train.weights.finding import timm_name
from pepr_edge.train.weights.layers import Template
from pepr_edge.train.weights.load import Loaded, load_weights
from pepr_edge.untrusted.shown import first_line

# Standard deviation of a new classifier's weights, as ResNet has it. Those of EfficientNet, MobileNet and DLA
# grow as classes become fewer, to 0.4 or 1.0 with two. Their first logits have a standard deviation of 3 to
# 12, so most of a short training is spent on making them smaller.
CLASSIFIER_STD = 0.01
# Classifiers with weights below this keep them.
LARGE_STD = 0.05


def create(candidate: Candidate, small_logits: bool = False) -> nn.Module:
    """Build the module of a candidate with random weights.

    Args:
        candidate: to build.
        small_logits: begin with a classifier whose logits are small, whatever the architecture.
    Raises:
        ModelError: the architecture is unknown or cannot take the size.
    """
    model = _for_candidate(candidate)[0]
    if small_logits:
        _begin_with_small_logits(model)
    return model


def create_with_weights(
    candidate: Candidate, path: Path, small_logits: bool = False
) -> tuple[nn.Module, Loaded]:
    """Build the module of a candidate with the weights of a file, and say how these were assigned.

    Args:
        candidate: to build.
        path: of the weights.
        small_logits: as of `create`, for a classifier that the file has no weights for.
    Raises:
        ModelError: the architecture is unknown or cannot take the size, or the weights do not fit or were
            changed.
    """
    if candidate.weights_sha256 is not None and path.is_file():
        found = sha256_file(path)
        if found != candidate.weights_sha256:
            raise ModelError(
                f"{path.name}: not the weights that the run began with (sha256 {found[:12]}, expected "
                f"{candidate.weights_sha256[:12]}). Put those back, or begin again with --fresh."
            )
    model, template = _for_candidate(candidate)
    if small_logits:
        _begin_with_small_logits(model)
    return model, load_weights(model, template, candidate.in_channels, path)


def _begin_with_small_logits(model: nn.Module) -> None:
    """Draw a classifier with large weights again, small, with a bias of zero."""
    layers = [layer for part in _classifiers(model) for layer in part.modules()]
    for layer in layers:
        if isinstance(layer, nn.Linear | nn.Conv2d) and float(layer.weight.detach().std()) > LARGE_STD:
            nn.init.normal_(layer.weight, std=CLASSIFIER_STD)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def unknown_architecture(name: str) -> str | None:
    """Return a message with the most similar known name if timm has no such architecture, else None."""
    if timm.is_model(name):
        return None
    near = zoo.nearest(name) or zoo.nearest(name, timm.list_models())
    hint = f"Did you mean {near!r}? " if near else ""
    return (
        f"{name}: unknown architecture. {hint}"
        "`pepr-edge zoo list` shows the tested ones; any timm model can be used."
    )


def _for_candidate(candidate: Candidate) -> tuple[nn.Module, Template]:
    """Build a module, and return how timm builds it."""
    name = candidate.architecture
    if candidate.weights != "scratch":
        # The configuration of the weights: mean, standard deviation, names of the first layer and the last.
        name = timm_name(name)
    architecture = zoo.architectures().get(candidate.architecture)
    if architecture is not None and architecture.fixed_size:
        sized = Template(name, {"img_size": candidate.image_size_px})
        try:
            return _checked(candidate, sized), sized
        except ModelError:
            pass  # some architectures lack this option, and crossvit takes any size better without it
    template = Template(name, {})
    return _checked(candidate, template), template


def _checked(candidate: Candidate, template: Template) -> nn.Module:
    """Build a candidate that takes images of its size."""
    model = build(
        candidate.architecture, template, in_chans=candidate.in_channels, num_classes=candidate.num_classes
    )
    _check_size(model, candidate)
    return model


def build(architecture: str, template: Template, **options: Any) -> nn.Module:
    """Let timm build an architecture with random weights, with options such as its channels.

    Raises:
        ModelError: timm does not know it, or cannot build it.
    """
    unknown = unknown_architecture(architecture)
    if unknown is not None:
        raise ModelError(unknown)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # timm's notes on renamed models
            model = timm.create_model(template.name, **template.size, **options)
    except Exception as fault:  # each architecture fails in its own way
        raise ModelError(
            f"{architecture}: cannot be built ({first_line(fault)}). Try another size or architecture."
        ) from fault
    assert isinstance(model, nn.Module)
    return model


def _check_size(model: nn.Module, candidate: Candidate) -> None:
    """Run one batch, so that a size that the architecture cannot take fails now, not in training."""
    name = candidate.architecture
    px = candidate.image_size_px
    model.eval()
    try:
        with torch.inference_mode():
            logits = model(torch.zeros((2, candidate.in_channels, px, px)))
    except Exception as fault:  # each architecture fails in its own way
        raise ModelError(
            f"{name}: cannot take images of {px} px ({first_line(fault)}). Give another image_size_px."
        ) from fault
    shape = tuple(logits.shape)
    if shape != (2, candidate.num_classes):
        raise ModelError(
            f"{name}: gives outputs of shape {shape}, expected (2, {candidate.num_classes}). "
            "Use another architecture."
        )


def normalisation(model: nn.Module, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the mean and standard deviation per channel that pretrained weights expect.

    For grey images, they are averaged over the three channels.
    """
    config = timm.data.resolve_model_data_config(model)  # type: ignore[attr-defined, no-untyped-call]
    mean = tuple(config["mean"])
    std = tuple(config["std"])
    if channels == 1:
        return (sum(mean) / len(mean),), (sum(std) / len(std),)
    return mean, std


def head_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Return the parameters of the classifier, the only ones that mode "head" trains, and "gradual" at first.

    Raises:
        ModelError: the model has no classifier layer.
    """
    parameters = [parameter for part in _classifiers(model) for parameter in part.parameters()]
    if not parameters:
        raise ModelError('this architecture has no classifier layer of its own. Use train.mode = "full".')
    return parameters


def backbone_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Return the parameters outside the classifier, as far as a training changes them.

    Raises:
        ModelError: the model has no classifier layer.
    """
    head = {id(parameter) for parameter in head_parameters(model)}
    return [
        parameter for parameter in model.parameters() if parameter.requires_grad and id(parameter) not in head
    ]


def freeze(parameters: Iterable[nn.Parameter], is_frozen: bool = True) -> None:
    """Keep weights from being trained, or let them be trained again."""
    for parameter in parameters:
        parameter.requires_grad_(not is_frozen)


def _classifiers(model: nn.Module) -> list[nn.Module]:
    """Return the classifier, or the two that some architectures have."""
    classifier = model.get_classifier()  # type: ignore[operator]
    parts = classifier if isinstance(classifier, tuple | list) else [classifier]
    return [part for part in parts if isinstance(part, nn.Module)]


def restore(candidate: Candidate, checkpoint: Path) -> nn.Module:
    """Load a trained candidate from its checkpoint, on the CPU."""
    model = create(candidate)
    model.load_state_dict(load_file(checkpoint))
    return model
