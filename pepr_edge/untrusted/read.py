"""Read a file, and report a missing, unreadable or oversized file in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pepr_edge.untrusted.files import content
from pepr_edge.untrusted.shown import shown


def read_file(path: Path, limit_bytes: int, error: Callable[[str], Exception], expected: str) -> bytes:
    """Return a file's bytes.

    Args:
        path: the file.
        limit_bytes: a larger file is refused.
        error: the exception to raise, made from the message.
        expected: the end of the message, such as "a recipe, a TOML text file. Check the path."
    Raises:
        Exception: `error`, if the file is missing, unreadable, not a regular file or too large.
    """
    try:
        return content(path, limit_bytes)
    except FileNotFoundError:
        reason = "no such file"
    except OSError as fault:
        reason = f"cannot be read ({fault.strerror or type(fault).__name__})"
    raise error(f"{shown(str(path))}: {reason}, expected {expected}")
