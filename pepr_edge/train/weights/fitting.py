"""Assign the tensors of a weights file to the layers of an architecture: by their names, else by their order.

A tensor fits a layer if it has the layer's shape. Two layers may differ: the first, in its channels, and the
classifier, in its classes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from pepr_edge.records import WeightsMatch
from pepr_edge.text.units import plural
from pepr_edge.train.weights.layers import COUNTER, LEFTOVERS, Layers, leaf
from pepr_edge.train.weights.order import order_fault
from pepr_edge.train.weights.prefixes import of_one_model
from pepr_edge.train.weights.reading import StateDict, is_averaged
from pepr_edge.untrusted.shown import shown

# First parts of the names of what trains a model and is not in it.
BESIDE = ("criterion", "loss", "loss_fn", "metric", "metrics", "train_metrics", "val_metrics", "test_metrics")
ONLY_AVERAGED = "its averaged weights were taken: it has no whole others"
# What weights alone do not hold.
OF_ORDER = "assigned by order: constants such as the epsilon of a norm are those of timm's architecture"
# A stage has fewer blocks than a number of more digits says.
BLOCK_DIGITS = 6
# At least this share of all tensors of file and architecture fits if the file is of this architecture.
SAME_ARCHITECTURE = 0.9


@dataclass(frozen=True)
class Fitted:
    """The tensors of a file by the architecture's names, in its precision. `notes` say what was done."""

    tensors: StateDict
    match: WeightsMatch
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Misfit:
    """Why a file does not fit an architecture, by names.

    `missing` are tensors of the architecture that the file lacks, `unknown` those of the file that the
    architecture lacks, `other_shape` those of both whose shapes differ, or that are whole numbers in the file
    alone; `fitting` counts the others.
    `is_smaller_network`: the file lacks only the last blocks of stages, as a network with fewer blocks does.
    """

    fitting: int
    missing: tuple[str, ...]
    unknown: tuple[str, ...]
    other_shape: tuple[str, ...]
    is_smaller_network: bool = False

    @property
    def is_incomplete(self) -> bool:
        """True if all that the file holds fits and the rest is missing, as where it was cut short."""
        is_part = self.fitting > 0 and not self.unknown and not self.other_shape
        return is_part and not self.is_smaller_network

    @property
    def is_another_architecture(self) -> bool:
        """True if too few tensors fit for an incomplete or changed file of this architecture."""
        misfits = len(self.missing) + len(self.unknown) + len(self.other_shape)
        too_few = self.fitting < SAME_ARCHITECTURE * (self.fitting + misfits)
        return too_few and not self.is_incomplete

    def text(self) -> str:
        """Return the faults in a clause."""
        parts = [f"{self.fitting} tensors fit"]
        counted = (
            (self.other_shape, "of another shape or type"),
            (self.missing, "missing"),
            (self.unknown, "unknown"),
        )
        for names, what in counted:
            if names:
                parts.append(f"{len(names)} {what} (such as {shown(names[0])!r})")
        return ", ".join(parts)


def by_names(file: StateDict, layers: Layers, averaged: bool = False) -> Fitted | Misfit:
    """Assign tensors by their names, without the prefixes that wrappers and training scripts add.

    Args:
        file: the tensors of a file.
        layers: of the architecture.
        averaged: of two copies in the file, take the averaged one.
    """
    of_model, prefix = of_one_model(file, layers, averaged)
    own = layers.tensors
    parts = {
        name: value for name, value in of_model.items() if name in own or name.split(".")[0] not in BESIDE
    }
    outside = len(file) - len(parts)
    found = {name: value for name, value in parts.items() if leaf(name) not in LEFTOVERS}
    inside = _with_own_head(found, layers)
    shared = [name for name in own if name in inside]
    fitting = [name for name in shared if fits(inside[name], name, layers)]
    missing = [name for name in own if name not in inside and layers.is_needed(name)]
    misfit = Misfit(
        fitting=len(fitting),
        missing=tuple(missing),
        unknown=tuple(name for name in inside if name not in own),
        other_shape=tuple(name for name in shared if not fits(inside[name], name, layers)),
        is_smaller_network=_is_smaller_network(found, missing, layers),
    )
    if misfit.missing or misfit.unknown or misfit.other_shape:
        return misfit
    notes = left_out(outside, prefix, averaged)
    of_head = len(found) - len(inside)
    if of_head:
        notes.append(f"its classifier has other layers: {plural(of_head, 'tensor')} left out")
    return _fitted({name: inside[name] for name in shared}, layers, "names", notes, is_head_noted=of_head > 0)


