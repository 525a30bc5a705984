"""Counts of images by nested folders."""

from __future__ import annotations

SIX = {"no": 6, "yes": 6}


def nested(*parts: dict[str, int] | tuple[str, ...]) -> dict[str, int]:
    """Return counts of images by folder: the product of the parts, each a tuple of names or counts."""
    counts = {"": 1}
    for part in parts:
        factors = part if isinstance(part, dict) else dict.fromkeys(part, 1)
        counts = {
            f"{path}/{name}".lstrip("/"): n * m for path, n in counts.items() for name, m in factors.items()
        }
    return counts
