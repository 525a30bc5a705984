"""Reporting checklists: their items, the answers from a bundle, and what people have to fill in."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

from pepr_edge.dossier.facts import said
from pepr_edge.records import Manifest
from pepr_edge.untrusted.shown import cell

Known = Callable[[Manifest], str | None]
State = Literal["from the bundle", "in part", "by you"]
STATES: tuple[State, ...] = ("from the bundle", "in part", "by you")
BY_YOU = "to be filled in by you"


class Item(NamedTuple):
    """One item of a checklist.

    number, section: as in the publication.
    asks: what the item asks for, in our words.
    known: returns the answer from a manifest, or None.
    left: what no manifest can answer, and why; empty if the manifest's answer is complete.
    without: why there is no answer, if the manifest has none and `left` is empty.
    """

    number: str
    section: str
    asks: str
    known: Known
    left: str = ""
    without: str = "the bundle does not say it"


class Checklist(NamedTuple):
    """A checklist: its name, the name of its file without suffix, where it was published, and its items."""

    name: str
    file: str
    source: str
    items: tuple[Item, ...]


class Answer(NamedTuple):
    """The answer to an item: the text from the bundle, and what people have to add; each may be empty."""

    item: Item
    state: State
    known: str
    by_you: str


def unknown(manifest: Manifest) -> None:
    """Return None: no manifest has an answer to this item."""


def about(name: str) -> Known:
    """Return a function that returns a manifest's statement for this key of `[about]`."""

    def known(manifest: Manifest) -> str | None:
        return said(manifest, name)

    return known


def not_said(name: str) -> str:
    """Return the reason why a statement is missing, for its key of `[about]`."""
    return f"the recipe has no [about] {name}"


def fill(checklist: Checklist, manifest: Manifest) -> tuple[Answer, ...]:
    """Answer all items from a manifest, in their order."""
    return tuple(_answer(item, item.known(manifest)) for item in checklist.items)


def _answer(item: Item, known: str | None) -> Answer:
    if known is None:
        reason = item.left or item.without
        return Answer(item, "by you", "", f"{BY_YOU}: {reason}")
    if item.left:
        return Answer(item, "in part", known, f"{BY_YOU}: {item.left}")
    return Answer(item, "from the bundle", known, "")


def counts(answers: Sequence[Answer]) -> Mapping[State, int]:
    """Return the number of items by state."""
    return {state: sum(answer.state == state for answer in answers) for state in STATES}


def to_csv(answers: Sequence[Answer]) -> str:
    """Return the table for a spreadsheet, to be filled in there."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("item", "section", "asks for", "state", "from the bundle", BY_YOU))
    for answer in answers:
        item = answer.item
        row = (item.number, item.section, item.asks, answer.state, answer.known, answer.by_you)
        writer.writerow([cell(value) for value in row])
    return out.getvalue()
