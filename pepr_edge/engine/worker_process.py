"""Worker processes as the run sees them: started when a job needs one, and kept for the next job."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from types import TracebackType
from typing import IO

import psutil

from pepr_edge.device.threads import with_passive_waiting
from pepr_edge.engine.job import CandidateJob
from pepr_edge.run_dir.layout import LOG
from pepr_edge.run_dir.store import open_new

# A killed process and its child close their output at once.
END_LIMIT_S = 10.0


@dataclass(eq=False)
class WorkerProcess:
    """A process, the job that it works on, its latest stage, and why it was killed, if it was."""

    job: CandidateJob
    process: subprocess.Popen[str]
    stage: str
    start_s: float
    last_step_s: float
    killed_for: str = ""
    listener: Thread | None = None

    def begin(self, job: CandidateJob) -> None:
        """Note the beginning of a job."""
        self.job = job
        self.stage = job.stage
        self.start_s = time.monotonic()
        self.last_step_s = self.start_s

    def end(self) -> None:
        """Kill the process and the child that works for it, and wait until both have ended."""
        self.process.kill()
        self.process.wait()
        if self.process.stdin is not None:
            with suppress(OSError):  # of a job that it did not read
                self.process.stdin.close()
        if self.listener is not None:
            self.listener.join(END_LIMIT_S)


# A line of a worker's output; None at its end.
Lines = SimpleQueue[tuple[WorkerProcess, str | None]]


class Workers:
    """The worker processes of an engine. Those without a job wait for the next one."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self.lines: Lines = SimpleQueue()
        self._idle: list[WorkerProcess] = []

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def start(self, job: CandidateJob) -> WorkerProcess:
        """Give a job to a process that waits, else to a new one. Its log is a new file."""
        folder = Path(job.folder)
        folder.mkdir(parents=True, exist_ok=True)
        with open_new(folder / LOG) as log:
            worker = self._waiting() or self._new(job, log.fileno())
        worker.begin(job)
        limit_memory(worker)
        stdin = worker.process.stdin
        assert stdin is not None
        with suppress(BrokenPipeError):  # it died before it read its job: its exit status is read later
            stdin.write(job.model_dump_json() + "\n")
            stdin.flush()
        return worker

    def keep(self, worker: WorkerProcess) -> None:
        """Keep a process whose job is done for the next job."""
        self._idle.append(worker)

    def release(self) -> None:
        """End the processes that wait. The next job starts a new one."""
        while self._idle:
            self._idle.pop().end()

    def _waiting(self) -> WorkerProcess | None:
        """Return a process that waits for a job, without those that died while they waited."""
        while self._idle:
            worker = self._idle.pop()
            if worker.process.poll() is None:
                return worker
            worker.end()
        return None

    def _new(self, job: CandidateJob, log: int) -> WorkerProcess:
        process = start_program("pepr_edge.engine.worker_main", log)
        now = time.monotonic()
        worker = WorkerProcess(job, process, job.stage, now, now)
        worker.listener = Thread(target=self._listen, args=(worker,), name="steps of a worker", daemon=True)
        worker.listener.start()
        return worker

    def _listen(self, worker: WorkerProcess) -> None:
        with worker.process.stdout as stdout:  # type: ignore[union-attr]
            for line in stdout:
                self.lines.put((worker, line))
        self.lines.put((worker, None))


def start_program(module: str, stderr: int | IO[str]) -> subprocess.Popen[str]:
    """Start a program that may import PyTorch, with pipes to its stdin and stdout.

    Args:
        module: run as `python -m`.
        stderr: file or descriptor for its error output.
    """
    return subprocess.Popen(
        [sys.executable, "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        env=worker_environment(),
        text=True,
        encoding="utf-8",
    )


def worker_environment() -> dict[str, str]:
    """Return the environment of a worker process, which must be complete before it imports PyTorch."""
    # `-m` puts the working directory first on the path, where a file may be called numpy.py. From Python 3.11
    # on PYTHONSAFEPATH keeps it off.
    return {**with_passive_waiting(os.environ), "PYTHONSAFEPATH": "1"}


def limit_memory(worker: WorkerProcess) -> None:
    """Have Linux limit the memory of a worker and its children to the recipe's limit, mapped files apart.

    A child inherits the limit at its fork, so the limit is set before the job is sent.
    """
    if not system_limits_memory():
        return
    limit_bytes = worker.job.recipe.worker.memory_bytes
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(worker.process.pid)
        _, hard = process.rlimit(psutil.RLIMIT_DATA)
        # The hard limit stays: it cannot be raised again for a job without a limit.
        soft = hard if limit_bytes is None else round(limit_bytes)
        if hard != psutil.RLIM_INFINITY:
            soft = min(soft, hard)
        process.rlimit(psutil.RLIMIT_DATA, (soft, hard))


def system_limits_memory() -> bool:
    """True if the system can limit the memory of a process."""
    return sys.platform == "linux"
