"""Ownership of files: a file of the user is never deleted or overwritten.

A folder that pepr_edge writes into holds `.pepr_edge/files.json`: the paths of the files written there, each
with the SHA-256 of its content. A recorded file is ours while its content has that hash. A file that is not
recorded is ours if its content says so (folders of version 0.1.0 have no record). All others are left alone;
a command that would have to replace one stops with one line.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

from pepr_edge.errors import OutputError
from pepr_edge.run_dir.layout import FILES, PRIVATE
from pepr_edge.run_dir.store import sha256_file, write_bytes, write_text
from pepr_edge.untrusted import documents

# Files that file managers leave behind in a folder.
OS_METADATA = (".DS_Store", "Thumbs.db", "desktop.ini")

# True if the regular file at this path is an earlier output of ours. OSError and ValueError count as False.
Recogniser = Callable[[Path], bool]


def is_os_metadata(name: str) -> bool:
    """True if this is the name of a file that a file manager left behind."""
    return name in OS_METADATA or name.startswith("._")


def is_owned_folder(folder: Path) -> bool:
    """True if a folder has our record of files."""
    return _recorded(folder) is not None


def start_record(folder: Path) -> None:
    """Mark a folder as one that pepr_edge writes into, unless it is marked already."""
    if not is_owned_folder(folder):
        _write_record(folder, {})


def nobody(path: Path) -> bool:
    """Recognise no file: only the record of files counts."""
    return False


def check_owned(folder: Path, names: Iterable[str], recognise: Recogniser = nobody) -> None:
    """Refuse a folder in which one of these names is taken by a file that is not ours.

    Args:
        folder: where the files will be written.
        names: paths within the folder, separated by "/".
        recognise: tells by the content whether a file without a record is ours.
    Raises:
        OutputError: a file is not ours; names the first.
    """
    recorded = _recorded(folder) or {}
    for name in names:
        path = folder / name
        if _exists(path) and not _is_ours(path, recorded.get(name), recognise):
            raise OutputError(
                f"{path}: was not written by pepr_edge, or was changed since. Move it away, and run the same "
                "command again."
            )


def write_owned(
    folder: Path, name: str, content: bytes, recognise: Recogniser = nobody, force: bool = False
) -> None:
    """Write a file atomically and record it as ours.

    Args:
        folder: holds the record.
        name: path within the folder, separated by "/".
        content: the bytes.
        recognise: as for `check_owned`.
        force: also replace a file that is not ours; a folder is never replaced.
    Raises:
        OutputError: the name is taken by something that is not ours.
    """
    path = folder / name
    if not force or path.is_dir():
        check_owned(folder, [name], recognise)
    # Recorded before it is written: after a power cut, the old and the new content must both count as ours.
    hashes = [sha256_file(path)] if path.is_file() else []
    hashes.append(hashlib.sha256(content).hexdigest())
    _write_record(folder, {**(_recorded(folder) or {}), name: hashes})
    write_bytes(path, content)


def write_all_owned(
    folder: Path, contents: Mapping[str, bytes], recognise: Callable[[bytes, Path], bool], force: bool = False
) -> None:
    """Write several files and record them as ours: all of them, or none if one of the names is taken.

    Args:
        folder: holds the record.
        contents: by path within the folder.
        recognise: as for `check_owned`; its first argument is the content to be written.
        force: also replace files that are not ours.
    Raises:
        OutputError: a name is taken by something that is not ours; nothing was written.
    """
    recognisers = {name: partial(recognise, content) for name, content in contents.items()}
    for name, recogniser in recognisers.items():
        if not force:
            check_owned(folder, [name], recogniser)
    for name, content in contents.items():
        write_owned(folder, name, content, recognisers[name], force)


def remove_owned(folder: Path, names: Iterable[str], recognise: Recogniser = nobody) -> None:
    """Delete those of the files that are ours."""
    recorded = _recorded(folder) or {}
    removed = []
    for name in names:
        path = folder / name
        if _exists(path) and _is_ours(path, recorded.get(name), recognise):
            path.unlink()
            removed.append(name)
    if any(name in recorded for name in removed):
        _write_record(folder, {name: hashes for name, hashes in recorded.items() if name not in removed})


def is_owned(folder: Path, name: str, recognise: Recogniser = nobody) -> bool:
    """True if a folder has a file of this name, and it is ours."""
    return _is_ours(folder / name, (_recorded(folder) or {}).get(name), recognise)


def owned_names(folder: Path, prefix: str = "") -> list[str]:
    """Return the recorded names that start with a prefix."""
    return [name for name in _recorded(folder) or {} if name.startswith(prefix)]


def check_replaceable(path: Path, recognise: Recogniser, force: bool = False) -> None:
    """Refuse to overwrite a file that is not an earlier output of the same command.

    Args:
        path: the file to be written.
        recognise: tells by the content whether it is such an output.
        force: replace any regular file; still no folder, device or pipe.
    Raises:
        OutputError: the path is taken by something else.
    """
    if not _exists(path):
        return
    if path.exists() and not path.is_file():
        raise OutputError(f"{path}: not a regular file. Give the name of a file.")
    if not force and not _is_ours(path, None, recognise):
        raise OutputError(
            f"{path}: exists, and is no earlier output of this command. Give another --out, or --force to "
            "replace it."
        )


def remove_known(folder: Path, known: re.Pattern[str]) -> None:
    """Delete the files of a folder whose names only pepr_edge gives, and then the empty folders.

    Files of other names stay. A link is removed as a link; its target is not touched.

    Args:
        folder: searched with its subfolders.
        known: matches whole paths within the folder, separated by "/".
    """
    if folder.is_symlink() or not folder.is_dir():
        return
    for root, folders, files in os.walk(folder, topdown=False, followlinks=False):
        for name in files:
            path = Path(root) / name
            if known.fullmatch(path.relative_to(folder).as_posix()):
                path.unlink(missing_ok=True)
        for name in folders:
            with suppress(OSError):  # not empty, or a link
                (Path(root) / name).rmdir()
    with suppress(OSError):
        folder.rmdir()


def set_aside(path: Path) -> Path:
    """Rename a file that is damaged or not ours so that its name is free.

    Returns:
        Its new path: the name with ".kept-1" appended, or the next free number.
    """
    number = 1
    while _exists(path.with_name(f"{path.name}.kept-{number}")):
        number += 1
    return path.rename(path.with_name(f"{path.name}.kept-{number}"))


def _exists(path: Path) -> bool:
    """True if there is anything at a path, a broken link included."""
    return path.exists() or path.is_symlink()


def _is_ours(path: Path, hashes: list[str] | None, recognise: Recogniser) -> bool:
    """True if a file is ours: by its recorded hashes, or by its content if they are None."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return False
        return recognise(path) if hashes is None else sha256_file(path) in hashes
    except (OSError, ValueError):
        return False


def _recorded(folder: Path) -> dict[str, list[str]] | None:
    """Return the record of a folder, hashes by path; None if there is none, or it cannot be read."""
    try:
        document = documents.json_document(documents.content(folder / PRIVATE / FILES, documents.MIB))
        return {str(name): list(map(str, hashes)) for name, hashes in document["files"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _write_record(folder: Path, files: dict[str, list[str]]) -> None:
    document = {
        "schema_version": 1,
        "about": "files that pepr_edge wrote in this folder, by their SHA-256",
        "files": files,
    }
    write_text(folder / PRIVATE / FILES, json.dumps(document, indent=1) + "\n")
