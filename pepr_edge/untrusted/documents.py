"""Checks of untrusted JSON documents and names: one meaning only, on every system.

Standard library only, and no error class of ours: the caller knows the purpose of a document.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from pepr_edge.untrusted.shown import CONTROL, excerpt

NAME_CHARACTERS = 200
# The name of a class, which stands in tables, on pages and in manifests.
LABEL_CHARACTERS = 200
# Our documents have seven levels.
MAX_DEPTH = 64
# Whole numbers of 64 bits, which other programs read alike. Larger ones fail in arithmetic with floats.
MIN_INTEGER = -(2**63)
MAX_INTEGER = 2**63 - 1
INTEGER_DIGITS = 20
BEYOND = "a whole number beyond 64 bits"
CHECKED = (str, int, list, dict)

# Device names on Windows, with any extension.
RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
NAME_SEPARATORS = '/\\:*?"<>|\n\t'


def json_document(text: bytes) -> Any:
    """Return the document of a JSON text that every parser reads alike.

    Raises:
        ValueError: not JSON in UTF-8; a number that is NaN, infinite, or whole and beyond 64 bits; a key
            twice in one object; nested too deeply; or control characters in a text. The message is one line.
    """
    try:
        document = json.loads(
            text.decode(),
            object_pairs_hook=_object,
            parse_constant=_constant,
            parse_float=_number,
            parse_int=_integer,
        )
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None
    check_values(document)
    return document


def check_values(document: object) -> None:
    """Check the texts, whole numbers and depth of a document.

    Raises:
        ValueError: control characters, a number beyond 64 bits, or nested too deeply. The message is one
            line.
    """
    # Level by level, not by recursion: the document may be nested as deeply as its parser allows.
    level = [document]
    depth = 0
    while level:
        if depth >= MAX_DEPTH:
            raise ValueError(f"nested too deeply, expected at most {MAX_DEPTH} levels")
        depth += 1
        below: list[object] = []
        for value in level:
            if isinstance(value, str):
                _check_text(value)
            elif isinstance(value, int):
                _check_integer(value)
            elif isinstance(value, list):
                below.extend(item for item in value if isinstance(item, CHECKED))
            elif isinstance(value, dict):
                below.extend(value)
                below.extend(item for item in value.values() if isinstance(item, CHECKED))
        level = below


def name_fault(name: str) -> str | None:
    """Return what a valid name would be, if this one is no file or folder name on every system, else None.

    The text follows "expected".
    """
    if not name or len(name) > NAME_CHARACTERS:
        return f"a name of 1 to {NAME_CHARACTERS} characters"
    has_separator = any(character in NAME_SEPARATORS for character in name)
    if has_separator or CONTROL.search(name) or set(name) == {"."}:
        return (
            "a plain name: no slash, backslash, colon, *, ?, quotation mark, <, >, | or control character, "
            "and not only points"
        )
    if name != name.strip() or name.endswith("."):
        return "a name without a space at its ends or a point at its end"
    if RESERVED.fullmatch(name):
        return "a name that is no device on Windows"
    return None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        known: set[str] = set()
        for name, _ in pairs:
            if name in known:
                raise ValueError(f"the key {excerpt(name)} twice in one object")
            known.add(name)
    return document


def _constant(name: str) -> float:
    raise ValueError(f"{name}, which is no number")


def _number(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"the number {excerpt(text)}, which is too large")
    return value


def _integer(text: str) -> int:
    if len(text) > INTEGER_DIGITS:
        raise ValueError(BEYOND)
    return int(text)


def _check_text(text: str) -> None:
    if CONTROL.search(text):
        raise ValueError(f"control characters in {excerpt(text)}")


def _check_integer(value: int) -> None:
    if not MIN_INTEGER <= value <= MAX_INTEGER:
        raise ValueError(BEYOND)
