"""Ownership of files: a file of the user is never deleted or overwritten.

A folder that pepr_edge writes into holds `.pepr_edge/files.json`: the paths of the files written there, each
with the SHA-256 of its content. A recorded file is ours while its content has that hash. A file that is not
recorded (version 0.1.0 kept no record) may be recognised by its content: it is replaced, and its old content
is kept in `.pepr_edge/kept-<n>/`. All others are left alone; a command that would have to replace one stops
with one line. Links are never followed to write or delete.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from pepr_edge.errors import OutputError
from pepr_edge.run_dir.layout import FILES, PRIVATE
from pepr_edge.run_dir.store import atomic_writer, sha256_file, write_bytes, write_text
from pepr_edge.untrusted import documents
from pepr_edge.untrusted import files as untrusted_files

# Files that file managers leave behind in a folder. macOS's "._NAME" files begin with this number.
OS_METADATA = (".DS_Store", "Thumbs.db", "desktop.ini")
APPLE_DOUBLE = b"\x00\x05\x16\x07"
MAX_RECORD_BYTES = 16 * untrusted_files.MIB
# The marker in a folder whose content is being made.
UNFINISHED = "unfinished.json"

# True if the regular file at this path is an earlier output of ours. OSError and ValueError count as False.
Recogniser = Callable[[Path], bool]


def is_os_metadata(path: Path) -> bool:
    """True if a file manager left this file behind. Links and folders are never such files."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return False
        if path.name in OS_METADATA:
            return True
        with untrusted_files.open_regular(path) as file:
            return path.name.startswith("._") and file.read(len(APPLE_DOUBLE)) == APPLE_DOUBLE
    except OSError:
        return False


def is_owned_folder(folder: Path) -> bool:
    """True if a folder has our record of files."""
    try:
        return _read_files_record(folder) is not None
    except OutputError:
        return False


def start_record(folder: Path) -> None:
    """Mark a folder as one that pepr_edge writes into, unless it is marked already.

    Raises:
        OutputError: the place of the record is taken by something that is not ours.
    """
    if _read_files_record(folder) is None:
        _write_record(folder, {})


def recognise_nothing(path: Path) -> bool:
    """Recognise no file: only the record of files counts."""
    return False


def check_owned(folder: Path, names: Iterable[str], recognise: Recogniser = recognise_nothing) -> None:
    """Refuse a folder in which one of these names is taken by a file that is not ours.

    Args:
        folder: where the files will be written.
        names: paths within the folder, separated by "/".
        recognise: tells by the content whether a file without a record is ours.
    Raises:
        OutputError: a file is not ours; names the first.
    """
    recorded = _read_files_record(folder) or {}
    for name in names:
        _check_parents(folder, name)
        path = folder / name
        if _exists(path) and not _is_ours(path, recorded.get(name), recognise):
            raise OutputError(
                f"{path}: was not written by pepr_edge, or was changed since. Move it away, and run the same "
                "command again."
            )


def write_owned(
    folder: Path, name: str, content: bytes, recognise: Recogniser = recognise_nothing, force: bool = False
) -> None:
    """Write a file atomically and record it as ours.

    Args:
        folder: holds the record.
        name: path within the folder, separated by "/".
        content: the bytes.
        recognise: as for `check_owned`.
        force: also replace a regular file that is not ours.
    Raises:
        OutputError: the name is taken by something that is not ours.
    """
    path = folder / name
    recorded = _read_files_record(folder) or {}
    if not force:
        check_owned(folder, [name], recognise)
    elif _exists(path) and not path.is_file():
        raise OutputError(f"{path}: not a regular file, and is never replaced. Move it away.")
    sha256 = hashlib.sha256(content).hexdigest()
    hashes = [sha256]
    if _exists(path) and _is_ours(path, recorded.get(name), recognise):
        earlier = sha256_file(path)
        if name not in recorded and earlier != sha256:
            _move_to_kept(folder, name)
        # After a power cut, the old and the new content must both count as ours.
        hashes = [earlier, sha256]
    _write_record(folder, {**recorded, name: hashes})
    write_bytes(path, content)


