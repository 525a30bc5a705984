"""Whether tensors in the order of an architecture's layers, with the same shapes, can only be these layers.

Tensors of one module have one shape each, and so have modules that stand side by side, as the projections of
query, key and value. Order alone does not tell them apart: the file's own names must.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise, zip_longest

from pepr_edge.untrusted.shown import shown

Shape = tuple[int, ...]
# Names of a tensor within its layer, and those that other libraries give it.
LEAVES = {
    "weight": ("weight", "gamma", "kernel", "scale", "w"),
    "bias": ("bias", "beta", "b"),
    "running_mean": ("running_mean", "moving_mean", "mean"),
    "running_var": ("running_var", "moving_variance", "moving_var", "variance", "var"),
}
SAME_LEAF = {other: own for own, others in LEAVES.items() for other in others}
NUMBERED = re.compile(r"(.*?)(\d+)(\D*)")


def order_fault(pairs: Sequence[tuple[str, str]], shapes: dict[str, Shape]) -> str | None:
    """Return why pairs of names are not certain to be the same tensors; None if they are.

    Args:
        pairs: name in the architecture and name in the file, in order.
        shapes: by the name in the architecture.
    """
    for own, name in pairs:
        if _leaf(own) != _leaf(name):
            return f"{shown(name)} stands in the place of {own}"
    file_names = dict(pairs)
    for siblings in _siblings([own for own, _ in pairs], shapes):
        for first, second in pairwise(siblings):
            fault = _pair_fault(first, second, file_names)
            if fault:
                return fault
    return None


def _leaf(name: str) -> str:
    last = name.rpartition(".")[2].lstrip("_").lower()
    return SAME_LEAF.get(last, last)


def _siblings(names: Sequence[str], shapes: dict[str, Shape]) -> list[list[list[str]]]:
    """Return the groups of parts of one module that hold the same tensors, each part as its names."""
    members: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name in names:
        parts = name.split(".")
        for depth in range(len(parts)):
            members[".".join(parts[:depth]), parts[depth]].append(name)
    groups: dict[object, list[list[str]]] = defaultdict(list)
    for (parent, _), inside in members.items():
        content = tuple((_leaf(name), shapes[name]) for name in inside)
        groups[parent, content].append(inside)
    return [group for group in groups.values() if len(group) > 1]


def _pair_fault(first: Sequence[str], second: Sequence[str], file_names: dict[str, str]) -> str | None:
    """Return why two parts with the same tensors could be mistaken for each other; None if they cannot."""
    for own, other in zip(first, second, strict=True):
        own_parts = _first_difference(own, other)
        found = file_names[own], file_names[other]
        file_parts = _first_difference(*found)
        if _plain(file_parts) != _plain(own_parts) and not _in_order(*file_parts):
            return (
                f"{shown(found[0])} and {shown(found[1])} have the same shapes, and may be {own} and {other} "
                "or the other way round"
            )
    return None


def _first_difference(first: str, second: str) -> tuple[str, str]:
    """Return the first parts in which two names differ."""
    pairs = zip_longest(first.split("."), second.split("."), fillvalue="")
    return next((one, other) for one, other in pairs if one != other)


def _plain(names: tuple[str, str]) -> tuple[str, ...]:
    return tuple(name.strip("_").lower() for name in names)


def _in_order(first: str, second: str) -> bool:
    """True for names with rising numbers, as `bn1` and `bn2`."""
    one = NUMBERED.fullmatch(first)
    other = NUMBERED.fullmatch(second)
    if one is None or other is None:
        return False
    return (one[1], one[3]) == (other[1], other[3]) and int(one[2]) < int(other[2])
