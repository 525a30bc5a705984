"""Check many architectures in turn, each in its own process with a time limit. Finished rows are reused."""

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
from pepr_edge.run_dir.layout import PRIVATE
from pepr_edge.run_dir.owned import check_owned, is_os_metadata, start_record, write_owned
from pepr_edge.run_dir.store import locked, open_new, read_current, sha256_file, stage_key
from pepr_edge.untrusted.documents import json_document
from pepr_edge.untrusted.files import RECORD_BYTES, content
from pepr_edge.untrusted.paths import cache_folder
from pepr_edge.zoo.check.row import CheckJob, CheckRow

LIBRARIES = ("torch", "timm", "onnx", "onnxscript", "onnxruntime", "numpy")
LIMIT_S = 900.0
# A second thread gains little except for the largest networks, and costs much if another program uses the
# core.
THREADS = 1
# Files of this package on which a row depends, beside the libraries and the variant.
SOURCES = (
    "zoo/check/*.py",
    "export/*.py",
    "recipe/variants.py",
    "train/models.py",
    "train/step.py",
    "data/phantom.py",
    "images/preprocess.py",
)
LOG_FILE = re.compile(r".+@(\d+|any)\.log")
# Imported once for all processes: the imports take longer than the check of a small architecture.
PRELOADED = ("pepr_edge.zoo.check.architecture", "torch._dynamo", "torch.onnx", "onnxruntime.quantization")


@dataclass(frozen=True)
class SweepProgress:
    """Progress of a sweep. `row` is set when an architecture is finished; `reused`: from an earlier sweep."""

    number: int
    total: int
    architecture: str
    stage: str
    row: CheckRow | None = None
    reused: bool = False


OnProgress = Callable[[SweepProgress], None]


def default_folder() -> Path:
    """Return the default folder of the rows: `pepr_edge/zoo_check` in the user's cache."""
    return cache_folder() / "pepr_edge" / "zoo_check"


def check_names(names: Iterable[str]) -> None:
    """Refuse names that neither the zoo nor timm knows.

    Raises:
        ModelError: one line for each unknown name.
    """
    outside_zoo = [name for name in names if name not in zoo.architectures()]
    if not outside_zoo:
        return
    from pepr_edge.train.models import unknown_architecture

    faults = [unknown_architecture(name) for name in outside_zoo]
    lines = [f"--only: {fault}" for fault in faults if fault]
    if lines:
        raise ModelError("\n".join(lines))


def sweep(
    names: Sequence[str],
    image_size_px: int | None,
    folder: Path,
    on_progress: OnProgress,
    limit_s: float = LIMIT_S,
) -> list[CheckRow]:
    """Check architectures. Earlier rows are reused if their status is "ok" and their key is the same.

    Args:
        names: of the zoo, or any other names that timm knows.
        image_size_px: None for the architecture's own `check_px`.
        folder: of the rows, one JSON file each.
        on_progress: called from this thread.
        limit_s: time limit for one architecture, seconds.
    Raises:
        ModelError: unknown names.
        RunError: another process uses this folder, or it holds files of others.
    """
    check_names(names)
    _check_folder(folder)
    rows = []
    common = _common_key()
    with locked(folder):
        start_record(folder)
        for number, name in enumerate(names):
            job = _job(name, image_size_px, common)
            path = folder / f"{name}@{job.image_size_px or 'any'}.json"
            row = read_current(path, CheckRow, job.key)
            reused = row is not None and row.status == "ok"
            if row is None or not reused:
                on_stage = partial(_report_stage, on_progress, number, len(names), name)
                log = folder / PRIVATE / f"{path.stem}.log"
                row = check_in_process(job, log, limit_s, on_stage)
                write_owned(folder, path.name, f"{row.model_dump_json(indent=1)}\n".encode(), _is_row)
            rows.append(row)
            on_progress(SweepProgress(number + 1, len(names), name, "done", row, reused))
    return rows


