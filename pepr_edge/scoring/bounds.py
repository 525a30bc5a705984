"""Bounds from a file, so that scores of different sets, runs and years can be compared."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pepr_edge.errors import ScoreError
from pepr_edge.records import Bound, first_fault
from pepr_edge.untrusted.documents import RECORD_BYTES, content, json_document

FORM = '{"NAME": {"lo": 0, "hi": 1}}, a ranking.json, or what `pepr-edge score --json` printed'


@dataclass(frozen=True)
class Reference:
    """Bounds by resource: one set that serves all groups (its key is None), or one for each group, by its name."""

    path: Path
    sets: Mapping[str | None, Mapping[str, Bound]]

    def of(self, group: str | None, names: Collection[str] | None = None) -> dict[str, Bound]:
        """The bounds of these resources (None: of all) for a group.

        They are those of the group of that name, or of a set without a name, which serves all groups. Where there are no groups, the only
        set serves, whatever its name.

        Raises:
            ScoreError: there are none for this group, or not for all resources.
        """
        if group in self.sets:
            found = self.sets[group]
        elif None in self.sets:
            found = self.sets[None]
        elif group is None and len(self.sets) == 1:
            (found,) = self.sets.values()
        else:
            wanted = (
                "several groups, expected one set of bounds"
                if group is None
                else f"no bounds for group {group!r}"
            )
            raise ScoreError(f"{self.path}: {wanted}. It has {', '.join(map(repr, self.sets))}.")
        for name in names or ():
            if name not in found:
                raise ScoreError(
                    f"{self.path}: no bounds for resource {name!r}, has {', '.join(found) or 'none'}. Add them."
                )
        return {name: found[name] for name in (found if names is None else names)}

    @property
    def unnamed(self) -> bool:
        """Whether it is one set that serves all groups."""
        return set(self.sets) == {None}


def read_bounds(path: Path) -> dict[str, Bound]:
    """Bounds by resource, where there are no groups.

    Args:
        path: JSON of {NAME: {"lo", "hi", "unit"?}} or {NAME: [lo, hi]}, that under the key "bounds", or the output of `score --json`.
    Raises:
        ScoreError: no such file, not of that form, several groups, lo above hi, or a bound that is negative or not finite.
    """
    return read_reference(path).of(None)


def read_reference(path: Path) -> Reference:
    """All bounds of a file; see `read_bounds`."""
    try:
        document = json_document(content(path, RECORD_BYTES))
    except FileNotFoundError:
        raise ScoreError(f"{path}: no such file, expected bounds as JSON: {FORM}.") from None
    except OSError as fault:
        raise ScoreError(
            f"{path}: cannot be read ({fault.strerror}), expected bounds as JSON: {FORM}."
        ) from None
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
    found: dict[str | None, Mapping[str, Bound]] = {}
    for group in groups:
        if not (
            isinstance(group, dict)
            and isinstance(group.get("bounds"), dict)
            and isinstance(group.get("group"), str | None)
        ):
            raise ScoreError(f"{path}: a group without bounds, expected {FORM}.")
        # null: nobody's was measured in that group.
        found[group.get("group")] = _bounds(
            path, {name: bound for name, bound in group["bounds"].items() if bound is not None}
        )
    return found


def _bounds(path: Path, document: Mapping[str, Any]) -> dict[str, Bound]:
    return {name: _bound(path, name, entry) for name, entry in document.items()}


def _bound(path: Path, name: str, entry: Any) -> Bound:
    if isinstance(entry, list) and len(entry) == 2:
        entry = {"lo": entry[0], "hi": entry[1]}
    if not isinstance(entry, dict):
        raise ScoreError(f"{path}: {name} = {json.dumps(entry)[:40]}, expected its lo and hi, as in {FORM}.")
    try:
        bound = Bound.model_validate({"unit": "", **entry}, strict=True)
    except ValidationError as fault:
        raise ScoreError(f"{path}: {name}.{first_fault(fault)}. Expected finite numbers lo and hi.") from None
    if not 0 <= bound.lo <= bound.hi:
        raise ScoreError(f"{path}: {name} has lo = {bound.lo} and hi = {bound.hi}, expected 0 <= lo <= hi.")
    return bound
