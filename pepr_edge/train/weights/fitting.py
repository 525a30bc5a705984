"""Assign the tensors of a weights file to the layers of an architecture: by their names, else by their order.

A tensor fits a layer if it has the layer's shape. Two layers may differ: the first, in its channels, and the
classifier, in its classes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from pepr_edge.records import WeightsMatch
from pepr_edge.text.units import plural
from pepr_edge.train.weights.order import order_fault
from pepr_edge.train.weights.reading import StateDict, is_averaged, same
from pepr_edge.untrusted.shown import shown

COUNTER = "num_batches_tracked"
# Parts of a name that wrappers of a model add: DataParallel, torch.compile, FSDP, activation checkpoints.
WRAPPING = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
# Buffers that counters of operations and of averages leave behind in a model.
LEFTOVERS = ("total_ops", "total_params", "n_averaged")
# First parts of the names of what trains a model and is not in it.
BESIDE = ("criterion", "loss", "loss_fn", "metric", "metrics", "train_metrics", "val_metrics", "test_metrics")
# A stage has fewer blocks than a number of more digits says.
BLOCK_DIGITS = 6
# At least this share of all tensors of file and architecture fits if the file is of this architecture.
SAME_ARCHITECTURE = 0.9


@dataclass(frozen=True)
class Layers:
    """An architecture as a file must fit it.

    `tensors` are its own, by name, in the order of its layers. `first` and `head` are the names of the layers
    that take the channels of the images and that give the classes.
    """

    tensors: StateDict
    first: tuple[str, ...]
    head: tuple[str, ...]

    def in_head(self, name: str) -> bool:
        """True for a tensor of the classifier."""
        return name.startswith(tuple(f"{layer}." for layer in self.head))

    def is_first(self, name: str) -> bool:
        """True for the weights of the first layer."""
        return name in {f"{layer}.weight" for layer in self.first}


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
    named = _without_wrapping(file, layers)
    prefix = _prefix(named, layers, averaged)
    inside = {name.removeprefix(prefix): value for name, value in named.items() if name.startswith(prefix)}
    own = layers.tensors
    parts = {name: value for name, value in inside.items() if name in own or name.split(".")[0] not in BESIDE}
    outside = len(named) - len(parts)
    found = {name: value for name, value in parts.items() if _leaf(name) not in LEFTOVERS}
    inside = _with_own_head(found, layers)
    shared = [name for name in own if name in inside]
    fitting = [name for name in shared if fits(inside[name], name, layers)]
    missing = [name for name in own if name not in inside and _is_needed(name, layers)]
    misfit = Misfit(
        fitting=len(fitting),
        missing=tuple(missing),
        unknown=tuple(name for name in inside if name not in own),
        other_shape=tuple(name for name in shared if not fits(inside[name], name, layers)),
        is_smaller_network=_is_smaller_network(found, missing, layers),
    )
    if misfit.missing or misfit.unknown or misfit.other_shape:
        return misfit
    notes = [_ignored(outside, prefix)] if outside else []
    of_head = len(found) - len(inside)
    if of_head:
        notes.append(f"its classifier has other layers: {plural(of_head, 'tensor')} left out")
    return _fitted(
        {name: inside[name] for name in shared}, layers, "names", notes, is_without_head=of_head > 0
    )


def _with_own_head(inside: StateDict, layers: Layers) -> StateDict:
    """Return the tensors with a classifier of one linear layer by the architecture's names.

    A fine-tuned model may have dropout before it, or several layers in its place: these are left out.
    """
    tensors = dict(inside)
    for head in layers.head:
        names = [name for name in inside if name.startswith(f"{head}.") and name not in layers.tensors]
        own_names = [f"{head}.{_leaf(name)}" for name in names]
        is_linear = len({name.rpartition(".")[0] for name in names}) == 1 and all(
            own_name in layers.tensors and own_name not in inside and fits(inside[name], own_name, layers)
            for name, own_name in zip(names, own_names, strict=True)
        )
        for name, own_name in zip(names, own_names, strict=True):
            value = tensors.pop(name)
            if is_linear:
                tensors[own_name] = value
    return tensors


def by_order(file: StateDict, layers: Layers) -> Fitted | str:
    """Assign tensors by order and shape, where names differ.

    Args:
        file: the tensors of a file, in the order of its layers.
        layers: of the architecture.
    Returns:
        The fitted tensors, or why the assignment would not be certain.
    """
    values = {name: value for name, value in file.items() if _leaf(name) not in (COUNTER, *LEFTOVERS)}
    own_names = [name for name in layers.tensors if _leaf(name) != COUNTER]
    if len(values) != len(own_names):
        return f"{len(values)} tensors, expected {len(own_names)}"
    pairs = list(zip(own_names, values, strict=True))
    for own_name, name in pairs:
        if not fits(values[name], own_name, layers):
            own = layers.tensors[own_name]
            found = f"{list(values[name].shape)} {values[name].dtype}"
            return (
                f"{shown(name)} is {found}, expected {list(own.shape)} {own.dtype} of {own_name} in its place"
            )
    shapes = {own_name: tuple(layers.tensors[own_name].shape) for own_name in own_names}
    fault = order_fault(pairs, shapes)
    if fault:
        return fault
    assigned = {own_name: values[name] for own_name, name in pairs} | _counters(file, layers)
    return _fitted(assigned, layers, "order", [])


def _counters(file: StateDict, layers: Layers) -> StateDict:
    """Return the counters of a file by the architecture's names; nothing if they are not as many."""
    own_names = [name for name in layers.tensors if _leaf(name) == COUNTER]
    values = [value for name, value in file.items() if _leaf(name) == COUNTER]
    return dict(zip(own_names, values, strict=True)) if len(values) == len(own_names) else {}


