"""Groups of tensors that must be treated alike, as a sum and what it adds (union-find)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

Facts = TypeVar("Facts")


class Groups(Generic[Facts]):
    """Puts tensors into groups, each with its facts; a tensor that is not known yet is a group of its own."""

    def __init__(self, facts_of: Callable[[str], Facts], merge: Callable[[Facts, Facts], None]) -> None:
        """Take how a tensor begins a group, and what adds the facts of a second group to those of a first."""
        self._facts_of = facts_of
        self._merge = merge
        self._parents: dict[str, str] = {}
        self._facts: dict[str, Facts] = {}

    def root(self, name: str) -> str:
        """Return the tensor that stands for the group of a tensor."""
        if name not in self._parents:
            self._parents[name] = name
            self._facts[name] = self._facts_of(name)
        while self._parents[name] != name:
            name = self._parents[name]
        return name

    def of(self, name: str) -> Facts:
        """Return the facts of the group of a tensor."""
        return self._facts[self.root(name)]

    def join(self, first: str, second: str) -> None:
        """Make one group of those of two tensors."""
        kept = self.root(first)
        gone = self.root(second)
        if kept != gone:
            self._parents[gone] = kept
            self._merge(self._facts[kept], self._facts.pop(gone))

    def by_root(self) -> dict[str, Facts]:
        """Return the facts of each group, by the tensor that stands for it, in the order of their tensors."""
        roots = dict.fromkeys(self.root(name) for name in self._parents)
        return {root: self._facts[root] for root in roots}

    def names(self) -> list[str]:
        """Return all tensors."""
        return list(self._parents)