def write_all_owned(
    folder: Path, contents: Mapping[str, bytes], recognise: Callable[[bytes, Path], bool], force: bool = False
) -> None:
    """Write several files and record them as ours: all of them, or none if one of the names is taken.

    Args:
        folder: holds the record.
        contents: by path within the folder.
        recognise: as for `check_owned`; its first argument is the content to be written.
        force: also replace regular files that are not ours.
    Raises:
        OutputError: a name is taken by something that is not ours; nothing was written.
    """
    recognisers = {name: partial(recognise, content) for name, content in contents.items()}
    for name, recogniser in recognisers.items():
        if not force:
            check_owned(folder, [name], recogniser)
    for name, content in contents.items():
        write_owned(folder, name, content, recognisers[name], force)


def remove_owned(folder: Path, names: Iterable[str], recognise: Recogniser = recognise_nothing) -> None:
    """Delete those of the files that are ours. What is only recognised by its content is kept apart."""
    recorded = _read_files_record(folder) or {}
    removed = []
    for name in names:
        path = folder / name
        if not _exists(path) or not _is_ours(path, recorded.get(name), recognise):
            continue
        if name in recorded:
            path.unlink()
            removed.append(name)
        else:
            _move_to_kept(folder, name)
    if removed:
        _write_record(folder, {name: hashes for name, hashes in recorded.items() if name not in removed})


def is_owned(folder: Path, name: str, recognise: Recogniser = recognise_nothing) -> bool:
    """True if a folder has a file of this name, and it is ours."""
    return _is_ours(folder / name, (_read_files_record(folder) or {}).get(name), recognise)


def owned_names(folder: Path, prefix: str = "") -> list[str]:
    """Return the recorded names that start with a prefix."""
    return [name for name in _read_files_record(folder) or {} if name.startswith(prefix)]


def check_replaceable(path: Path, recognise: Recogniser = recognise_nothing, force: bool = False) -> None:
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
        state = (
            "exists" if recognise is recognise_nothing else "exists, and is no earlier output of this command"
        )
        raise OutputError(f"{path}: {state}. Give another --out, or --force to replace it.")