def _check_folder(folder: Path) -> None:
    """Refuse a folder with other files than rows (and, of version 0.1.0, their logs and lock)."""
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if path.name in (PRIVATE, ".lock") or is_os_metadata(path):
            continue
        if path.suffix == ".json":
            check_owned(folder, [path.name], _is_row)
        elif not LOG_FILE.fullmatch(path.name) or not path.with_suffix(".json").exists():
            raise RunError(
                f"{folder}: holds {path.name!r}, expected only rows of `zoo check`. "
                "Choose an --out that is empty or new."
            )


def _is_row(path: Path) -> bool:
    return set(json_document(content(path, RECORD_BYTES))) >= {"architecture", "stage", "versions"}


def _report_stage(on_progress: OnProgress, number: int, total: int, name: str, stage: str) -> None:
    on_progress(SweepProgress(number, total, name, stage))


def _job(name: str, image_size_px: int | None, common: Any) -> CheckJob:
    known = zoo.architectures().get(name)
    size_px = image_size_px or (known.check_px if known is not None else None)
    return CheckJob(
        key=stage_key(name, size_px, common), architecture=name, image_size_px=size_px, threads=THREADS
    )


def versions() -> dict[str, str]:
    """Return the versions of pepr_edge and of the libraries on which a row depends."""
    libraries = {name: importlib.metadata.version(name) for name in LIBRARIES}
    return {"pepr_edge": __version__, **libraries}


def _common_key() -> list[Any]:
    """Return the part of the keys that all rows have in common: versions and code."""
    root = Path(pepr_edge.__file__).parent
    files: list[Path] = []
    for pattern in SOURCES:
        files += root.glob(pattern)
    files.sort()
    hashes = {file.relative_to(root).as_posix(): sha256_file(file) for file in files}
    return [versions(), hashes, sha256_file(variants_dir() / "int8_static.toml")]


def _process_context() -> Any:
    """Return how processes start: forked from a server that has imported the libraries; on Windows, anew."""
    if sys.platform == "win32":
        return multiprocessing.get_context("spawn")
    context: Any = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    return context


def check_in_process(job: CheckJob, log: Path, limit_s: float, on_stage: Callable[[str], None]) -> CheckRow:
    """Run a job in its own process. A process that dies or takes too long gives a row with the reason."""
    context = _process_context()
    receiver, sender = context.Pipe(duplex=False)
    # Created here, so that it is removed even if the process is killed.
    folder = tempfile.TemporaryDirectory()
    process = context.Process(
        target=_child,
        args=(job.model_dump_json(), folder.name, str(log), sender),
        name=job.architecture,
        daemon=True,
    )
    process.start()
    sender.close()
    stage = "start"
    deadline = time.monotonic() + limit_s
    try:
        while receiver.poll(max(0.0, deadline - time.monotonic())):
            kind, text = receiver.recv()
            if kind == "row":
                return CheckRow.model_validate_json(text)
            stage = text
            on_stage(stage)
        reason = f"stopped after {limit_s:g} s, the time limit"
    except EOFError:
        process.join()
        reason = _death(process.exitcode)
    finally:
        process.kill()
        process.join()
        receiver.close()
        folder.cleanup()
    return CheckRow(
        key=job.key,
        architecture=job.architecture,
        in_zoo=job.architecture in zoo.architectures(),
        image_size_px=job.image_size_px,
        stage=stage,
        reason=reason,
        versions=versions(),
    )


def _death(status: int | None) -> str:
    reason = f"its process ended with status {status}"
    return f"{reason} (killed, perhaps for lack of memory)" if status == -9 else reason


def _child(job: str, folder: str, log: str, connection: Connection) -> None:
    """Run a job in this process, with all output in the log."""
    with open_new(Path(log)) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    from pepr_edge.zoo.check.architecture import check

    def on_stage(stage: str) -> None:
        connection.send(("stage", stage))

    row = check(CheckJob.model_validate_json(job), Path(folder), on_stage)
    row = row.model_copy(update={"versions": versions()})
    connection.send(("row", row.model_dump_json()))
