"""Words that leave a machine without its places: of an absolute path the last part stays."""

from __future__ import annotations

import re
from pathlib import Path

# A drive or a server, folders, and what they hold. Not within a word, as in images/s, nor behind a colon and a slash, as in https://.
ABSOLUTE = re.compile(r"(?<![\w.\-/\\])(?:[A-Za-z]:(?=[\\/])|\\)?[\\/](?:[^\\/\s\"'<>|:*?]+[\\/])+")


def without_places(text: str) -> str:
    """A text in which files and folders have their names alone: no home, no user, no layout of somebody's disk.

    Where we are and our home are known, spaces and all; of other paths with spaces a part may stay.
    """
    for folder in (Path.cwd(), Path.home()):
        if len(folder.parts) > 1:
            text = text.replace(f"{folder}\\", "").replace(f"{folder}/", "").replace(str(folder), "~")
    while (shorter := ABSOLUTE.sub("", text)) != text:
        text = shorter
    return text
