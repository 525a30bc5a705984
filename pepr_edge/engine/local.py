"""Candidates in processes on this machine, one after the other or several at once."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread

import psutil

from pepr_edge.device.threads import with_passive_waiting
from pepr_edge.engine.job import DISK_FULL, CandidateJob, Step
from pepr_edge.errors import RunError
from pepr_edge.measure.process import describe_exit
from pepr_edge.records import Failure
from pepr_edge.run_dir.layout import FAILURE, LOG
from pepr_edge.run_dir.store import open_new, write_record

LOG_LINES = 12
CHECK_EVERY_S = 1.0  # whether a worker exceeds a limit
# How Python, C++, PyTorch and CUDA report a lack of memory.
OUT_OF_MEMORY = (
    "MemoryError",
    "bad_alloc",
    "allocate memory",
    "out of memory",
    "bad allocation",
)


@dataclass(eq=False)
class WorkerProcess:
    """A process that works on a job, its latest stage, and why it was killed, if it was."""

    job: CandidateJob
    process: subprocess.Popen[str]
    stage: str
    start_s: float
    last_step_s: float
    killed_for: str = ""


# A line of a worker's output; None at its end.
Lines = SimpleQueue[tuple[WorkerProcess, str | None]]


def run(
    jobs: Sequence[CandidateJob],
    parallel: int,
    on_step: Callable[[CandidateJob, Step], None],
    on_done: Callable[[CandidateJob], None],
) -> None:
    """Run all jobs; one that fails does not stop the others.

    Only this thread starts workers, kills them and writes their failures. So after Ctrl-C, or an exception in
    a callback, no worker is left, no other is started, and none that died of it counts as failed: a
    terminal's Ctrl-C reaches the workers as well.

    Args:
        jobs: the work. Results and failures are in each job's folder afterwards.
        parallel: how many at once.
        on_step, on_done: called from this thread.
    Raises:
        RunError: a worker found no room on the disk, which is not its candidate's failure.
    """
    waiting = deque(jobs)
    running = set[WorkerProcess]()
    lines: Lines = SimpleQueue()
    try:
        while waiting or running:
            while waiting and len(running) < parallel:
                running.add(_start(waiting.popleft(), lines))
            for worker in running:
                _kill_if_over_a_limit(worker)
            try:
                worker, line = lines.get(timeout=CHECK_EVERY_S)
            except Empty:
                continue
            if line is not None:
                step = Step.model_validate_json(line)
                worker.stage = step.stage
                worker.last_step_s = time.monotonic()
                on_step(worker.job, step)
            else:
                _conclude(worker)
                running.discard(worker)
                on_done(worker.job)
    finally:
        for worker in running:
            worker.process.kill()
        for worker in running:
            worker.process.wait()


def worker_environment() -> dict[str, str]:
    """Return the environment of a worker process, which must be complete before it imports PyTorch."""
    # `-m` puts the working directory first on the path, where a file may be called numpy.py. From Python 3.11
    # on PYTHONSAFEPATH keeps it off.
    return {**with_passive_waiting(os.environ), "PYTHONSAFEPATH": "1"}


def _start(job: CandidateJob, lines: Lines) -> WorkerProcess:
    folder = Path(job.folder)
    folder.mkdir(parents=True, exist_ok=True)
    with open_new(folder / LOG) as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "pepr_edge.engine.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=worker_environment(),
            text=True,
            encoding="utf-8",
        )
    now = time.monotonic()
    worker = WorkerProcess(job, process, job.stage, now, now)
    _limit_memory(worker)
    Thread(target=_listen, args=(worker, lines), name=f"steps of {job.candidate.id}", daemon=True).start()
    try:
        with process.stdin as stdin:  # type: ignore[union-attr]
            stdin.write(job.model_dump_json())
    except BrokenPipeError:
        pass  # it died before it read its job: its exit status is read later
    return worker


def _listen(worker: WorkerProcess, lines: Lines) -> None:
    with worker.process.stdout as stdout:  # type: ignore[union-attr]
        for line in stdout:
            lines.put((worker, line))
    lines.put((worker, None))


def _limit_memory(worker: WorkerProcess) -> None:
    """Have Linux limit the memory of a worker and its children to the recipe's limit, mapped files apart."""
    limit_bytes = worker.job.recipe.worker.memory_bytes
    if limit_bytes is None or not _system_limits_memory():
        return
    limit = round(limit_bytes)
    with suppress(psutil.NoSuchProcess):
        psutil.Process(worker.process.pid).rlimit(psutil.RLIMIT_DATA, (limit, limit))


def _system_limits_memory() -> bool:
    """True if the system can limit the memory of a process."""
    return sys.platform == "linux"


def _kill_if_over_a_limit(worker: WorkerProcess) -> None:
    """Kill a worker that exceeds a limit: time, time without progress, memory if the system has no limit."""
    if worker.killed_for:
        return
    limits = worker.job.recipe.worker
    now = time.monotonic()
    if now - worker.start_s > limits.time_s:
        worker.killed_for = f"it took longer than worker.time_h = {limits.time_h:g} allows"
    elif now - worker.last_step_s > limits.silence_s:
        worker.killed_for = f"it hung: no progress for worker.silence_min = {limits.silence_min:g} minutes"
    elif _uses_too_much_memory(worker):
        worker.killed_for = (
            f"out of memory: it used more than worker.memory_mib = {limits.memory_mib:g} allows"
        )
    if worker.killed_for:
        worker.process.kill()


def _uses_too_much_memory(worker: WorkerProcess) -> bool:
    """True if a worker uses more memory than the recipe allows, on a system that cannot limit it."""
    limit_bytes = worker.job.recipe.worker.memory_bytes
    if limit_bytes is None or _system_limits_memory():
        return False
    try:
        return bool(psutil.Process(worker.process.pid).memory_info().rss > limit_bytes)
    except psutil.Error:
        return False


def _conclude(worker: WorkerProcess) -> None:
    """Wait for a worker whose output has ended; if it died, write down why.

    Raises:
        RunError: it found no room on the disk.
    """
    status = worker.process.wait()
    job = worker.job
    if status == 0:
        return
    if status == DISK_FULL:
        raise RunError(
            f"{job.candidate.id}: no room left on the disk of the run directory. "
            "Make room; the same command goes on."
        )
    folder = Path(job.folder)
    log = (folder / LOG).read_text(encoding="utf-8", errors="replace")
    log_tail = tuple(log.strip().splitlines()[-LOG_LINES:])
    reason = worker.killed_for or _reason(worker, status, log_tail)
    failure = Failure(
        key=job.train_key, candidate=job.candidate, stage=worker.stage, reason=reason, log_tail=log_tail
    )
    write_record(folder / FAILURE, failure)


def _reason(worker: WorkerProcess, status: int, log_tail: Sequence[str]) -> str:
    """Return why a worker died, by its exit status and the last line of its log."""
    last_line = log_tail[-1] if log_tail else ""
    if any(words in last_line for words in OUT_OF_MEMORY):
        limit_mib = worker.job.recipe.worker.memory_mib
        limit = f" (limit: worker.memory_mib = {limit_mib:g})" if limit_mib else ""
        return f"out of memory{limit}: {last_line}"
    return last_line if status > 0 and last_line else f"its process {describe_exit(status)}"
