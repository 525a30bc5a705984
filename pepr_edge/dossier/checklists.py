"""Reporting checklists: their items, what a bundle knows of each, and what is left to people."""

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

    `asks` is a paraphrase of ours. `known` finds the answer in a manifest. `left` is what the manifest cannot
    know, and why; empty if an answer from the manifest is all of it.
    """

    number: str
    section: str
    asks: str
    known: Known
    left: str = ""
    without: str = "the bundle does not say it"


class Checklist(NamedTuple):
    """A checklist: its name, the name of its file, where it was published, and its items."""

    name: str
    file: str
    source: str
    items: tuple[Item, ...]


class Answer(NamedTuple):
    """What stands in the row of an item: the text from the bundle, and what people are to add."""

    item: Item
    state: State
    known: str
    by_you: str


def unknown(manifest: Manifest) -> None:
    """Know nothing: no bundle says it."""


def about(name: str) -> Known:
    """Return what finds a statement of the makers, by its key in `[about]`."""

    def known(manifest: Manifest) -> str | None:
        return said(manifest, name)

    return known


def not_said(name: str) -> str:
    """Return why a statement of the makers is missing."""
    return f"the recipe has no [about] {name}"


def fill(checklist: Checklist, manifest: Manifest) -> tuple[Answer, ...]:
    """Return the answers of a manifest to all items, in their order."""
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
