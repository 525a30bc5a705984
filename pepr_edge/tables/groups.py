"""Statistics of groups whose rows come in chunks and in any order: extremes, methods, bounds without one model, the best so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pepr_edge.scoring.pepr import Array

Number = TypeVar("Number", bound=np.generic)
Index = NDArray[np.int64]


class GroupIds(dict[str, int]):
    """Texts numbered in the order in which they first appear."""

    def __missing__(self, text: str) -> int:
        self[text] = code = len(self)
        return code

    def of(self, texts: Sequence[str]) -> Index:
        """Their numbers, shape (n,)."""
        return np.fromiter(map(self.__getitem__, texts), np.int64, len(texts))


def longer(array: NDArray[Number], length: int, fill: float) -> NDArray[Number]:
    """An array with room for at least so many, doubled so that growing stays cheap."""
    if len(array) >= length:
        return array
    more = np.full(max(length, 2 * len(array)) - len(array), fill, array.dtype)
    return np.concatenate([array, more])


class Minima:
    """Per group the two least values seen (equal ones count twice, infinite: none), and the row that holds the first."""

    def __init__(self) -> None:
        self.first: Array = np.zeros(0)
        self.second: Array = np.zeros(0)
        self.row: Index = np.zeros(0, np.int64)

    def reserve(self, groups: int) -> None:
        """Make room for so many groups."""
        self.first = longer(self.first, groups, np.inf)
        self.second = longer(self.second, groups, np.inf)
        self.row = longer(self.row, groups, -1)

    def merge(self, groups: Index, first: Array, second: Array, rows: Index) -> None:
        """Take in the two least of some groups, each named once: all of shape (k,)."""
        before = self.first[groups]
        self.second[groups] = np.minimum(np.maximum(before, first), np.minimum(self.second[groups], second))
        self.first[groups] = np.minimum(before, first)
        self.row[groups] = np.where(first < before, rows, self.row[groups])

    def but(self, groups: Index, rows: Index) -> Array:
        """The least of each group without one of its rows, shape (k,)."""
        return np.where(self.row[groups] == rows, self.second[groups], self.first[groups])


class Extremes:
    """Least and greatest values of one resource by group. The greatest are kept as the least of the negated values."""

    def __init__(self) -> None:
        self.low, self.negated_high = Minima(), Minima()

    def add(self, codes: Index, values: Array, rows: Index, groups: int) -> None:
        """Take in a chunk's known values, all of shape (n,); `groups` is how many there are by now."""
        self.low.reserve(groups)
        self.negated_high.reserve(groups)
        telling = (values < self.low.second[codes]) | (-values < self.negated_high.second[codes])
        if not telling.any():
            return
        codes, values, rows = codes[telling], values[telling], rows[telling]
        order = np.lexsort((values, codes))
        code, value = codes[order], values[order]
        starts, ends = segments(code)
        several = ends - starts > 1
        second = np.where(several, value[np.minimum(starts + 1, ends - 1)], np.inf)
        last_but_one = np.where(several, -value[np.maximum(ends - 2, starts)], np.inf)
        self.low.merge(code[starts], value[starts], second, rows[order[starts]])
        self.negated_high.merge(code[starts], -value[ends - 1], last_but_one, rows[order[ends - 1]])

    def bounds(self, groups: Index, without: Index, *, from_zero: bool) -> tuple[Array, Array]:
        """lo and hi, (k,) and (k,), of groups without one of their rows (-2: with all); NaN where nothing was measured."""
        low, high = (
            self.low.but(groups, without),
            0.0 - self.negated_high.but(groups, without),
        )  # so that 0 is not shown as -0
        none = ~np.isfinite(low)
        return np.where(none, np.nan, 0.0 if from_zero else low), np.where(none, np.nan, high)

    def sole_holders(self, groups: int) -> tuple[Index, Index]:
        """Groups and rows, (k,) and (k,), where a row alone holds the least or the greatest value."""
        found = [
            (np.flatnonzero(side.first[:groups] < side.second[:groups]), side.row)
            for side in (self.low, self.negated_high)
        ]
        return np.concatenate([group for group, _ in found]), np.concatenate(
            [rows[group] for group, rows in found]
        )


def segments(codes: Index) -> tuple[Index, Index]:
    """Where each run of equal codes starts and ends."""
    starts = np.flatnonzero(np.concatenate([[True], codes[1:] != codes[:-1]]))
    return starts, np.append(starts[1:], len(codes))


