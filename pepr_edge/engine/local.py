"""Candidates in processes on this machine, one after the other or several at once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Thread

from pepr_edge.engine.job import Job, Step
from pepr_edge.records import Failure
from pepr_edge.store import write_record

LOG_LINES = 12


@dataclass(eq=False)
class Worker:
    """A process at work on a job, and the stage that it last spoke of."""

    job: Job
    process: subprocess.Popen[str]
    stage: str = "train"


Lines = SimpleQueue[tuple[Worker, str | None]]  # None where a worker's output has ended


def run(jobs: Sequence[Job], parallel: int, on_step: Callable[[Job, Step], None], on_done: Callable[[Job], None]) -> None:
    """Run all jobs; what one of them does never stops the others.

    This thread alone starts workers, kills them and writes their failures. So on Ctrl-C, or a fault of a callback, no worker is left
    behind, no other is started, and none that died of it counts as failed: a terminal's Ctrl-C reaches the workers as well.

    Args:
        jobs: the work. Results and failures are in each job's folder afterwards.
        parallel: how many at once.
        on_step, on_done: called from this thread.
    """
    waiting, running = deque(jobs), set[Worker]()
    lines: Lines = SimpleQueue()
    try:
        while waiting or running:
            while waiting and len(running) < parallel:
                running.add(_start(waiting.popleft(), lines))
            worker, line = lines.get()
            if line is not None:
                step = Step.model_validate_json(line)
                worker.stage = step.stage
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


def _start(job: Job, lines: Lines) -> Worker:
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
    worker = Worker(job, process)
    Thread(target=_listen, args=(worker, lines), name=f"steps of {job.candidate.id}", daemon=True).start()
    try:
        with process.stdin as stdin:  # type: ignore[union-attr]
            stdin.write(job.model_dump_json())
    except BrokenPipeError:
        pass  # it died before it read its job: its exit status says so later
    return worker


def _listen(worker: Worker, lines: Lines) -> None:
    with worker.process.stdout as stdout:  # type: ignore[union-attr]
        for line in stdout:
            lines.put((worker, line))
    lines.put((worker, None))


def _conclude(worker: Worker) -> None:
    """Wait for a worker whose output has ended; where it died, write down why."""
    status, job = worker.process.wait(), worker.job
    if status == 0:
        return
    folder = Path(job.folder)
    tail = (folder / "log.txt").read_text(encoding="utf-8", errors="replace").strip().splitlines()[-LOG_LINES:]
    if status < 0:
        reason = f"its process was killed by signal {-status}"
    else:
        reason = tail[-1] if tail else f"its process ended with status {status}"
    fault = Failure(key=job.train_key, candidate=job.candidate, stage=worker.stage, reason=reason, log_tail=tuple(tail))
    write_record(folder / "failure.json", fault)
