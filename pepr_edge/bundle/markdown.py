"""Text and tables in Markdown, whatever characters they hold."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pepr_edge.text.units import printable

# Characters that Markdown or HTML would take as markup inside a sentence or a table's cell.
_MARKUP = re.compile(r"([\\`*_{}\[\]<>|#~])")


def plain(text: str) -> str:
    """Escape text so that Markdown shows it unchanged, on one line."""
    return _MARKUP.sub(r"\\\1", printable(text))


def table_of(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Return a table; the cells are Markdown."""
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
