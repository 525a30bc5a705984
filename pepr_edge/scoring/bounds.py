"""Bounds read from a file, so that scores of different sets, runs and years can be compared."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pepr_edge.errors import ScoreError
from pepr_edge.records import Bound, first_fault
from pepr_edge.untrusted.documents import json_document
from pepr_edge.untrusted.files import RECORD_BYTES
from pepr_edge.untrusted.read import read_file

FORM = '{"NAME": {"lo": 0, "hi": 1}}, a ranking.json, or the output of `pepr-edge score --json`'


@dataclass(frozen=True)
class Reference:
    """Bounds by resource, either one set for all groups (with the key None) or one set for each group."""

    path: Path
    sets: Mapping[str | None, Mapping[str, Bound]]

    def bounds_of(self, group: str | None, names: Collection[str] | None = None) -> dict[str, Bound]:
        """Return the bounds for a group.

        They come from the set with the group's name, or from the set without a name, which serves all groups.
        If there are no groups (None), the only set is used, whatever its name.

        Args:
            group: its name, or None if the models are not grouped.
            names: the resources; None for all.
        Raises:
            ScoreError: there are no bounds for this group or for one of the resources.
        """
        bounds = self._set_of(group)
        for name in names or ():
            if name not in bounds:
                known = ", ".join(bounds) or "none"
                raise ScoreError(f"{self.path}: no bounds for resource {name!r}, has {known}. Add them.")
        return {name: bounds[name] for name in (bounds if names is None else names)}

    def _set_of(self, group: str | None) -> Mapping[str, Bound]:
        if group in self.sets:
            return self.sets[group]
        if None in self.sets:
            return self.sets[None]
        if group is None and len(self.sets) == 1:
            return next(iter(self.sets.values()))
        problem = f"no bounds for group {group!r}"
        if group is None:
            problem = "several groups, expected one set of bounds"
        raise ScoreError(f"{self.path}: {problem}. It has {', '.join(map(repr, self.sets))}.")

    @property
    def unnamed(self) -> bool:
        """True if there is one set that serves all groups."""
        return set(self.sets) == {None}


def read_bounds(path: Path) -> dict[str, Bound]:
    """Read bounds by resource from a file without groups.

    Args:
        path: JSON of {NAME: {"lo", "hi", "unit"?}} or {NAME: [lo, hi]}, the same under the key "bounds", or
            the output of `score --json`.
    Raises:
        ScoreError: the file is missing, has another form or several groups, or a bound has lo above hi, is
            negative or not finite.
    """
    return read_reference(path).bounds_of(None)


def read_reference(path: Path) -> Reference:
    """Read all bounds of a file; see `read_bounds`."""
    try:
        document = json_document(read_file(path, RECORD_BYTES, ScoreError, f"bounds as JSON: {FORM}."))
    except ValueError as fault:
        raise ScoreError(f"{path}: not JSON ({fault}), expected {FORM}.") from None
    if not isinstance(document, dict):
        raise ScoreError(f"{path}: not bounds, expected {FORM}.")
    groups = document.get("groups")
    if isinstance(groups, list) and groups and isinstance(groups[0], dict):
        return Reference(path, _groups(path, groups))
    inner = document.get("bounds")
    # A resource may itself be called "bounds".
    bounds = inner if isinstance(inner, dict) and not {"lo", "hi"} <= set(inner) else document
    return Reference(path, {None: _bounds(path, bounds)})


def _groups(path: Path, groups: list[Any]) -> dict[str | None, Mapping[str, Bound]]:
    sets: dict[str | None, Mapping[str, Bound]] = {}
    for group in groups:
        valid = (
            isinstance(group, dict)
            and isinstance(group.get("bounds"), dict)
            and isinstance(group.get("group"), str | None)
        )
        if not valid:
            raise ScoreError(f"{path}: a group without bounds, expected {FORM}.")
        # A bound is null if no model of the group had a value for this resource.
        measured = {name: bound for name, bound in group["bounds"].items() if bound is not None}
        sets[group.get("group")] = _bounds(path, measured)
    return sets


def _bounds(path: Path, document: Mapping[str, Any]) -> dict[str, Bound]:
    return {name: _bound(path, name, entry) for name, entry in document.items()}


def _bound(path: Path, name: str, entry: Any) -> Bound:
    if isinstance(entry, list) and len(entry) == 2:
        entry = {"lo": entry[0], "hi": entry[1]}
    if not isinstance(entry, dict):
        value = json.dumps(entry)[:40]
        raise ScoreError(f"{path}: {name} = {value}, expected its lo and hi, as in {FORM}.")
    try:
        bound = Bound.model_validate({"unit": "", **entry}, strict=True)
    except ValidationError as fault:
        raise ScoreError(f"{path}: {name}.{first_fault(fault)}. Expected finite numbers lo and hi.") from None
    if not 0 <= bound.lo <= bound.hi:
        raise ScoreError(f"{path}: {name} has lo = {bound.lo} and hi = {bound.hi}, expected 0 <= lo <= hi.")
    return bound
