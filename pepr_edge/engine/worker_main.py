"""A worker process: `python -m pepr_edge.engine.worker_main`. It stays, and forks a child for each job.

Each line of stdin is a CandidateJob; Steps and JobEnds go to stdout. The process imports PyTorch once. Each
job has a child of its own, so that its peak memory is its own and a crash ends nothing else. Where a fork is
not safe, the process does the job itself and ends with it, without a JobEnd.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TextIO

from pepr_edge.engine import fork_safety
from pepr_edge.engine.parent_death import die_with_parent

if TYPE_CHECKING:
    from pepr_edge.engine.job import CandidateJob, JobKind

# A process whose own memory grew by more than this since its imports is replaced.
MAX_GROWTH_KIB = 64 * 1024
# Imported before the fork. The choice of a variant measures in other processes and needs no PyTorch.
PRELOADED = ("pepr_edge.engine.worker", "pepr_edge.train.train")
PRELOADED_TO_CHOOSE = ("pepr_edge.engine.worker",)


def main() -> None:
    """Do jobs until stdin ends. Stdout is for Steps and JobEnds alone: the rest goes to the job's log."""
    die_with_parent()
    steps = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    imported_kib: int | None = None
    while line := sys.stdin.readline():
        job = _read(line)
        _log_to(Path(job.folder))
        if _preload(job.kind) or imported_kib is None:
            imported_kib = fork_safety.status_number("RssAnon")
        if not fork_safety.may_fork():
            _perform(job, steps)
            return
        child = _fork()
        if not child:
            _perform_and_exit(job, steps)
        if not _await(child, steps, imported_kib):
            return


def _read(line: str) -> CandidateJob:
    with fork_safety.single_threaded_blas():
        from pepr_edge.engine.job import CandidateJob
    return CandidateJob.model_validate_json(line)


def _log_to(folder: Path) -> None:
    """Append the output of Python and of libraries to a job's log, which the parent has made."""
    from pepr_edge.run_dir.layout import LOG

    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    log = os.open(folder / LOG, flags, 0o666)
    os.dup2(log, sys.stderr.fileno())
    os.dup2(log, sys.stdout.fileno())
    os.close(log)


def _preload(kind: JobKind) -> bool:
    """Import what a job of this kind needs. True if anything was missing."""
    wanted = PRELOADED_TO_CHOOSE if kind == "select_variant" else PRELOADED
    missing = [name for name in wanted if name not in sys.modules]
    with fork_safety.single_threaded_blas():
        for name in missing:
            importlib.import_module(name)
    return bool(missing)


def _fork() -> int:
    """Fork a child, which ends with this process. Return its process id; 0 in the child."""
    pages = fork_safety.file_pages()
    parent = os.getpid()
    # What exists now lives as long as the process. Unfrozen, the child's collector would visit and copy it.
    gc.collect()
    gc.freeze()
    child = os.fork()
    if child:
        return child
    die_with_parent()
    if os.getppid() != parent:  # it ended before the line above
        os._exit(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, sys.stdin.fileno())  # the next jobs are the parent's
    os.close(nothing)
    fork_safety.populate(pages)
    return 0


def _perform(job: CandidateJob, steps: TextIO) -> None:
    """Do a job in this process. The exit status tells a full disk from other failures."""
    from pepr_edge.engine import worker
    from pepr_edge.engine.job import DISK_FULL
    from pepr_edge.run_dir.store import disk_is_full

    try:
        worker.work(job, steps)
    except Exception as fault:
        if disk_is_full(fault):
            sys.exit(DISK_FULL)
        raise


def _perform_and_exit(job: CandidateJob, steps: TextIO) -> NoReturn:
    """Do a job in a forked child, and end it without the interpreter's own end, which takes 0.3 s or more."""
    status = 1
    try:
        _perform(job, steps)
        status = 0
    except SystemExit as ended:
        if isinstance(ended.code, int):
            status = ended.code
        else:
            print(ended.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _await(child: int, steps: TextIO, imported_kib: int | None) -> bool:
    """Wait for a child and report its end. False if this process is to be replaced, as it has grown."""
    from pepr_edge.engine.job import JobEnd

    _, status = os.waitpid(child, 0)
    now_kib = fork_safety.status_number("RssAnon")
    has_grown = now_kib is None or imported_kib is None or now_kib > imported_kib + MAX_GROWTH_KIB
    end = JobEnd(status=os.waitstatus_to_exitcode(status), stays=not has_grown)
    steps.write(end.model_dump_json() + "\n")
    steps.flush()
    return not has_grown


if __name__ == "__main__":
    main()