class Methods:
    """The one method by which a resource was obtained in each group."""

    def __init__(self) -> None:
        self._codes = GroupIds()
        self._first: Index = np.zeros(0, np.int64)

    def add(
        self, codes: Index, methods: Sequence[str], known: NDArray[np.bool_], groups: int
    ) -> tuple[int, set[str]] | None:
        """Take in the methods of a chunk's known values; a group that holds several, and two of them, if there is one."""
        self._first = longer(self._first, groups, -1)
        group, method = codes[known], self._codes.of(methods)[known]
        unset = self._first[group] < 0
        self._first[group[unset]] = method[unset]
        clash = np.flatnonzero(self._first[group] != method)
        if not clash.size:
            return None
        texts, at = list(self._codes), clash[0]
        return int(group[at]), {texts[code] or "not stated" for code in (self._first[group[at]], method[at])}

    def of(self, group: int) -> str:
        """The method of a group; "" where none is known."""
        code = self._first[group] if group < len(self._first) else -1
        return "" if code < 0 else list(self._codes)[code]


@dataclass(frozen=True)
class Views:
    """Sets of bounds to score under. The first are the groups whole, by their code; then each group without a row that moves its bounds.

    group and without (v,): which, without which row (-2: none); lo and hi (m, v) of each of m resources;
    slots (s, g): the views of each group beyond the first, -1 where it has fewer.
    """

    group: Index
    without: Index
    lo: Array
    hi: Array
    slots: Index

    def of_group(self, group: int) -> Index:
        """The views of a group beyond the whole, by the row that they leave out."""
        found = self.slots[:, group]
        return found[found >= 0]


def whole(extremes: Sequence[Extremes], groups: int, *, from_zero: bool) -> Views:
    """The groups with all their rows."""
    return _views(extremes, np.arange(groups), np.full(groups, -2), groups, from_zero)


def views(
    extremes: Sequence[Extremes], weighted: Sequence[bool], sizes: Index, top: int, *, from_zero: bool
) -> Views:
    """The groups whole, and without each row that alone holds an extreme of a weighted resource.

    Args:
        extremes: of each of m resources.
        weighted: whether it has a weight, (m,).
        sizes: rows of each group, (g,); one of no more than `top` has the same best whichever row is left out.
        top: how many the best are.
        from_zero: lo is 0.
    """
    groups = len(sizes)
    full = whole(extremes, groups, from_zero=from_zero)
    holders = [
        one.sole_holders(groups) for one, has_weight in zip(extremes, weighted, strict=True) if has_weight
    ]
    pairs = np.unique(np.concatenate([np.stack(pair, axis=1) for pair in holders]), axis=0)
    pairs = pairs[sizes[pairs[:, 0]] > top]
    less = _views(extremes, pairs[:, 0], pairs[:, 1], groups, from_zero)
    moved = ((less.lo != full.lo[:, less.group]) | (less.hi != full.hi[:, less.group])).any(axis=0)
    group = less.group[moved]
    place = np.arange(len(group)) - np.searchsorted(group, group)
    slots = np.full((int(place.max(initial=-1)) + 1, groups), -1)
    slots[place, group] = groups + np.arange(len(group))
    lo, hi = np.hstack([full.lo, less.lo[:, moved]]), np.hstack([full.hi, less.hi[:, moved]])
    return Views(np.append(full.group, group), np.append(full.without, less.without[moved]), lo, hi, slots)


def _views(extremes: Sequence[Extremes], group: Index, without: Index, groups: int, from_zero: bool) -> Views:
    found = [one.bounds(group, without, from_zero=from_zero) for one in extremes]
    lo, hi = np.stack([low for low, _ in found]), np.stack([high for _, high in found])
    return Views(group, without, lo, hi, np.zeros((0, groups), np.int64))


class TopRows:
    """The highest scores of each view so far and their rows, (v, depth) each, best first; of equal ones that which came first."""

    def __init__(self, count: int, depth: int) -> None:
        self.scores: Array = np.full((count, depth), -np.inf)
        self.rows: Index = np.full((count, depth), -1)

    def add(self, view: Index, scores: Array, rows: Index) -> None:
        """Take in a chunk's scores, all of shape (n,), the rows being later than those of earlier chunks. NaN is no score."""
        above = scores > self.scores[view, -1]  # an equal one came too late
        view, scores, rows = view[above], scores[above], rows[above]
        if not len(view):
            return
        depth = self.scores.shape[1]
        touched = np.unique(view)
        view = np.concatenate([np.repeat(touched, depth), view])
        scores = np.concatenate([self.scores[touched].ravel(), scores])
        rows = np.concatenate([self.rows[touched].ravel(), rows])
        order = np.lexsort((rows, -scores, view))
        view = view[order]
        starts, ends = segments(view)
        place = np.arange(len(view)) - np.repeat(starts, ends - starts)
        kept = place < depth
        self.scores[view[kept], place[kept]] = scores[order[kept]]
        self.rows[view[kept], place[kept]] = rows[order[kept]]

    def of(self, view: int) -> list[int]:
        """Rows of one view, best first."""
        return [row for row in self.rows[view].tolist() if row >= 0]
