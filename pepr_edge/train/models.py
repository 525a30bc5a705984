"""Candidates as PyTorch modules: timm's architectures with our channels, classes and initial weights."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.models import adapt_input_conv
from torch import nn

from pepr_edge import zoo
from pepr_edge.errors import ModelError
from pepr_edge.records import Candidate

StateDict = dict[str, torch.Tensor]


def create(candidate: Candidate, weights: str = "scratch") -> nn.Module:
    """Build the module of a candidate with its initial weights.

    Args:
        candidate: its architecture, size, channels and classes.
        weights: "pretrained", "scratch", or the path of a weights file.
    Raises:
        ModelError: the architecture is unknown or cannot take the size, or the weights are not available or
            do not fit.
    """
    architecture = zoo.architectures().get(candidate.architecture)
    if architecture is not None and architecture.fixed_size:
        try:
            return _build(candidate, weights, {"img_size": candidate.image_size_px})
        except ModelError:
            pass  # some architectures lack this option, and crossvit takes any size better without it
    return _build(candidate, weights, {})


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


def _build(candidate: Candidate, weights: str, size: dict[str, int]) -> nn.Module:
    options: dict[str, Any] = {
        "in_chans": candidate.in_channels,
        "num_classes": candidate.num_classes,
        **size,
    }
    model = _create(candidate.architecture, weights == "pretrained", options)
    if weights not in ("pretrained", "scratch"):
        _load_weights(model, Path(weights))
    _check_size(model, candidate)
    return model


def _create(name: str, pretrained: bool, options: dict[str, Any]) -> nn.Module:
    unknown = unknown_architecture(name)
    if unknown is not None:
        raise ModelError(unknown)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # timm's notes on renamed models
            model = timm.create_model(name, pretrained=pretrained, **options)
    # The hub's client has no common error class: no network, no such file, no weights for this model.
    except Exception as fault:
        if not pretrained:
            raise ModelError(
                f"{name}: cannot be built ({_first_line(fault)}). Try another size or architecture."
            ) from fault
        raise ModelError(
            f"{name}: its pretrained weights are not available ({_first_line(fault)}). "
            "Connect to the internet once, or download the file elsewhere and give its path: "
            'candidates.weights = "file.safetensors".'
        ) from fault
    assert isinstance(model, nn.Module)
    return model


def _load_weights(model: nn.Module, path: Path) -> None:
    """Load a local weights file.

    A first layer with other channels is adapted. A classifier with other classes keeps its initial weights.
    """
    state = _read_state(path)
    own = model.state_dict()
    config: dict[str, Any] = getattr(model, "pretrained_cfg", None) or {}
    for layer in _names(config.get("first_conv")):
        key = f"{layer}.weight"
        if key in state and key in own and state[key].shape[1] != own[key].shape[1]:
            state[key] = adapt_input_conv(own[key].shape[1], state[key])
    heads = tuple(f"{layer}." for layer in _names(config.get("classifier")))
    for key in list(state):
        if key.startswith(heads) and key in own and state[key].shape != own[key].shape:
            del state[key]
    misfits = [key for key in state if key not in own or state[key].shape != own[key].shape]
    missing = [key for key in own if key not in state and not key.startswith(heads)]
    if misfits or missing:
        raise ModelError(
            f"{path}: these weights belong to another architecture: {len(misfits)} tensors do not fit and "
            f"{len(missing)} are missing (such as {(misfits + missing)[0]!r}). "
            "Give a file of this architecture."
        )
    model.load_state_dict(state, strict=False)


def _read_state(path: Path) -> StateDict:
    if not path.is_file():
        raise ModelError(
            f"{path}: no such weights file. "
            'candidates.weights is "pretrained", "scratch" or the path of a file.'
        )
    faults = (SafetensorError, RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError)
    try:
        if path.suffix == ".safetensors":
            state: Any = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except faults as fault:
        raise ModelError(
            f"{path}: not a weights file ({_first_line(fault)}), "
            "expected safetensors or a PyTorch state dict."
        ) from None
    if isinstance(state, dict):
        state = state.get("state_dict", state)
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ModelError(
            f"{path}: holds no state dict of tensors. Save one with torch.save(model.state_dict(), path)."
        )
    return dict(state)


def _names(value: Any) -> tuple[str, ...]:
    """Return layer names as a tuple: timm gives one name, several, or none."""
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(value)


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
            f"{name}: cannot take images of {px} px ({_first_line(fault)}). Give another image_size_px."
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
    """Return the parameters of the classifier, the only ones that mode "head" trains.

    Raises:
        ModelError: the model has no classifier layer.
    """
    classifier = model.get_classifier()  # type: ignore[operator]
    layers = classifier if isinstance(classifier, tuple | list) else [classifier]
    parameters: list[nn.Parameter] = []
    for layer in layers:
        if isinstance(layer, nn.Module):
            parameters += layer.parameters()
    if not parameters:
        raise ModelError('this architecture has no classifier layer of its own. Use train.mode = "full".')
    return parameters


def _first_line(fault: BaseException) -> str:
    lines = str(fault).strip().splitlines()
    return f"{type(fault).__name__}: {lines[0][:160]}" if lines else type(fault).__name__


def restore(candidate: Candidate, checkpoint: Path) -> nn.Module:
    """Load a trained candidate from its checkpoint, on the CPU."""
    model = create(candidate)
    model.load_state_dict(load_file(checkpoint))
    return model
