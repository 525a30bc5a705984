"""What lies at a path that a recipe or a user gives; a path that the system refuses leads nowhere.

The same methods of `pathlib.Path` raise for a name that is too long, and for a folder without permission.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from pepr_edge.errors import OutputError


def exists(path: str | Path) -> bool:
    """True if there is anything at the path."""
    return _mode(path) is not None


def is_file(path: str | Path) -> bool:
    """True if it is a regular file, or a link to one."""
    mode = _mode(path)
    return mode is not None and stat.S_ISREG(mode)


def is_dir(path: str | Path) -> bool:
    """True if it is a folder, or a link to one."""
    mode = _mode(path)
    return mode is not None and stat.S_ISDIR(mode)


def leads_out(path: Path, folder: Path) -> bool:
    """True if links lead the path out of a resolved folder; False for a path that leads nowhere."""
    try:
        return not path.resolve().is_relative_to(folder)
    except (OSError, ValueError, RuntimeError):  # RuntimeError: links in a circle, until Python 3.12
        return False


def cache_folder() -> Path:
    """Return the folder of this user for what can be had again.

    Raises:
        OutputError: the user has no home, as in some containers.
    """
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    if base:
        return Path(base)
    try:
        return Path.home() / ".cache"
    except RuntimeError:
        raise OutputError(
            "this user has no home folder, expected one for the cache. Set HOME or XDG_CACHE_HOME."
        ) from None


def _mode(path: str | Path) -> int | None:
    if path == "":  # Path("") is the current folder
        return None
    try:
        return Path(path).stat().st_mode
    except (OSError, ValueError):  # ValueError: a NUL byte, or half of a surrogate pair
        return None
