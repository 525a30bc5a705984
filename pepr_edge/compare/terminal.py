"""A comparison for a terminal: the headline, the tests of A against B, the questions within each side, what to beware of."""

from __future__ import annotations

from collections.abc import Sequence

from pepr_edge.compare.measures import APART
from pepr_edge.compare.record import PERFORMANCE, Comparison, Finding
from pepr_edge.compare.sentences import p_value
from pepr_edge.text import units
from pepr_edge.text.tables import wrapped
from pepr_edge.text.units import printable

ABSENT = "-"
NAMED_LEFT_OUT = 6
HEAD = (
    ("", "mean", "mean", "", "", "better", "paired", "by", "Wilc.", "t-test", "", ""),
    ("measure", "A", "B", "B - A", "95 % CI", "in B", "p", "Holm", "p", "p", "d", "d_z"),
)


def text(comparison: Comparison) -> str:
    """The whole answer in lines of at most 100 characters."""
    lines = [comparison.question, "", *wrapped(comparison.headline), ""]
    lines += wrapped(f"A: {printable(comparison.a.source)}{_label(comparison.a.label, 'A')}", "", "   ")
    lines += wrapped(f"B: {printable(comparison.b.source)}{_label(comparison.b.label, 'B')}", "", "   ")
    if comparison.differs:
        lines += wrapped(f"They differ in {'; '.join(comparison.differs)}.", "", "   ")
    lines += ["", *_table(comparison)]
    lines += _block(f"{comparison.question} Per unit of other resources:", comparison.per_resource)
    lines += _block("Within each side:", comparison.answers)
    lines += _block("Left out:", _left_out(comparison))
    lines += _block("How to read it:", comparison.notes)
    lines += _block("Beware:", comparison.warnings)
    return "\n".join(lines)


def _label(label: str, letter: str) -> str:
    return "" if label == letter else f", {label}"


def _block(head: str, sentences: Sequence[str]) -> list[str]:
    if not sentences:
        return []
    return ["", head, *(line for sentence in sentences for line in wrapped(sentence, "- "))]


def _left_out(comparison: Comparison) -> list[str]:
    absent = comparison.left_out
    found = [printable(f"{one.candidate}: {one.reason}") for one in absent[:NAMED_LEFT_OUT]]
    return found + (
        [f"and {len(absent) - NAMED_LEFT_OUT} more, see comparison.json"]
        if len(absent) > NAMED_LEFT_OUT
        else []
    )


def _table(comparison: Comparison) -> list[str]:
    """The tests of A against B, those on scores of each side by itself beneath."""
    between = [finding for finding in comparison.tests if finding.side is None]
    together = [finding for finding in between if finding.question == comparison.question]
    apart = [finding for finding in between if finding.question != comparison.question]
    rows = [_cells(finding, comparison.metric) for finding in (*together, *apart)]
    widths = [max(len(row[column]) for row in (*HEAD, *rows)) for column in range(len(HEAD[0]))]
    lines = [_line(row, widths) for row in (*HEAD, *rows)]
    split = len(HEAD) + len(together)
    return lines[:split] + ([f"PePR with {APART}, as in the paper:", *lines[split:]] if apart else [])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [
        cell.ljust(width) if column == 0 else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return " ".join(padded).rstrip()


def _cells(finding: Finding, metric: str) -> tuple[str, ...]:
    a, b = finding.mean
    ci = f"{finding.ci[0]:+.3f} {finding.ci[1]:+.3f}" if finding.ci else ABSENT
    name = units.metric(metric) if finding.measure == PERFORMANCE else finding.measure
    return (
        name[:14],
        _number(a, ".3f"),
        _number(b, ".3f"),
        _number(finding.difference, "+.3f"),
        ci,
        f"{finding.better}/{finding.n[0]}",
        p_value(finding.paired_p, ABSENT),
        p_value(finding.paired_p_holm, ABSENT),
        p_value(finding.wilcoxon_p, ABSENT),
        p_value(finding.p, ABSENT),
        _number(finding.cohen_d, "+.2f"),
        _number(finding.d_z, "+.2f"),
    )


def _number(value: float | None, form: str) -> str:
    return ABSENT if value is None else format(value, form)
