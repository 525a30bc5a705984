"""Candidates as PyTorch modules: timm's architectures with our channels and classes, from any of three kinds of weights."""

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


def create(candidate: Candidate, weights: str = "scratch") -> nn.Module:
    """Build a candidate's module with its initial weights.

    Args:
        candidate: the architecture, its size, channels and classes.
        weights: "pretrained", "scratch", or the path of a weights file.
    Raises:
        ModelError: unknown architecture, weights that cannot be had or do not fit, or a size that the architecture cannot take.
    """
    row = zoo.architectures().get(candidate.architecture)
    if row is not None and row.fixed_size:
        try:
            return _build(candidate, weights, {"img_size": candidate.image_size_px})
        except ModelError:
            pass  # not every architecture takes this option, and crossvit takes any size better without it
    return _build(candidate, weights, {})


def unknown_architecture(name: str) -> str | None:
    """What is wrong with an architecture's name, and the nearest known one; None where timm knows it."""
    if timm.is_model(name):
        return None
    near = zoo.nearest(name) or zoo.nearest(name, timm.list_models())
    hint = f"Did you mean {near!r}? " if near else ""
    return f"{name}: unknown architecture. {hint}`pepr-edge zoo list` shows those tested; any timm model can be used."


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
    if (unknown := unknown_architecture(name)) is not None:
        raise ModelError(unknown)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # timm's notes on renamed models
            model = timm.create_model(name, pretrained=pretrained, **options)
    except Exception as fault:  # the hub's client has no common error class: no network, no such file, no weights for this model
        if not pretrained:
            raise ModelError(
                f"{name}: cannot be built ({_first_line(fault)}). Try another size or architecture."
            ) from fault
        raise ModelError(
            f"{name}: its pretrained weights could not be had ({_first_line(fault)}). Connect to the internet once, "
            'or fetch the file elsewhere and give its path: candidates.weights = "file.safetensors".'
        ) from fault
    assert isinstance(model, nn.Module)
    return model


def _load_weights(model: nn.Module, path: Path) -> None:
    """Load a local weights file; a first layer of other channels is adapted, a classifier of other classes is left fresh."""
    state = _read_state(path)
    own = model.state_dict()
    config: dict[str, Any] = getattr(model, "pretrained_cfg", None) or {}
    for layer in _names(config.get("first_conv")):
        key = f"{layer}.weight"
        if key in state and key in own and state[key].shape[1] != own[key].shape[1]:
            state[key] = adapt_input_conv(own[key].shape[1], state[key])
    heads = tuple(f"{layer}." for layer in _names(config.get("classifier")))
    for key in [
        key for key in state if key.startswith(heads) and key in own and state[key].shape != own[key].shape
    ]:
        del state[key]
    misfits = [key for key in state if key not in own or state[key].shape != own[key].shape]
    missing = [key for key in own if key not in state and not key.startswith(heads)]
    if misfits or missing:
        raise ModelError(
            f"{path}: these weights are of another architecture: {len(misfits)} tensors do not fit and {len(missing)} are missing "
            f"(such as {(misfits + missing)[0]!r}). Give the file that belongs to the architecture."
        )
    model.load_state_dict(state, strict=False)


def _read_state(path: Path) -> dict[str, torch.Tensor]:
    if not path.is_file():
        raise ModelError(
            f'{path}: no such weights file. candidates.weights is "pretrained", "scratch" or the path of a file.'
        )
    try:
        state = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except (
        SafetensorError,
        RuntimeError,
        EOFError,
        OSError,
        ValueError,
        KeyError,
        pickle.UnpicklingError,
    ) as fault:
        raise ModelError(
            f"{path}: not a weights file ({_first_line(fault)}), expected safetensors or a PyTorch state dict."
        ) from None
    if isinstance(state, dict):
        state = state.get("state_dict", state)
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ModelError(
            f"{path}: holds no state dict of tensors. Save one with torch.save(model.state_dict(), path)."
        )
    return dict(state)


def _names(value: Any) -> tuple[str, ...]:
    """timm gives one layer's name, several, or none."""
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(value)


def _check_size(model: nn.Module, candidate: Candidate) -> None:
    """Run one batch: an architecture that cannot take this size says so now, not after an hour of training."""
    model.eval()
    shape = (2, candidate.in_channels, candidate.image_size_px, candidate.image_size_px)
    try:
        with torch.inference_mode():
            logits = model(torch.zeros(shape))
    except Exception as fault:  # each architecture fails in its own way
        raise ModelError(
            f"{candidate.architecture}: cannot take images of {candidate.image_size_px} px ({_first_line(fault)}). "
            "Give another image_size_px."
        ) from fault
    if tuple(logits.shape) != (2, candidate.num_classes):
        raise ModelError(
            f"{candidate.architecture}: gives outputs of shape {tuple(logits.shape)}, expected (2, {candidate.num_classes})."
        )


def normalisation(model: nn.Module, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation that pretrained weights expect, per channel; for grey images the mean over the three."""
    config = timm.data.resolve_model_data_config(model)  # type: ignore[attr-defined, no-untyped-call]
    mean, std = tuple(config["mean"]), tuple(config["std"])
    if channels == 1:
        return (sum(mean) / len(mean),), (sum(std) / len(std),)
    return mean, std


def head_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Parameters of the classifier, the only ones trained in mode "head"."""
    classifier = model.get_classifier()  # type: ignore[operator]
    layers = classifier if isinstance(classifier, tuple | list) else [classifier]
    parameters = [
        parameter for layer in layers if isinstance(layer, nn.Module) for parameter in layer.parameters()
    ]
    if not parameters:
        raise ModelError('this architecture has no classifier layer of its own. Use train.mode = "full".')
    return parameters


def _first_line(fault: BaseException) -> str:
    lines = str(fault).strip().splitlines()
    return f"{type(fault).__name__}: {lines[0][:160]}" if lines else type(fault).__name__


def restore(candidate: Candidate, checkpoint: Path) -> nn.Module:
    """A trained candidate out of its checkpoint, on the CPU."""
    model = create(candidate)
    model.load_state_dict(load_file(checkpoint))
    return model