@contextmanager
def staging_folder(out: Path) -> Iterator[Path]:
    """Make a temporary folder beside an output, to build it there. What a killed process left is removed.

    Args:
        out: the folder of the output; its parent is made if missing.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = out.parent / PRIVATE if is_owned_folder(out.parent) else out.parent
    for path in beside.iterdir():
        if path.name.startswith(f".{out.name}.") and path.name.endswith(".tmp") and _is_abandoned(path):
            shutil.rmtree(path, ignore_errors=True)
    try:
        temporary_folder = TemporaryDirectory(prefix=f".{out.name}.", suffix=".tmp", dir=beside)
    except OSError as fault:
        fault.filename = str(out)
        raise
    with temporary_folder as temporary:
        write_text(Path(temporary) / UNFINISHED, json.dumps({"pepr_edge_process": os.getpid()}) + "\n")
        folder = Path(temporary) / "new"
        folder.mkdir()
        yield folder


def _is_abandoned(folder: Path) -> bool:
    """True if a folder carries the marker of a process of pepr_edge that has ended."""
    marker = folder / UNFINISHED
    if folder.is_symlink() or marker.is_symlink():
        return False
    try:
        document = documents.json_document(untrusted_files.content(marker, untrusted_files.MIB))
        return not is_running(int(document["pepr_edge_process"]))
    except (OSError, ValueError, TypeError, KeyError):
        return False


def is_running(process: int) -> bool:
    """True if there is a process of this number; a number that no process can have is none."""
    import psutil

    try:
        return psutil.pid_exists(process)
    except OverflowError:
        return False


def replace_tree(new: Path, target: Path, old: Iterable[str], key_file: str) -> None:
    """Replace the files of an earlier output by those of a new one. Files of others stay.

    Args:
        new: a folder, which is empty afterwards.
        target: made if missing. It may be on another disk, such as a USB stick.
        old: paths of the files to delete, within the target.
        key_file: name of the files by which an output is known to be ours: deleted last and written first, so
            that a process that is killed leaves what the next one can replace.
    Raises:
        OutputError: the name of a new file is taken by a file that is not among the old.
    """
    target.mkdir(parents=True, exist_ok=True)
    names = sorted(old, key=lambda name: name.split("/")[-1] == key_file)
    for name in names:
        _check_parents(target, name)
        (target / name).unlink(missing_ok=True)
    folders: set[Path] = set()
    for name in names:
        folders.update((target / name).parents)
    for folder in sorted(folders, reverse=True):
        if target in folder.parents:
            with suppress(OSError):  # not empty
                folder.rmdir()
    files = [path for path in new.rglob("*") if path.is_file()]
    for path in sorted(files, key=lambda path: (path.name != key_file, path)):
        name = path.relative_to(new).as_posix()
        _check_parents(target, name)
        if _exists(target / name):
            raise OutputError(f"{target / name}: was not written by pepr_edge. Move it away.")
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        _move_file(path, target / name)


def remove_matching(folder: Path, pattern: re.Pattern[str]) -> None:
    """Delete the files of a folder whose names only pepr_edge gives, and then the empty folders.

    Files of other names stay. A link is removed as a link; its target is not touched.

    Args:
        folder: searched with its subfolders.
        pattern: matches whole paths within the folder, separated by "/".
    """
    if folder.is_symlink() or not folder.is_dir():
        return
    for root, folders, files in os.walk(folder, topdown=False, followlinks=False):
        for name in files:
            path = Path(root) / name
            if pattern.fullmatch(path.relative_to(folder).as_posix()):
                path.unlink(missing_ok=True)
        for name in folders:
            with suppress(OSError):  # not empty, or a link
                (Path(root) / name).rmdir()
    with suppress(OSError):
        folder.rmdir()


def _move_to_kept(folder: Path, name: str) -> None:
    """Move a file into `.pepr_edge/kept-<n>/`."""
    number = 1
    while _exists(folder / PRIVATE / f"kept-{number}" / name):
        number += 1
    kept = folder / PRIVATE / f"kept-{number}" / name
    kept.parent.mkdir(parents=True, exist_ok=True)
    (folder / name).rename(kept)


def _move_file(path: Path, target: Path) -> None:
    try:
        path.rename(target)
    except OSError:  # on another disk
        with atomic_writer(target) as copy, untrusted_files.open_regular(path) as file:
            shutil.copyfileobj(file, copy)
        target.chmod(stat.S_IMODE(path.stat().st_mode))
        path.unlink()


def _exists(path: Path) -> bool:
    """True if there is anything at a path, a broken link included."""
    return path.exists() or path.is_symlink()


def _check_parents(folder: Path, name: str) -> None:
    """Refuse a path within a folder that leads through a link or a file."""
    path = folder
    for part in name.split("/")[:-1]:
        path = path / part
        if path.is_symlink() or (path.exists() and not path.is_dir()):
            raise OutputError(f"{path}: not a folder of pepr_edge (links are not followed). Move it away.")


def _is_ours(path: Path, hashes: list[str] | None, recognise: Recogniser) -> bool:
    """True if a file is ours: by its recorded hashes, or by its content if they are None."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return False
        return recognise(path) if hashes is None else sha256_file(path) in hashes
    except (OSError, ValueError):
        return False


def _read_files_record(folder: Path) -> dict[str, list[str]] | None:
    """Return the record of a folder, hashes by path; None if there is none.

    Raises:
        OutputError: there is something at its place that is no record of ours.
    """
    private = folder / PRIVATE
    _check_parents(folder, f"{PRIVATE}/{FILES}")
    record = private / FILES
    if not _exists(record):
        return None
    try:
        if record.is_symlink():
            raise ValueError("a link")
        document = documents.json_document(untrusted_files.content(record, MAX_RECORD_BYTES))
        recorded = {str(name): list(map(str, hashes)) for name, hashes in document["files"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        raise OutputError(
            f"{record}: not a record of files as pepr_edge writes it. Move it away, and run the same command "
            "again."
        ) from None
    return {name: hashes for name, hashes in recorded.items() if _stays_inside(name)}


def _stays_inside(name: str) -> bool:
    """True if a recorded path stays within its folder."""
    return all(documents.name_fault(part) is None for part in name.split("/"))


def _write_record(folder: Path, files: dict[str, list[str]]) -> None:
    _read_files_record(folder)  # refuses a file of others at its place
    document = {
        "schema_version": 1,
        "about": "files that pepr_edge wrote in this folder, by their SHA-256",
        "files": files,
    }
    write_text(folder / PRIVATE / FILES, json.dumps(document, indent=1) + "\n")
