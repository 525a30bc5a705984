"""Reading and writing files of a run directory: atomic writes, records, hashes, events and the lock."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, TextIO, TypeVar

from pydantic import ValidationError

from pepr_edge.errors import RunError
from pepr_edge.records import Record, first_fault, parse_record
from pepr_edge.run_dir.layout import EVENTS, LOCK, PRIVATE
from pepr_edge.untrusted import files
from pepr_edge.untrusted.read import read_file
from pepr_edge.untrusted.redact import plain_message
from pepr_edge.untrusted.shown import shown

R = TypeVar("R", bound=Record)

BLOCK_BYTES = 1 << 20
# Errors of file systems without locks (some network shares and FUSE), and of those whose folders cannot be
# synced.
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
NO_FOLDER_SYNC = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
# Errors of a write that do not name the file: a full disk, a quota, a limit on the size of files.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# The last lines of a log are looked for in so much of it.
TAIL_BYTES = 1 << 16
# Digits of the number of a process.
MAX_LOCK_CHARACTERS = 20
# Clocks of file systems are coarse (4 ms on Linux, 2 s on FAT). The hash of a file that was written more
# recently than this is not remembered: another write might leave the same modification time.
MIN_AGE_NS = 2_500_000_000
# SHA-256 by path, device, inode, size, and times of modification and change.
_hashes: dict[tuple[str, int, int, int, int, int], str] = {}


@contextmanager
def atomic_writer(path: Path, exclusive: bool = False) -> Iterator[BinaryIO]:
    """Open a file that appears atomically at the end: whole or not at all, and synced to the disk.

    Args:
        path: replaced if it exists.
        exclusive: replace nothing.
    Raises:
        FileExistsError: `exclusive`, and the path was taken by the end.
        OSError: it names the path, not the temporary file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if exclusive:
            _link(temporary, path)
        else:
            temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as fault:
        is_unnamed = fault.filename is None and fault.errno in NO_ROOM  # of a write to an open file
        if is_unnamed or fault.filename in (temporary, str(temporary)):
            fault.filename = str(path)
        raise
    finally:
        with suppress(OSError):  # it hides the fault above
            temporary.unlink(missing_ok=True)


def _link(temporary: Path, path: Path) -> None:
    """Give a file its name, unless that is taken."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links, such as that of a USB stick
        if path.exists() or path.is_symlink():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
        temporary.replace(path)


def _sync_folder(folder: Path) -> None:
    """Sync a folder where the system can, because a new name is on the disk only once its folder is."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in NO_FOLDER_SYNC:
                raise
        finally:
            os.close(descriptor)


def write_bytes(path: Path, content: bytes, exclusive: bool = False) -> None:
    """Write a file atomically; see `atomic_writer`."""
    with atomic_writer(path, exclusive) as file:
        file.write(content)


def write_text(path: Path, text: str, exclusive: bool = False) -> None:
    """Write a text file atomically, UTF-8; see `atomic_writer`."""
    write_bytes(path, text.encode(), exclusive)


def set_aside(path: Path) -> Path:
    """Rename a file that is damaged or not ours so that its name is free.

    Returns:
        Its new path: the name with ".kept-1" appended, or the next free number.
    """
    number = 1
    while os.path.lexists(path.with_name(f"{path.name}.kept-{number}")):
        number += 1
    return path.rename(path.with_name(f"{path.name}.kept-{number}"))


def write_record(path: Path, record: Record) -> None:
    """Write a record as one JSON file, atomically. A folder in its place is not ours, and is set aside."""
    if path.is_dir():
        set_aside(path)
    write_text(path, record.model_dump_json(indent=1) + "\n")


def read_record(path: Path, kind: type[R]) -> R:
    """Read a record.

    Raises:
        RunError: the file is missing, torn, or not a record of this kind.
    """
    content = read_file(path, files.RECORD_BYTES, RunError, f"a {kind.__name__} record.")
    try:
        return parse_record(content, kind)
    except ValidationError as fault:
        reason = first_fault(fault)
    except ValueError as fault:
        reason = str(fault)
    raise RunError(
        f"{shown(str(path))}: not a {kind.__name__} record ({reason}). Delete it to have it made again."
    )


