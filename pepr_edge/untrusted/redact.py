"""Words that leave a machine without its places: of an absolute path the last part stays."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

# A drive or a server, folders, and what they hold. Not within a word, as in images/s, nor behind a colon and a slash, as in https://.
ABSOLUTE = re.compile(r"(?<![\w.\-/\\])(?:[A-Za-z]:(?=[\\/])|\\)?[\\/](?:[^\\/\s\"'<>|:*?]+[\\/])+")


def redact_paths(text: str) -> str:
    """A text in which files and folders have their names alone: no home, no user, no layout of somebody's disk.

    Where we are and our home are known, spaces and all; of other paths with spaces a part may stay.
    """
    for folder in _known():
        text = text.replace(f"{folder}\\", "").replace(f"{folder}/", "")
        text = re.sub(rf"{re.escape(str(folder))}(?![\w.\-])", "~", text)
    while (shorter := ABSOLUTE.sub("", text)) != text:
        text = shorter
    return text


def _known() -> Iterator[Path]:
    """Where we are, and our home: a container may have none, and a folder may be gone from under us."""
    for place in (Path.cwd, Path.home):
        with suppress(OSError, RuntimeError):
            if len((folder := place()).parts) > 1:
                yield folder
