"""Many architectures, one after the other, each in a process of its own with a time limit. What is done is kept, and not done again."""

from __future__ import annotations

import importlib.metadata
import multiprocessing
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pepr_edge
from pepr_edge import __version__, zoo
from pepr_edge.errors import ModelError, RunError
from pepr_edge.recipe import variants_dir
from pepr_edge.run_dir.owned import check_replaceable, is_os_metadata, is_owned_folder, start_record
from pepr_edge.run_dir.store import PRIVATE, locked, read_current, sha256_file, stage_key, write_record
from pepr_edge.untrusted.documents import RECORD_BYTES, content, json_document
from pepr_edge.zoo.check.row import CheckJob, CheckRow

LIBRARIES = ("torch", "timm", "onnx", "onnxscript", "onnxruntime", "numpy")
LIMIT_S = 900.0
THREADS = 1  # for all but the biggest a second one gains little, and where another program wants the core it costs much
# What a row depends on beyond the libraries: files of this package, and the variant.
SOURCES = (
    "zoo/check/*.py",
    "export/*.py",
    "recipe/variants.py",
    "train/models.py",
    "train/step.py",
    "data/phantom.py",
    "images/preprocess.py",
)
ROW_FILE = re.compile(r".+@(\d+|any)\.(json|log)")
# Imported once, and then there for each: they take longer than many an architecture.
PRELOADED = ("pepr_edge.zoo.check.architecture", "torch._dynamo", "torch.onnx", "onnxruntime.quantization")


@dataclass(frozen=True)
class SweepProgress:
    """What the sweep tells: `row` where an architecture is done, else the stage that it is in."""

    number: int
    total: int
    architecture: str
    stage: str
    row: CheckRow | None = None
    kept: bool = False


OnProgress = Callable[[SweepProgress], None]


def default_folder() -> Path:
    """Where rows are kept: `pepr_edge/zoo_check` in the user's cache."""
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return (Path(base) if base else Path.home() / ".cache") / "pepr_edge" / "zoo_check"


def check_names(names: Iterable[str]) -> None:
    """Find names that neither the zoo nor timm knows.

    Raises:
        ModelError: all of them, a line each.
    """
    if unknown := [name for name in names if name not in zoo.architectures()]:
        from pepr_edge.train.models import unknown_architecture

        if lines := [line for name in unknown if (line := unknown_architecture(name))]:
            raise ModelError("\n".join(f"--only: {line}" for line in lines))


def sweep(
    names: Sequence[str],
    image_size_px: int | None,
    folder: Path,
    on_progress: OnProgress,
    limit_s: float = LIMIT_S,
) -> list[CheckRow]:
    """Check architectures; rows that are whole, "ok" and of the same versions are read, all others made.

    Args:
        names: of the zoo, or any that timm knows.
        image_size_px: None for each one's own size for checks.
        folder: rows are kept here, one JSON file each.
        on_progress: called from this thread.
        limit_s: seconds for one architecture.
    Raises:
        ModelError: unknown names.
        RunError: another process works in this folder.
    """
    check_names(names)
    _check_folder(folder)
    rows, shared = [], _shared_key()
    with locked(folder):
        start_record(folder)
        for number, name in enumerate(names):
            job = _job(name, image_size_px, shared)
            path = folder / f"{name}@{job.image_size_px or 'any'}.json"
            row = read_current(path, CheckRow, job.key)
            kept = row is not None and row.status == "ok"
            if row is None or not kept:
                row = apart(
                    job,
                    path.with_suffix(".log"),
                    limit_s,
                    partial(_in_stage, on_progress, number, len(names), name),
                )
                write_record(path, row)
            rows.append(row)
            on_progress(SweepProgress(number + 1, len(names), name, "done", row, kept))
    return rows


def _check_folder(folder: Path) -> None:
    """Rows and logs are replaced, so a folder that holds other files is refused."""
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if path.name in (PRIVATE, ".lock") or is_os_metadata(path.name):  # .lock: of version 0.1
            continue
        if is_owned_folder(folder) and ROW_FILE.fullmatch(path.name):
            continue
        if path.suffix == ".json":
            check_replaceable(path, _is_row)
        elif not ROW_FILE.fullmatch(path.name) or not path.with_suffix(".json").exists():
            raise RunError(
                f"{folder}: holds {path.name!r}, which is no row of `zoo check`. Give an --out that is empty or new."
            )


def _is_row(path: Path) -> bool:
    return set(json_document(content(path, RECORD_BYTES))) >= {"architecture", "stage", "versions"}


def _in_stage(on_progress: OnProgress, number: int, total: int, name: str, stage: str) -> None:
    on_progress(SweepProgress(number, total, name, stage))


def _job(name: str, image_size_px: int | None, shared: Any) -> CheckJob:
    known = zoo.architectures().get(name)
    size_px = image_size_px or (known.check_px if known is not None else None)
    return CheckJob(
        key=stage_key(name, size_px, shared), architecture=name, image_size_px=size_px, threads=THREADS
    )


def versions() -> dict[str, str]:
    """Of the libraries that a row depends on, and of pepr_edge."""
    return {"pepr_edge": __version__, **{name: importlib.metadata.version(name) for name in LIBRARIES}}


def _shared_key() -> list[Any]:
    root = Path(pepr_edge.__file__).parent
    files = sorted(file for pattern in SOURCES for file in root.glob(pattern))
    hashes = {file.relative_to(root).as_posix(): sha256_file(file) for file in files}
    return [versions(), hashes, sha256_file(variants_dir() / "int8_static.toml")]


def apart(job: CheckJob, log: Path, limit_s: float, tell: Callable[[str], None]) -> CheckRow:
    """Run a job in a process of its own; a process that dies or takes too long is a row with the reason."""
    # A server that has imported the libraries once, and has run nothing: each check starts from it, clean.
    context: Any = multiprocessing.get_context("forkserver" if sys.platform != "win32" else "spawn")
    if sys.platform != "win32":
        context.set_forkserver_preload(list(PRELOADED))
    ours, theirs = context.Pipe(duplex=False)
    # Ours to remove, however the process ends.
    folder = tempfile.TemporaryDirectory()
    process = context.Process(
        target=_child,
        args=(job.model_dump_json(), folder.name, str(log), theirs),
        name=job.architecture,
        daemon=True,
    )
    process.start()
    theirs.close()
    stage = "start"
    deadline = time.monotonic() + limit_s
    try:
        while ours.poll(max(0.0, deadline - time.monotonic())):
            kind, text = ours.recv()
            if kind == "row":
                return CheckRow.model_validate_json(text)
            stage = text
            tell(stage)
        reason = f"took more than {limit_s:g} s, and was ended"
    except EOFError:
        process.join()
        reason = f"its process ended with status {process.exitcode}{' (killed: too little memory?)' * (process.exitcode == -9)}"
    finally:
        process.kill()
        process.join()
        ours.close()
        folder.cleanup()
    return CheckRow(
        key=job.key, architecture=job.architecture, in_zoo=job.architecture in zoo.architectures(), image_size_px=job.image_size_px,
        stage=stage, reason=reason, versions=versions(),
    )  # fmt: skip


def _child(job: str, folder: str, log: str, connection: Connection) -> None:
    """What the process runs. Whatever the libraries print goes to the log."""
    with open(log, "w", encoding="utf-8") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    from pepr_edge.zoo.check.architecture import check

    row = check(
        CheckJob.model_validate_json(job), Path(folder), lambda stage: connection.send(("stage", stage))
    )
    connection.send(("row", row.model_copy(update={"versions": versions()}).model_dump_json()))
