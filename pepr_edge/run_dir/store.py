"""Files that are never half-written, the run directory, and its lock.

A run directory:
    .pepr_edge/{lock,files.json,pixels-<px>/...}
    run.json recipe.toml events.jsonl search.json ranking.json ranking.csv report.html report/<figure>.{svg,png,csv}
    candidates/<arch>@<px>/train.json checkpoint.safetensors logits.npz <variant>/{model.onnx,export.json,profile.json}
                           looks/<variant>/look.json probe.json training.json training-<n>.pt spent.json
    bundles/01-<arch>@<px>-<variant>/...
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TextIO, TypeVar

from pydantic import ValidationError

from pepr_edge.errors import RunError
from pepr_edge.records import Record, first_fault
from pepr_edge.untrusted import documents
from pepr_edge.untrusted.redact import redact_paths

R = TypeVar("R", bound=Record)

# The folder of a run directory, or of other output, that holds what only pepr_edge reads: lock, record of files, pixels.
PRIVATE = ".pepr_edge"
# A file on its way to its name, as `written` calls it.
TEMPORARY = re.compile(r"\..+\.\d+(-[0-9a-f]{8})?\.tmp")
# PyTorch's logits of a candidate, which more than one stage reads.
LOGITS = "logits.npz"


@contextmanager
def written(path: Path) -> Iterator[BinaryIO]:
    """A file that appears atomically at the end: whole or not at all, and on the disk when this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """A new name is on the disk once its folder is, where folders can be synced."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically."""
    with written(path) as file:
        file.write(content)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, UTF-8."""
    write_bytes(path, text.encode())


def write_record(path: Path, record: Record) -> None:
    """Write a record as one JSON file, atomically."""
    write_text(path, record.model_dump_json(indent=1) + "\n")


def read_record(path: Path, kind: type[R]) -> R:
    """Read a record.

    Raises:
        RunError: the file is missing, torn, or not a record of this kind.
    """
    try:
        return kind.model_validate_json(documents.content(path, documents.RECORD_BYTES))
    except FileNotFoundError:
        raise RunError(f"{path}: no such file, expected a {kind.__name__} record.") from None
    except OSError as fault:
        raise RunError(
            f"{path}: cannot be read ({fault.strerror}), expected a {kind.__name__} record."
        ) from None
    except ValidationError as fault:
        raise RunError(
            f"{path}: not a {kind.__name__} record ({first_fault(fault)}). Delete it to have it made again."
        ) from None


def read_current(path: Path, kind: type[R], key: str) -> R | None:
    """The record at `path` if it is whole and was made from the same inputs (its `key`), else None: to be made again."""
    try:
        record = read_record(path, kind)
    except RunError:
        return None
    return record if getattr(record, "key", None) == key else None


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's content, in hex."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def is_whole(path: Path, sha256: str) -> bool:
    """Whether a file is there with the content that its record says; a power cut may leave it empty."""
    return path.is_file() and sha256_file(path) == sha256


def stage_key(*parts: Any) -> str:
    """Hash of everything that a stage's result depends on. Records and plain values, in a fixed order."""
    plain = [part.model_dump(mode="json") if isinstance(part, Record) else part for part in parts]
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def disk_is_full(fault: BaseException | None) -> bool:
    """Whether a fault, or one that led to it, is that the disk has no room. Some libraries leave of it no more than the words."""
    while fault is not None:
        if getattr(fault, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or os.strerror(errno.ENOSPC) in str(
            fault
        ):
            return True
        fault = fault.__cause__ or fault.__context__
    return False


def log_event(run_dir: Path, event: str, **details: Any) -> None:
    """Append one line to events.jsonl: seconds since the epoch, the event's name, its details."""
    told = {name: redact_paths(value) if isinstance(value, str) else value for name, value in details.items()}
    line = json.dumps({"time_s": round(time.time(), 3), "event": event, **told})
    with open(run_dir / "events.jsonl", "a", encoding="utf-8") as file:
        file.write(line + "\n")


@contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Hold a run directory for this process alone; the lock goes with the process, however it ends.

    Raises:
        RunError: another process has it.
    """
    lock = run_dir / PRIVATE / "lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with _open_lock(lock) as file:
        holder = file.read(20).strip()
        if not _try_lock(file.fileno()):
            raise RunError(
                f"{run_dir}: in use by process {holder or '?'}. Wait for it, or give another --out."
            )
        if holder and not holder.isdecimal():
            raise RunError(
                f"{lock}: was not written by pepr_edge, expected the number of a process. Move it away."
            )
        file.seek(0)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _open_lock(lock: Path) -> TextIO:
    """Open a lock file, which is made if missing; neither a link nor anything else than a regular file is followed or emptied."""
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


def _try_lock(descriptor: int) -> bool:
    try:
        if os.name == "nt":
            import msvcrt

            # A byte far behind the pid that is written at the start, so that it can still be read.
            os.lseek(descriptor, 1 << 20, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
