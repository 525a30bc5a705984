"""Text files of the system, such as those in /proc and /sys. Standard library only."""

from __future__ import annotations

from pathlib import Path


def system_text(path: str | Path) -> str:
    """Return the text of a file without spaces at its ends; empty if it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
