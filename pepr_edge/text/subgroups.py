"""Performance by subgroup as rows of a table, the same in the terminal, the card and the report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pepr_edge.records import MIN_CELL, Subgroups
from pepr_edge.text.units import MISSING, count, listed, metric, performance, plural, printable

HEADER = ("column", "group", "images", "performance (95 % interval)", "")
WORST = "worst"


def group_rows(columns: Sequence[Subgroups]) -> Iterator[tuple[str, ...]]:
    """Yield the cells of each group that is shown."""
    for column in columns:
        for group in column.groups:
            figure = group.metrics.get(column.metric)
            value = MISSING if figure is None else performance(figure.value, figure.ci)
            worst = WORST if group.group == column.worst else ""
            yield printable(column.column), printable(group.group), count(group.n), value, worst


def hidden_sentence(columns: Sequence[Subgroups]) -> str:
    """Say which columns have groups that are hidden; empty if none has."""
    hidden = [
        f"{plural(column.hidden_groups, 'group')} of {printable(column.column)}"
        for column in columns
        if column.hidden_groups
    ]
    if not hidden:
        return ""
    return f"Not shown: {listed(hidden)}, with fewer than {MIN_CELL} images or to keep such a group hidden."


def metric_of(columns: Sequence[Subgroups]) -> str:
    """Return the name of the metric by which groups are compared, for people."""
    return metric(columns[0].metric)
