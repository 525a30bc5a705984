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

from pepr_edge.engine.job import DISK_FULL, CandidateJob, Step
from pepr_edge.errors import RunError
from pepr_edge.measure.process import cause
from pepr_edge.records import Failure
from pepr_edge.run_dir.store import write_record

LOG_LINES = 12
CHECK_EVERY_S = 1.0  # between two looks whether a worker has exceeded a limit
REFUSED = (
    "MemoryError",
    "bad_alloc",
    "allocate memory",
    "out of memory",
    "bad allocation",
)  # as Python, C++, PyTorch and CUDA say it


@dataclass(eq=False)
class WorkerProcess:
    """A process at work on a job, the stage that it last spoke of, when it began and when it last spoke; why it was ended, if it was."""

    job: CandidateJob
    process: subprocess.Popen[str]
    stage: str
    begun_s: float
    heard_s: float
    ended_for: str = ""


Lines = SimpleQueue[tuple[WorkerProcess, str | None]]  # None where a worker's output has ended


def run(
    jobs: Sequence[CandidateJob],
    parallel: int,
    on_step: Callable[[CandidateJob, Step], None],
    on_done: Callable[[CandidateJob], None],
) -> None:
    """Run all jobs; what one of them does never stops the others.

    This thread alone starts workers, kills them and writes their failures. So on Ctrl-C, or a fault of a callback, no worker is left
    behind, no other is started, and none that died of it counts as failed: a terminal's Ctrl-C reaches the workers as well.

    Args:
        jobs: the work. Results and failures are in each job's folder afterwards.
        parallel: how many at once.
        on_step, on_done: called from this thread.
    Raises:
        RunError: a worker found no room on the disk, which is no fault of its candidate.
    """
    waiting, running = deque(jobs), set[WorkerProcess]()
    lines: Lines = SimpleQueue()
    try:
        while waiting or running:
            while waiting and len(running) < parallel:
                running.add(_start(waiting.popleft(), lines))
            for worker in running:
                _end_if_over_a_limit(worker)
            try:
                worker, line = lines.get(timeout=CHECK_EVERY_S)
            except Empty:
                continue
            if line is not None:
                step = Step.model_validate_json(line)
                worker.stage, worker.heard_s = step.stage, time.monotonic()
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


def _start(job: CandidateJob, lines: Lines) -> WorkerProcess:
    folder = Path(job.folder)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "log.txt", "w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "pepr_edge.engine.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            # `-m` puts the working directory first on the path, where a file may be called numpy.py. From Python 3.11 on this keeps it off.
            env={**os.environ, "PYTHONSAFEPATH": "1"},
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
        pass  # it died before it read its job: its exit status says so later
    return worker


def _listen(worker: WorkerProcess, lines: Lines) -> None:
    with worker.process.stdout as stdout:  # type: ignore[union-attr]
        for line in stdout:
            lines.put((worker, line))
    lines.put((worker, None))


def _limit_memory(worker: WorkerProcess) -> None:
    """Have Linux refuse a worker, and what it starts, more memory than the recipe allows: data, not the files that it maps."""
    if (limit_bytes := worker.job.recipe.worker.memory_bytes) is not None and _limits_memory():
        with suppress(psutil.NoSuchProcess):
            psutil.Process(worker.process.pid).rlimit(
                psutil.RLIMIT_DATA, (round(limit_bytes), round(limit_bytes))
            )


def _limits_memory() -> bool:
    """Whether the system limits what a process holds of its own."""
    return sys.platform == "linux"


def _end_if_over_a_limit(worker: WorkerProcess) -> None:
    """End a worker that took too long, has said nothing for too long, or, where the system does not see to it, holds too much memory."""
    limits, now = worker.job.recipe.worker, time.monotonic()
    if worker.ended_for:
        return
    if now - worker.begun_s > limits.time_s:
        worker.ended_for = f"it took longer than worker.time_h = {limits.time_h:g} allows"
    elif now - worker.heard_s > limits.silence_s:
        worker.ended_for = (
            f"it hung: nothing was heard of it for worker.silence_min = {limits.silence_min:g} minutes"
        )
    elif (
        limits.memory_bytes is not None and not _limits_memory() and _held_bytes(worker) > limits.memory_bytes
    ):
        worker.ended_for = f"out of memory: it held more than worker.memory_mib = {limits.memory_mib:g}"
    if worker.ended_for:
        worker.process.kill()


def _held_bytes(worker: WorkerProcess) -> int:
    try:
        return int(psutil.Process(worker.process.pid).memory_info().rss)
    except psutil.Error:
        return 0


def _conclude(worker: WorkerProcess) -> None:
    """Wait for a worker whose output has ended; where it died, write down why."""
    status, job = worker.process.wait(), worker.job
    if status == 0:
        return
    if status == DISK_FULL:
        raise RunError(
            f"{job.candidate.id}: no room left on the disk of the run directory. Make room; the same command goes on."
        )
    folder = Path(job.folder)
    tail = (
        (folder / "log.txt").read_text(encoding="utf-8", errors="replace").strip().splitlines()[-LOG_LINES:]
    )
    reason = worker.ended_for or _reason(worker, status, tail)
    fault = Failure(
        key=job.train_key, candidate=job.candidate, stage=worker.stage, reason=reason, log_tail=tuple(tail)
    )
    write_record(folder / "failure.json", fault)


def _reason(worker: WorkerProcess, status: int, tail: Sequence[str]) -> str:
    """Why a worker died, by its exit status and its last line."""
    last, limit_mib = tail[-1] if tail else "", worker.job.recipe.worker.memory_mib
    if any(word in last for word in REFUSED):
        return f"out of memory{f', of which worker.memory_mib = {limit_mib:g} allows it no more' if limit_mib else ''}: {last}"
    return last if status > 0 and last else f"its process {cause(status)}"
