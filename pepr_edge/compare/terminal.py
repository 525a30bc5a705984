"""A comparison for a terminal: headline, tests of A against B, questions within each side, warnings."""

from __future__ import annotations

from collections.abc import Sequence

from pepr_edge.compare.measures import SEPARATELY
from pepr_edge.compare.record import PERFORMANCE, Comparison, Finding
from pepr_edge.compare.sentences import p_value
from pepr_edge.text import units
from pepr_edge.text.tables import aligned_table, wrapped
from pepr_edge.text.units import printable

UNDEFINED = "-"
MAX_LEFT_OUT = 6
MAX_NAME = 14
HEADER = (
    ("", "mean", "mean", "", "", "better", "paired", "by", "Wilc.", "t-test", "", ""),
    ("measure", "A", "B", "B - A", "95 % CI", "in B", "p", "Holm", "p", "p", "d", "d_z"),
)


def text(comparison: Comparison) -> str:
    """Return the whole answer in lines of at most 100 characters."""
    lines = [comparison.question, "", *wrapped(comparison.headline), ""]
    for letter, side in (("A", comparison.a), ("B", comparison.b)):
        label = "" if side.label == letter else f", {side.label}"
        lines += wrapped(f"{letter}: {printable(side.source)}{label}", "", "   ")
    if comparison.differs:
        lines += wrapped(f"They differ in {'; '.join(comparison.differs)}.", "", "   ")
    lines += ["", *_table(comparison)]
    lines += _block(f"{comparison.question} Per unit of other resources:", comparison.per_resource)
    lines += _block("Within each side:", comparison.answers)
    lines += _block("Left out:", _left_out(comparison))
    lines += _block("Notes:", comparison.notes)
    lines += _block("Warnings:", comparison.warnings)
    return "\n".join(lines)


def _block(heading: str, sentences: Sequence[str]) -> list[str]:
    if not sentences:
        return []
    lines = ["", heading]
    for sentence in sentences:
        lines += wrapped(sentence, "- ")
    return lines


def _left_out(comparison: Comparison) -> list[str]:
    left_out = comparison.left_out
    lines = [printable(f"{entry.candidate}: {entry.reason}") for entry in left_out[:MAX_LEFT_OUT]]
    if len(left_out) > MAX_LEFT_OUT:
        lines.append(f"and {len(left_out) - MAX_LEFT_OUT} more, see comparison.json")
    return lines


def _table(comparison: Comparison) -> list[str]:
    """Return the tests of A against B; those on scores of each side by itself stand below the others."""
    between = [finding for finding in comparison.tests if finding.side is None]
    joint = [finding for finding in between if finding.question == comparison.question]
    separate = [finding for finding in between if finding.question != comparison.question]
    rows = [*HEADER, *(_cells(finding, comparison.metric) for finding in (*joint, *separate))]
    lines = aligned_table(rows, "l" + "r" * (len(HEADER[0]) - 1), gap=" ")
    if separate:
        lines.insert(len(HEADER) + len(joint), f"PePR with {SEPARATELY}, as in the paper:")
    return lines


def _cells(finding: Finding, metric: str) -> tuple[str, ...]:
    a, b = finding.mean
    name = units.metric(metric) if finding.measure == PERFORMANCE else finding.measure
    ci = UNDEFINED
    if finding.ci is not None:
        ci = f"{finding.ci[0]:+.3f} {finding.ci[1]:+.3f}"
    return (
        name[:MAX_NAME],
        _number(a, ".3f"),
        _number(b, ".3f"),
        _number(finding.difference, "+.3f"),
        ci,
        f"{finding.better}/{finding.n[0]}",
        p_value(finding.paired_p, UNDEFINED),
        p_value(finding.paired_p_holm, UNDEFINED),
        p_value(finding.wilcoxon_p, UNDEFINED),
        p_value(finding.p, UNDEFINED),
        _number(finding.cohen_d, "+.2f"),
        _number(finding.d_z, "+.2f"),
    )


def _number(value: float | None, form: str) -> str:
    return UNDEFINED if value is None else format(value, form)