def read_current(path: Path, kind: type[R], key: str) -> R | None:
    """Return the record at `path` if it can be read and has this key, else None: it is to be made again."""
    try:
        record = read_record(path, kind)
    except RunError:
        return None
    return record if getattr(record, "key", None) == key else None


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hex.

    This process reads a file once: the hash is remembered while path, inode, size and times of the file stay
    the same.
    """
    known = path.stat()
    times = (known.st_mtime_ns, known.st_ctime_ns)
    identity = (str(path.absolute()), known.st_dev, known.st_ino, known.st_size, *times)
    if identity not in _hashes:
        sha256 = _read_sha256(path)
        if time.time_ns() - max(times) < MIN_AGE_NS:
            return sha256
        _hashes[identity] = sha256
    return _hashes[identity]


def _read_sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with files.open_regular(path) as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def is_intact(path: Path, sha256: str) -> bool:
    """True if a file is there with the content that its record says; a power cut may leave it empty."""
    return path.is_file() and sha256_file(path) == sha256


def stage_key(*parts: Any) -> str:
    """Return the hash of all inputs of a stage's result: records and plain values, in a fixed order."""
    plain = [part.model_dump(mode="json") if isinstance(part, Record) else part for part in parts]
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def disk_is_full(fault: BaseException | None) -> bool:
    """True if this exception or its cause means "disk full". Some libraries keep only the error's text."""
    while fault is not None:
        if getattr(fault, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            return True
        if os.strerror(errno.ENOSPC) in str(fault):
            return True
        fault = fault.__cause__ or fault.__context__
    return False


def log_event(run_dir: Path, event: str, **details: Any) -> None:
    """Append one line to events.jsonl: seconds since the epoch, event name, details without paths."""
    redacted = {
        name: plain_message(value) if isinstance(value, str) else value for name, value in details.items()
    }
    line = json.dumps({"time_s": round(time.time(), 3), "event": event, **redacted})
    with _open_events(run_dir / EVENTS) as file:
        file.write(line + "\n")


def _open_events(path: Path) -> TextIO:
    """Open the log to append. No link is followed; a file with a second name (`cp -l`) is copied first."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    with suppress(FileNotFoundError):
        if path.lstat().st_nlink > 1:
            write_bytes(path, files.content(path, files.RECORD_BYTES))
    # Without O_NONBLOCK a pipe in its place would block for ever.
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0), 0o666)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise RunError(f"{path}: not a regular file, expected the log of this run. Move it away.")
    return os.fdopen(descriptor, "a", encoding="utf-8")


def open_new(path: Path) -> TextIO:
    """Open a text file to write. An earlier file is deleted, not emptied: it may be a link, or have one."""
    path.unlink(missing_ok=True)
    return open(path, "x", encoding="utf-8")


def tail(path: Path, lines: int) -> tuple[str, ...]:
    """Return the last lines of a log; none if it cannot be read."""
    try:
        with files.open_regular(path) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL_BYTES))
            text = file.read(TAIL_BYTES).decode(errors="replace")
    except OSError:
        return ()
    return tuple(text.strip().splitlines()[-lines:])


def say_nothing(message: str) -> None:
    """Take a message for nobody."""


@contextmanager
def locked(run_dir: Path, on_message: Callable[[str], None] = say_nothing) -> Iterator[None]:
    """Lock a run directory for this process. The lock ends with the process, however it ends.

    Args:
        run_dir: it.
        on_message: called with a line if the file system has no locks.
    Raises:
        RunError: another process has it.
    """
    lock = run_dir / PRIVATE / LOCK
    if lock.parent.is_symlink() or (lock.parent.exists() and not lock.parent.is_dir()):
        raise RunError(f"{lock.parent}: not a folder of pepr_edge (links are not followed). Move it away.")
    lock.parent.mkdir(parents=True, exist_ok=True)
    with _open_lock(lock) as file:
        holder = file.read(MAX_LOCK_CHARACTERS + 1)
        if holder and not (holder.isdecimal() and len(holder) <= MAX_LOCK_CHARACTERS):
            raise RunError(
                f"{lock}: was not written by pepr_edge, expected the number of a process. Move it away."
            )
        if not _try_lock(file.fileno(), on_message):
            raise RunError(
                f"{run_dir}: in use by process {holder or '?'}. Wait for it, or give another --out."
            )
        file.seek(0)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _open_lock(lock: Path) -> TextIO:
    """Open or make a lock file. Only a regular file is opened: no link is followed, no device emptied."""
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        file = os.fdopen(os.open(lock, flags, 0o666), "r+", encoding="ascii", errors="replace")
    except OSError as fault:
        raise RunError(
            f"{lock}: cannot be opened ({fault.strerror}), expected a lock file of pepr_edge. Move it away."
        ) from None
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise RunError(f"{lock}: not a regular file, expected a lock file of pepr_edge. Move it away.")
    return file


def _try_lock(descriptor: int, on_message: Callable[[str], None]) -> bool:
    """Return False if another process has the lock. Where the file system has no locks, say so and go on."""
    try:
        if os.name == "nt":
            import msvcrt

            # A byte far behind the pid that is written at the start, so that the pid can still be read.
            os.lseek(descriptor, 1 << 20, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            return False
        on_message("note: this file system has no locks: do not start two runs in this directory at once")
    return True
