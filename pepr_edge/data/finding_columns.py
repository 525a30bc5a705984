"""Several findings an image in a table: a column of 0 and 1 for each, or one column with all names.

In one column the names are separated by a sign. A text such as "No Finding" that is never joined with others
stands for an image without any.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from pepr_edge.data.columns import Chosen, choose
from pepr_edge.data.findings import MAX_EXAMPLES, unused_columns
from pepr_edge.data.names import spelling_key
from pepr_edge.data.source import DataSettings
from pepr_edge.data.table import Table, column_key
from pepr_edge.errors import DataError
from pepr_edge.records import Columns, Problem
from pepr_edge.untrusted.shown import shown

# Signs between names, the most certain first. A recipe may name another one.
SIGNS = ("|", ";", ",", "+", "/")
# Texts of an image without any finding, as `spelling_key` gives them.
NONE_WORDS = frozenset(
    spelling_key(text)
    for text in ("no finding", "no findings", "nofinding", "none", "normal", "healthy", "negative")
)
VALUES = {"0": False, "0.0": False, "1": True, "1.0": True}


class FindingTable(NamedTuple):
    """The columns that are used, the names of all findings in order (empty: sorted), and those of a row."""

    chosen: Chosen
    order: tuple[str, ...]
    of_row: Callable[[Mapping[str, str]], tuple[str, ...]]


def choose_findings(table: Table, settings: DataSettings) -> FindingTable:
    """Choose the columns of a table whose images may have several findings.

    Columns of 0 and 1 are taken if the settings name them, or if there is no column label.

    Raises:
        DataError: there are no such columns, or they hold other values.
    """
    keys = {column_key(name) for name in table.header}
    label = settings.columns.get("label", "label")
    if settings.findings or column_key(label) not in keys:
        return _from_columns(table, settings)
    chosen = choose(table, settings.columns, settings.subgroups)
    texts = table.column(chosen.positions["label"])
    separator = settings.separator or found_separator(texts)
    _check_separator(table, settings.separator, texts)
    none_text = _none_text(texts, separator)
    if none_text is not None:
        chosen = replace(chosen, problems=(*chosen.problems, _none_note(none_text, texts)))

    def of_row(row: Mapping[str, str]) -> tuple[str, ...]:
        return () if row["label"] == none_text else _parts(row["label"], separator)

    return FindingTable(chosen, (), of_row)


def found_separator(texts: Sequence[str]) -> str:
    """Return the first of SIGNS that is in one of the texts; "" if none is."""
    for sign in SIGNS:
        if any(sign in text for text in texts):
            return sign
    return ""


def _check_separator(table: Table, separator: str, texts: Sequence[str]) -> None:
    """Refuse a sign that no label holds, if another one stands there: its names would be joined."""
    if not separator or any(separator in text for text in texts):
        return
    sign = found_separator(texts)
    if sign:
        examples = [text for text in texts if sign in text]
        raise DataError(
            f'{table.path}: data.separator = "{shown(separator)}", which is in no label, but "{sign}" '
            f'is in {len(examples)}, as in {shown(examples[0])!r}. Set data.separator = "{sign}", or '
            "remove the line."
        )


def _parts(text: str, separator: str) -> tuple[str, ...]:
    parts = text.split(separator) if separator else [text]
    return tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))


def _none_text(texts: Sequence[str], separator: str) -> str | None:
    """Return the text for an image without any finding; None without one, or if it is joined with others."""
    alone = {text for text in texts if spelling_key(text) in NONE_WORDS}
    joined = {spelling_key(part) for text in texts if text not in alone for part in _parts(text, separator)}
    usable = [text for text in alone if spelling_key(text) not in joined]
    return usable[0] if len(usable) == 1 else None


def _none_note(text: str, texts: Sequence[str]) -> Problem:
    return Problem(
        kind="label_means_none",
        severity="note",
        count=texts.count(text),
        examples=(shown(text),),
        remedy=f"{shown(text)!r} stands for an image without any finding. If it is a finding of its own, "
        "give it another name.",
    )


def _from_columns(table: Table, settings: DataSettings) -> FindingTable:
    named = {role: name for role, name in settings.columns.items() if role != "label"}
    chosen = choose(table, named, settings.subgroups, with_label=False)
    taken = set(chosen.positions.values())
    positions = _named(table, settings.findings) if settings.findings else _indicators(table, taken)
    if len(positions) < 2:
        header = ", ".join(shown(name) for name in table.header[:MAX_EXAMPLES]) or "nothing"
        raise DataError(
            f"{table.path}: line 1: no column label, and fewer than two columns of 0 and 1 (found {header}, "
            '...), expected findings. Name them: data.findings = ["edema", "effusion"].'
        )
    for name, position in positions.items():
        for row in table.rows:
            if row.values[position] not in VALUES:
                raise DataError(
                    f"{table.path}: line {row.line}: {shown(name)} = {shown(row.values[position])!r}, "
                    "expected 0 or 1 for a finding. Decide what uncertain or empty values count as, or leave "
                    "the column out: data.findings."
                )
    roles = {_role(name): position for name, position in positions.items()}
    columns = (*chosen.positions.values(), *positions.values())
    used = tuple(shown(table.header[position]) for position in columns)
    ignored = tuple(name for name in chosen.columns.ignored if name not in used)
    problems = [problem for problem in chosen.problems if problem.kind != "columns_ignored"]
    found = Chosen(
        {**chosen.positions, **roles},
        Columns(used=used, ignored=ignored),
        (*problems, *unused_columns(ignored)),
    )

    def of_row(row: Mapping[str, str]) -> tuple[str, ...]:
        return tuple(name for name in positions if VALUES[row[_role(name)]])

    return FindingTable(found, tuple(positions), of_row)


def _role(name: str) -> str:
    return f"finding {name}"


def _named(table: Table, names: Sequence[str]) -> dict[str, int]:
    """Return the positions of named columns."""
    keys = [column_key(name) for name in table.header]
    positions = {}
    for name in names:
        if keys.count(column_key(name)) != 1:
            raise DataError(
                f"{table.path}: line 1: data.findings names {shown(name)!r}, which is there "
                f"{keys.count(column_key(name))} times, expected once. Correct the name."
            )
        positions[name] = keys.index(column_key(name))
    return positions


def _indicators(table: Table, taken: set[int]) -> dict[str, int]:
    """Return the positions of the columns that hold only 0 and 1, and both."""
    found = {}
    for position, name in enumerate(table.header):
        values = set(table.column(position))
        has_both = {VALUES.get(value) for value in values} == {False, True}
        if name and position not in taken and has_both:
            found[name] = position
    return found
