"""Tables and wrapped text for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from pepr_edge.untrusted.shown import shown

WIDTH = 100  # characters per line
JOINED = "\0"  # stands for a space at which no line ends
MAX_CELL = 1000  # characters of a wrapped cell, which may be a reason of several sentences


def aligned_table(rows: Sequence[Sequence[str]], align: str, gap: str = "  ", indent: str = "") -> list[str]:
    """Return one line per row, each column as wide as its longest cell.

    Args:
        rows: cells as text, shown on one line each, the header first; a row may leave out its last cells.
        align: one letter per column, `l` for left or `r` for right.
        gap: between two columns.
        indent: in front of each line.
    """
    rows = [[shown(cell) for cell in row] for row in rows]
    widths = [0] * len(align)
    for row in rows:
        for column, cell in enumerate(row):
            widths[column] = max(widths[column], len(cell))
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if side == "r" else cell.ljust(width)
            for cell, side, width in zip(row, align, widths, strict=False)
        ]
        lines.append((indent + gap.join(cells)).rstrip())
    return lines


def wrapped_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return left-aligned columns, the last one wrapped if a line would exceed WIDTH."""
    table = [[shown(cell, MAX_CELL) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(header) - 1)]
    lines = []
    for row in table:
        start = "".join(cell.ljust(width) + "  " for cell, width in zip(row, widths, strict=False))
        indent = " " * min(len(start), WIDTH // 2)
        lines += textwrap.wrap(start + row[-1], WIDTH, subsequent_indent=indent) or [start]
    return lines


def wrapped(text: str, first: str = "", rest: str = "  ") -> list[str]:
    """Return a sentence in lines of at most WIDTH characters; `first` and `rest` are their indents.

    A per cent sign stays beside its number.
    """
    lines = textwrap.wrap(
        text.replace(" %", f"{JOINED}%"),
        WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_on_hyphens=False,
    )
    return [line.replace(JOINED, " ") for line in lines]


def clip(text: str, width: int) -> str:
    """Cut text at its end to a width; `...` marks the cut."""
    return text if len(text) <= width else f"{text[: width - 3]}..."


def clip_middle(text: str, width: int) -> str:
    """Cut text in its middle to a width, so that the image size at the end of a candidate's name stays."""
    if len(text) <= width:
        return text
    tail = min(8, (width - 2) // 2)
    return f"{text[: width - 2 - tail]}..{text[len(text) - tail :]}"
