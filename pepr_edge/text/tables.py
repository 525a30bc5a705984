"""Text in lines of a terminal's width, and tables of them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

WIDTH = 100


def plain_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns side by side, the last one wrapped where a line would be too long."""
    widths = [max(len(cells[column]) for cells in (header, *rows)) for column in range(len(header) - 1)]
    lines = []
    for cells in (header, *rows):
        start = "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=False)) + "  "
        lines += textwrap.wrap(
            start + cells[-1],
            WIDTH,
            subsequent_indent=" " * min(len(start), WIDTH // 2),
            drop_whitespace=True,
        ) or [start]
    return lines


def wrapped(text: str, first: str = "", rest: str = "  ") -> list[str]:
    """A sentence in lines of at most WIDTH characters."""
    return textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False)


def shortened(text: str, width: int) -> str:
    """Text cut in its middle to a width, so that the size at the end of a candidate's name stays."""
    if len(text) <= width:
        return text
    tail = min(8, (width - 2) // 2)
    return f"{text[: width - 2 - tail]}..{text[len(text) - tail :]}"
