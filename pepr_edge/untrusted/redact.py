"""What is removed from messages that leave this machine: folders, and what would change a terminal.

Of an absolute path the last part stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pepr_edge.untrusted.shown import without_escapes

# A drive or a server, then folders. Not within a word, as in images/s, nor after "://", as in https://.
ABSOLUTE = re.compile(r"(?<![\w.\-/\\])(?:[A-Za-z]:(?=[\\/])|\\)?[\\/](?:[^\\/\s\"'<>|:*?]+[\\/])+")


def plain_message(text: str) -> str:
    """Return an error as a library or a log words it, as records may hold it.

    It has no folders, no escape sequences and no other control characters but tabs and line ends.
    """
    return redact_paths(without_escapes(text))


def redact_paths(text: str) -> str:
    """Return a text with only the names of files and folders, without home, user or other folders.

    The working directory and the home are known and removed with their spaces. Of other paths with spaces a
    part may stay.
    """
    for folder in _known_folders():
        text = text.replace(f"{folder}\\", "").replace(f"{folder}/", "")
        text = re.sub(rf"{re.escape(str(folder))}(?![\w.\-])", "~", text)
    previous = None
    while text != previous:
        previous = text
        text = ABSOLUTE.sub("", text)
    return text


def _known_folders() -> Iterator[Path]:
    """Yield the working directory and the home. Either may not exist, as the home in a container."""
    for locate in (Path.cwd, Path.home):
        with suppress(OSError, RuntimeError):
            folder = locate()
            if len(folder.parts) > 1:
                yield folder
