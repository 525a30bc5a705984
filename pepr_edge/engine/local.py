"""Candidates in processes on this machine, one after the other or several at once."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import Empty

import psutil
from pydantic import TypeAdapter

from pepr_edge.engine.job import DISK_FULL, CandidateJob, JobEnd, Step
from pepr_edge.engine.worker_process import WorkerProcess, Workers, system_limits_memory
from pepr_edge.errors import RunError
from pepr_edge.measure.process import describe_exit
from pepr_edge.records import Failure
from pepr_edge.run_dir.layout import FAILURE, LOG
from pepr_edge.run_dir.store import tail, write_record

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
# Each line that a worker writes is one of these.
MESSAGES: TypeAdapter[Step | JobEnd] = TypeAdapter(Step | JobEnd)


def run(
    jobs: Sequence[CandidateJob],
    parallel: int,
    on_step: Callable[[CandidateJob, Step], None],
    on_done: Callable[[CandidateJob], None],
    workers: Workers | None = None,
) -> None:
    """Run all jobs; one that fails does not stop the others.

    Only this thread starts workers, kills them and writes their failures. So after Ctrl-C, or an exception in
    a callback, no worker is left at work, no other is started, and none that died of it counts as failed: a
    terminal's Ctrl-C reaches the workers as well.

    Args:
        jobs: the work. Results and failures are in each job's folder afterwards.
        parallel: how many at once.
        on_step, on_done: called from this thread.
        workers: processes of an earlier call, which stay for the next one; None: new ones that end with this.
    Raises:
        RunError: a worker found no room on the disk, which is not its candidate's failure.
    """
    if workers is not None:
        _run(jobs, parallel, on_step, on_done, workers)
        return
    with Workers() as own_workers:
        _run(jobs, parallel, on_step, on_done, own_workers)


def _run(
    jobs: Sequence[CandidateJob],
    parallel: int,
    on_step: Callable[[CandidateJob, Step], None],
    on_done: Callable[[CandidateJob], None],
    workers: Workers,
) -> None:
    waiting = deque(jobs)
    running = set[WorkerProcess]()
    try:
        while waiting or running:
            while waiting and len(running) < parallel:
                running.add(workers.start(waiting.popleft()))
            for worker in running:
                _kill_if_over_a_limit(worker)
            try:
                worker, line = workers.lines.get(timeout=CHECK_EVERY_S)
            except Empty:
                continue
            if worker not in running:  # the end of a process that was killed, or died while it waited
                continue
            message = None if line is None else MESSAGES.validate_json(line)
            if isinstance(message, Step):
                worker.stage = message.stage
                worker.last_step_s = time.monotonic()
                on_step(worker.job, message)
                continue
            running.discard(worker)
            _conclude(worker, _status(worker, message, workers))
            on_done(worker.job)
    finally:
        for worker in running:
            worker.process.kill()
        for worker in running:
            worker.end()


def _status(worker: WorkerProcess, end: JobEnd | None, workers: Workers) -> int:
    """Return the exit status of the process that did a job, and keep the worker for the next one if it stays.

    `end` is None if the worker ended with its job.
    """
    if end is None:
        status = worker.process.wait()
        worker.end()
        return status
    if end.stays and not worker.killed_for:
        workers.keep(worker)
    else:
        worker.end()
    return end.status


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
    if limit_bytes is None or system_limits_memory():
        return False
    try:
        return bool(psutil.Process(worker.process.pid).memory_info().rss > limit_bytes)
    except psutil.Error:
        return False


def _conclude(worker: WorkerProcess, status: int) -> None:
    """If the process of a job died, write down why.

    Raises:
        RunError: it found no room on the disk.
    """
    job = worker.job
    if status == 0:
        return
    if status == DISK_FULL:
        raise RunError(
            f"{job.candidate.id}: no room left on the disk of the run directory. "
            "Make room; the same command goes on."
        )
    folder = Path(job.folder)
    log_tail = tail(folder / LOG, LOG_LINES)
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