def _with_own_head(found: StateDict, layers: Layers) -> StateDict:
    """Return the tensors with a classifier of one linear layer by the architecture's names.

    A fine-tuned model may have dropout before it, or several layers or other features in its place: these are
    left out.
    """
    tensors = dict(found)
    for head in layers.head:
        names = [name for name in found if name.startswith(f"{head}.")]
        if all(name in layers.tensors and fits(found[name], name, layers) for name in names):
            continue
        own_names = [f"{head}.{leaf(name)}" for name in names]
        is_linear = len({name.rpartition(".")[0] for name in names}) == 1 and all(
            own_name in layers.tensors and fits(found[name], own_name, layers)
            for name, own_name in zip(names, own_names, strict=True)
        )
        for name, own_name in zip(names, own_names, strict=True):
            value = tensors.pop(name)
            if is_linear:
                tensors[own_name] = value
    return tensors


def by_order(file: StateDict, layers: Layers, is_mostly_named: bool = False) -> Fitted | str:
    """Assign tensors by order and shape, where names differ.

    Args:
        file: the tensors of a file, in the order of its layers.
        layers: of the architecture.
        is_mostly_named: most names are the architecture's, so a part of another name is another part.
    Returns:
        The fitted tensors, or why the assignment would not be certain.
    """
    values = {name: value for name, value in file.items() if leaf(name) not in (COUNTER, *LEFTOVERS)}
    own_names = [name for name in layers.tensors if leaf(name) != COUNTER]
    needed = [name for name in own_names if layers.is_needed(name)]
    if len(values) == len(needed) < len(own_names):
        own_names = needed
    if len(values) != len(own_names):
        return f"{len(values)} tensors, expected {len(own_names)}"
    pairs = list(zip(own_names, values, strict=True))
    shapes = {own_name: tuple(layers.tensors[own_name].shape) for own_name in own_names}
    fault = (
        _shape_fault(pairs, values, layers)
        or (_renamed(pairs, layers) if is_mostly_named else None)
        or order_fault(pairs, shapes)
    )
    if fault:
        return fault
    assigned = {own_name: values[name] for own_name, name in pairs} | _counters(file, layers)
    return _fitted(assigned, layers, "order", [OF_ORDER])


def _shape_fault(pairs: Sequence[tuple[str, str]], values: StateDict, layers: Layers) -> str | None:
    for own_name, name in pairs:
        if not fits(values[name], own_name, layers):
            own = layers.tensors[own_name]
            found = f"{list(values[name].shape)} {values[name].dtype}"
            return (
                f"{shown(name)} is {found}, expected {list(own.shape)} {own.dtype} of {own_name} in its place"
            )
    return None


def _renamed(pairs: Sequence[tuple[str, str]], layers: Layers) -> str | None:
    """Return which part of the network, not of the classifier, would be taken for one of another name."""
    for own_name, name in pairs:
        if own_name.split(".")[0] != name.split(".")[0] and not layers.in_head(own_name):
            return f"{shown(name)} stands in the place of {own_name}, and most other names are the same"
    return None


def _counters(file: StateDict, layers: Layers) -> StateDict:
    """Return the counters of a file by the architecture's names; nothing if they are not as many."""
    own_names = [name for name in layers.tensors if leaf(name) == COUNTER]
    values = [value for name, value in file.items() if leaf(name) == COUNTER]
    return dict(zip(own_names, values, strict=True)) if len(values) == len(own_names) else {}


def fits(value: torch.Tensor, name: str, layers: Layers) -> bool:
    """True if a tensor has the shape of the layer, but for channels, classes and axes of length 1.

    Whole numbers are no weights: they would be those of a quantised model, or a mask.
    """
    own = layers.tensors[name]
    if own.is_floating_point() and not value.is_floating_point():
        return False
    expected = own.shape
    if value.shape == expected:
        return True
    if layers.in_head(name):  # for other classes
        return value.ndim > 0 and _without_ones(value.shape[1:]) == _without_ones(expected[1:])
    if len(value.shape) != len(expected):
        return _without_ones(value.shape) == _without_ones(expected)
    others = [position for position in range(len(expected)) if position != 1]
    return layers.is_first(name) and all(value.shape[position] == expected[position] for position in others)


