"""Words and tables of a page in Markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

WIDTH = 140


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table; numbers and words alike are written as they are."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def counted(number: int, noun: str) -> str:
    """A number and its noun, in the plural where it takes one."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def listed(names: Sequence[str]) -> str:
    """Names as in a sentence: a, b and c."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]])) if names else "none"


def wrapped(text: str) -> str:
    """A page with its prose in lines of equal width; headings, tables, pictures and code stay as they are."""
    return "\n\n".join(block if block.startswith(("#", "|", "!", "    ")) else _filled(block) for block in text.split("\n\n"))


def _filled(block: str) -> str:
    start = "- " if block.startswith("- ") else ""
    texts = ("\n" + block).split("\n- ")[1:] if start else [block]
    return "\n".join(
        textwrap.fill(
            " ".join(text.split()),
            WIDTH,
            initial_indent=start,
            subsequent_indent=" " * len(start),
            break_long_words=False,
            break_on_hyphens=False,
        )
        for text in texts
    )