def fits(value: torch.Tensor, name: str, layers: Layers) -> bool:
    """True if a tensor has the shape of the layer, but for channels, classes and axes of length 1.

    Whole numbers are no weights: they would be those of a quantised model, or a mask.
    """
    own = layers.tensors[name]
    if own.is_floating_point() and not value.is_floating_point():
        return False
    expected = own.shape
    if value.shape == expected or _without_ones(value.shape) == _without_ones(expected):
        return True
    if len(value.shape) != len(expected):
        return False
    if layers.is_first(name):
        others = [position for position in range(len(expected)) if position != 1]
        return all(value.shape[position] == expected[position] for position in others)
    return layers.in_head(name) and value.shape[1:] == expected[1:]


def _fitted(
    assigned: Mapping[str, torch.Tensor],
    layers: Layers,
    match: WeightsMatch,
    notes: Iterable[str],
    is_without_head: bool = False,
) -> Fitted:
    """Return the tensors in the architecture's precision, with counters that the file lacks.

    `is_without_head`: the notes already say what became of its classifier.
    """
    said = list(notes)
    tensors: StateDict = {}
    widened = 0
    for name, own in layers.tensors.items():
        if name in assigned:
            value = assigned[name]
            widened += value.is_floating_point() and value.dtype != own.dtype
            tensors[name] = _in_shape(value, own).to(own.dtype)
        elif _leaf(name) == COUNTER:
            tensors[name] = torch.zeros_like(own)
    if widened:
        said.append(f"{widened} tensors converted to float32")
    if layers.head and not is_without_head and not any(layers.in_head(name) for name in tensors):
        said.append("the file has no classifier")
    return Fitted(tensors, match, tuple(said))


def _in_shape(value: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    """Return a tensor with the axes of length 1 as the layer has them."""
    is_alike = _without_ones(value.shape) == _without_ones(own.shape)
    return value.reshape(own.shape) if is_alike else value


def _is_needed(name: str, layers: Layers) -> bool:
    """True if a file must hold the tensor: counters are not used, and a classifier is begun anew."""
    return _leaf(name) != COUNTER and not layers.in_head(name)


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


def _without_wrapping(file: StateDict, layers: Layers) -> StateDict:
    """Return the tensors by their names without the parts that wrappers of a model add."""
    own_parts = {part for name in layers.tensors for part in name.split(".")}
    added = [part for part in WRAPPING if part not in own_parts]
    named = {}
    for name, value in file.items():
        named[".".join(part for part in name.split(".") if part not in added)] = value
    return named if len(named) == len(file) else dict(file)


def _prefix(named: StateDict, layers: Layers, averaged: bool) -> str:
    """Return the prefix under which most of the tensors are that the architecture needs.

    Of several with as many it is the averaged one if that is wanted, else one that is not; then the one with
    most tensors, then the shortest. If the averaged one is wanted, no other is taken.
    """
    needed = Counter(_prefixes(named, layers, needed=True))
    counts = Counter(_prefixes(named, layers))
    if averaged and any(is_averaged(prefix) for prefix in counts):
        counts = Counter({prefix: count for prefix, count in counts.items() if is_averaged(prefix)})
    if not counts:
        return ""

    def precedence(prefix: str) -> tuple[int, bool, int, int]:
        return needed[prefix], is_averaged(prefix) == averaged, counts[prefix], -len(prefix)

    return max(counts, key=precedence)


def copies(file: StateDict, layers: Layers, averaged: bool) -> list[str]:
    """Return the prefixes of several models in a file of which none can be preferred, as teacher and student.

    None, if the model itself has no prefix, or if all are the same.
    """
    named = _without_wrapping(file, layers)
    whole = sum(_is_needed(name, layers) for name in layers.tensors)
    needed = Counter(_prefixes(named, layers, needed=True))
    found = [prefix for prefix, count in needed.items() if count == whole and is_averaged(prefix) == averaged]
    if len(found) < 2 or "" in found or _are_alike(named, layers, found):
        return []
    return [prefix.rstrip(".") for prefix in found]


def _are_alike(named: StateDict, layers: Layers, prefixes: Sequence[str]) -> bool:
    """True if the needed tensors under all prefixes are the same."""
    first = prefixes[0]
    return all(
        same(named[prefix + name], named[first + name])
        for prefix in prefixes[1:]
        for name in layers.tensors
        if _is_needed(name, layers)
    )


def _prefixes(named: StateDict, layers: Layers, needed: bool = False) -> Iterator[str]:
    """Yield what stands before a name of the architecture, for each tensor and each such name.

    `needed`: only of those that a file must hold.
    """
    for name in named:
        parts = name.split(".")
        for start in range(len(parts)):
            own = ".".join(parts[start:])
            if own in layers.tensors and (not needed or _is_needed(own, layers)):
                yield "".join(f"{part}." for part in parts[:start])


def without_prefixes(file: StateDict, layers: Layers) -> StateDict:
    """Return the tensors without wrapping parts, and without a first part that all names share."""
    named = _without_wrapping(file, layers)
    own_first = {name.split(".")[0] for name in layers.tensors}
    while named:
        firsts = {name.split(".")[0] for name in named}
        first = next(iter(firsts))
        if len(firsts) > 1 or first in own_first or any("." not in name for name in named):
            break
        named = {name.removeprefix(f"{first}."): value for name, value in named.items()}
    return named


def _ignored(outside: int, prefix: str) -> str:
    place = f"outside {prefix.rstrip('.')!r}" if prefix else "beside the model"
    return f"{plural(outside, 'tensor')} {place} left out"


def _leaf(name: str) -> str:
    return name.rpartition(".")[2]


def _without_ones(shape: torch.Size) -> list[int]:
    return [length for length in shape if length != 1]
