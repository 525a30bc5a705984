"""How untrusted text is shown: on one line, of limited length, and without what would change a terminal.

Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

# One text in a message or a cell of a table. A longer one loses its middle: the name of a file is at its end.
SHOWN_CHARACTERS = 200
# A message of our own: our words, and texts of others, each of them shortened on its own.
MESSAGE_CHARACTERS = 1000
# A short excerpt of a text within a message.
EXCERPT_CHARACTERS = 60
# Items of a list in a message.
SHOWN_ITEMS = 10
# The first characters of what spreadsheets take for a formula, or strip to get one.
FORMULA = ("=", "+", "-", "@", "\t", "\r")

# Characters that move a terminal's cursor, change the direction of a line or cannot be seen. Tabs and line
# ends are not among them. Half of a surrogate pair stands for a byte that is not UTF-8.
_INVISIBLE = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f"
)
# Persian, Hindi and others need these between letters. Elsewhere they only make two names look alike.
_JOINERS = "\u200c\u200d"
_LETTER = "[^\\x00-\\u02ff\\u2000-\\u20ff]"
# A terminal's escape sequences: colours and cursor (CSI), titles and links (OSC), and the rest.
ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])?")
CONTROL = re.compile(f"[{_INVISIBLE}]|(?<!{_LETTER})[{_JOINERS}]|[{_JOINERS}](?!{_LETTER})")


def escaped(text: str) -> str:
    """Return a text with its control characters and invalid bytes escaped. Tabs and line ends stay."""
    return CONTROL.sub(lambda match: ascii(match[0])[1:-1], text)


def without_escapes(text: str) -> str:
    """Return a text without a terminal's escape sequences and other control characters."""
    return CONTROL.sub("", ESCAPE.sub("", text))


def is_plain(text: str) -> bool:
    """True if a text is one line without control characters and invalid bytes."""
    return not (CONTROL.search(text) or "\n" in text or "\t" in text)


def shown(text: str, limit: int = SHOWN_CHARACTERS) -> str:
    """Return an untrusted text for one line of a terminal: escaped, with at most `limit` characters."""
    clipped = clip(text, limit)  # first, as a text may be a megabyte long
    return clip(escaped(clipped.replace("\n", "\\n").replace("\t", "\\t")), limit)


def excerpt(text: str) -> str:
    """Return a short excerpt of an untrusted text, escaped as in `shown`."""
    return shown(text, EXCERPT_CHARACTERS)


def clip(text: str, limit: int) -> str:
    """Return a text without its middle if it is longer than `limit` characters."""
    if len(text) <= limit:
        return text
    tail = (limit - 3) // 2
    return f"{text[: limit - 3 - tail]}...{text[len(text) - tail :]}"


def one_line(fault: BaseException | str, limit: int = SHOWN_CHARACTERS) -> str:
    """Return the message of an error on one line, as in `shown`; its class if it has none.

    Args:
        fault: a library's error, or its text. Of an error of the system the path is left out.
        limit: of characters; MESSAGE_CHARACTERS for a message of our own, whose words must stay whole.
    """
    text = str(fault)
    if isinstance(fault, OSError) and fault.strerror:
        text = fault.strerror
    text = " ".join(clip(text, 10 * limit).split())
    return shown(text or type(fault).__name__, limit)


def first_line(fault: BaseException) -> str:
    """Return the class of a library's error and the first line of its message, as in `one_line`.

    Libraries colour their messages, so escape sequences are removed rather than escaped.
    """
    lines = without_escapes(str(fault)).strip().splitlines()
    name = type(fault).__name__
    return f"{name}: {one_line(lines[0])}" if lines else name


def cell(value: T) -> T | str:
    """Return a value for a cell of a CSV file: a spreadsheet would run a text that begins like a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def first_items(items: Sequence[str], limit: int = SHOWN_ITEMS) -> list[str]:
    """Return the first items of a list, and how many more there are."""
    if len(items) <= limit:
        return list(items)
    return [*items[:limit], f"and {len(items) - limit} more"]