def _fitted(
    assigned: Mapping[str, torch.Tensor],
    layers: Layers,
    match: WeightsMatch,
    notes: Iterable[str],
    is_head_noted: bool = False,
) -> Fitted:
    """Return the tensors in the architecture's precision, with counters that the file lacks.

    `is_head_noted`: the notes already say what became of its classifier.
    """
    said = list(notes)
    whole = _with_whole_head(assigned, layers)
    if any(name not in assigned for name in whole):
        said.append("its classifier has no bias: zeros")
    if any(name not in whole for name in assigned):
        said.append("its classifier is not whole: left out")
        is_head_noted = True
    tensors: StateDict = {}
    widened = 0
    for name, own in layers.tensors.items():
        if name in whole:
            value = whole[name]
            widened += value.is_floating_point() and value.dtype != own.dtype
            tensors[name] = _in_shape(value, own, layers.in_head(name)).to(own.dtype)
        elif leaf(name) == COUNTER:
            tensors[name] = torch.zeros_like(own)
    if widened:
        said.append(f"{widened} tensors converted to float32")
    if layers.head and not is_head_noted and not any(layers.in_head(name) for name in tensors):
        said.append("the file has no classifier")
    return Fitted(tensors, match, tuple(said))


def _with_whole_head(assigned: Mapping[str, torch.Tensor], layers: Layers) -> StateDict:
    """Return the tensors without a classifier that cannot be used; one without a bias has a bias of zeros."""
    tensors = dict(assigned)
    for head in layers.head:
        weight, bias = f"{head}.weight", f"{head}.bias"
        classes = len(tensors[weight]) if weight in tensors else 0
        if classes and bias in layers.tensors and bias not in tensors:
            tensors[bias] = torch.zeros(classes)
        if not classes or (bias in tensors and len(tensors[bias]) != classes):
            tensors = {name: value for name, value in tensors.items() if not name.startswith(f"{head}.")}
    return tensors


def _in_shape(value: torch.Tensor, own: torch.Tensor, is_head: bool) -> torch.Tensor:
    """Return a tensor with the axes of length 1 as the layer has them."""
    if is_head:
        return value.reshape(value.shape[0], *own.shape[1:])
    is_alike = _without_ones(value.shape) == _without_ones(own.shape)
    return value.reshape(own.shape) if is_alike else value


def _is_smaller_network(inside: Iterable[str], missing: Sequence[str], layers: Layers) -> bool:
    """True if the file ends with a classifier and lacks only the last numbered blocks of stages.

    Such a file may as well be of a smaller network of the family: a ResNet-34 holds all names of a ResNet-18.
    """
    names = list(inside)
    if not missing or not any(layers.in_head(name) for name in names):
        return False
    last_blocks: dict[str, int] = {}
    for name in names:
        for stage, number in _blocks(name):
            last_blocks[stage] = max(number, last_blocks.get(stage, -1))
    return all(_is_behind(name, last_blocks) for name in missing)


def _is_behind(name: str, last_blocks: Mapping[str, int]) -> bool:
    """True if a tensor is of a block behind the last one of its stage."""
    return any(number > last_blocks.get(stage, math.inf) for stage, number in _blocks(name))


def _blocks(name: str) -> Iterator[tuple[str, int]]:
    """Yield each numbered part of a tensor's name: what stands before it, and its number."""
    parts = name.split(".")
    for position, part in enumerate(parts):
        if part.isdecimal() and len(part) <= BLOCK_DIGITS:
            yield ".".join(parts[:position]), int(part)


def left_out(outside: int, prefix: str, averaged: bool) -> list[str]:
    """Return the notes on tensors that are not the model's, and on an average that nobody asked for."""
    notes = []
    if outside:
        place = f"outside {shown(prefix.rstrip('.'))!r}" if prefix else "beside the model"
        notes.append(f"{plural(outside, 'tensor')} {place} left out")
    if is_averaged(prefix) and not averaged:
        notes.append(ONLY_AVERAGED)
    return notes


def _without_ones(shape: torch.Size) -> list[int]:
    return [length for length in shape if length != 1]
