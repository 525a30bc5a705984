"""Parts of the names in a weights file that say whose the tensors are: wrappers, scripts, several models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from pepr_edge.train.weights.layers import COUNTER, Layers, leaf
from pepr_edge.train.weights.reading import StateDict, is_averaged, same

# Parts of a name that wrappers of a model add: DataParallel, torch.compile, FSDP, activation checkpoints.
WRAPPING = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
# With fewer of the tensors that the architecture needs, a prefix is not that of the model.
MOST = 0.5


def of_one_model(file: StateDict, layers: Layers, averaged: bool) -> tuple[StateDict, str]:
    """Return the tensors under the prefix of the model without it, and the prefix.

    Args:
        file: the tensors of a file.
        layers: of the architecture.
        averaged: of two copies in the file, take the averaged one.
    """
    named = _without_wrapping(file, layers)
    prefix = _prefix(named, layers, averaged)
    inside = {name.removeprefix(prefix): value for name, value in named.items() if name.startswith(prefix)}
    return inside, prefix


def parts_of_model(file: StateDict, layers: Layers, averaged: bool) -> tuple[StateDict, str]:
    """Return the tensors of the model alone, as far as names tell, else all of the file; and their prefix.

    Names of another library tell little: then only wrapping parts and what all names share are removed.
    """
    inside, prefix = of_one_model(file, layers, averaged)
    if prefix and _count_needed(inside, layers) >= MOST * _count_needed(layers.tensors, layers):
        return inside, prefix
    return without_prefixes(file, layers), ""


def _count_needed(tensors: StateDict, layers: Layers) -> int:
    return sum(name in layers.tensors and layers.is_needed(name) for name in tensors)


def copies(file: StateDict, layers: Layers, averaged: bool) -> list[str]:
    """Return the prefixes of several models in a file of which none can be preferred, as teacher and student.

    None, if the model itself has no prefix, or if all are the same.
    """
    named = _without_wrapping(file, layers)
    whole = sum(layers.is_needed(name) for name in layers.tensors)
    needed = Counter(_prefixes(named, layers, needed=True))
    found = [prefix for prefix, count in needed.items() if count == whole and is_averaged(prefix) == averaged]
    if len(found) < 2 or "" in found or _are_alike(named, layers, found):
        return []
    return [prefix.rstrip(".") for prefix in found]


def _are_alike(named: StateDict, layers: Layers, prefixes: Sequence[str]) -> bool:
    """True if the architecture's tensors are the same under all prefixes, as far as both have them."""
    first = prefixes[0]
    return all(
        same(named[prefix + name], named[first + name])
        for prefix in prefixes[1:]
        for name in layers.tensors
        if leaf(name) != COUNTER and prefix + name in named and first + name in named
    )


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

    Of several with as many it is the one with most tensors, then the shortest. If averaged weights are
    wanted, only their prefixes count; if not, the others, as soon as one of these has most of a model.
    """
    needed = Counter(_prefixes(named, layers, needed=True))
    counts = Counter(_prefixes(named, layers))
    wanted = [prefix for prefix in counts if is_averaged(prefix) == averaged]
    enough = 0 if averaged else MOST * _count_needed(layers.tensors, layers)
    if any(needed[prefix] >= enough for prefix in wanted):
        counts = Counter({prefix: counts[prefix] for prefix in wanted})
    return max(counts, key=lambda prefix: (needed[prefix], counts[prefix], -len(prefix)), default="")


def _prefixes(named: StateDict, layers: Layers, needed: bool = False) -> Iterator[str]:
    """Yield what stands before a name of the architecture, for each tensor and each such name.

    `needed`: only of those that a file must hold.
    """
    for name in named:
        parts = name.split(".")
        for start in range(len(parts)):
            own = ".".join(parts[start:])
            if own in layers.tensors and (not needed or layers.is_needed(own)):
                yield "".join(f"{part}." for part in parts[:start])
