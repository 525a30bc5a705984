"""Messages of libraries, in one line."""

from __future__ import annotations

from pepr_edge.untrusted.redact import without_escapes

MAX_CHARACTERS = 160


def first_line(fault: BaseException) -> str:
    """Return the kind of an error and the first line of its message, without escape sequences."""
    lines = without_escapes(str(fault)).strip().splitlines()
    name = type(fault).__name__
    return f"{name}: {lines[0][:MAX_CHARACTERS].strip()}" if lines else name
