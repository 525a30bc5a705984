"""Candidates in processes on this machine, one after the other or several at once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pepr_edge.engine.job import Job, Step
from pepr_edge.records import Failure
from pepr_edge.store import write_record

LOG_LINES = 12


def run(jobs: Sequence[Job], parallel: int, on_step: Callable[[Job, Step], None], on_done: Callable[[Job], None]) -> None:
    """Run all jobs; what one of them does never stops the others.

    Args:
        jobs: the work. Results and failures are in each job's folder afterwards.
        parallel: how many at once.
        on_step, on_done: called from several threads where parallel > 1.
    """
    running: set[subprocess.Popen[str]] = set()

    def one(job: Job) -> None:
        _run_one(job, running, on_step)
        on_done(job)

    try:
        if parallel == 1:
            for job in jobs:
                one(job)
        else:
            with ThreadPoolExecutor(parallel) as pool:
                list(pool.map(one, jobs))
    finally:
        # Ctrl-C, or a fault of ours: no worker is left behind.
        for process in list(running):
            process.kill()


def _run_one(job: Job, running: set[subprocess.Popen[str]], on_step: Callable[[Job, Step], None]) -> None:
    folder = Path(job.folder)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "log.txt", "w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "pepr_edge.engine.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            encoding="utf-8",
        )
        running.add(process)
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(job.model_dump_json())
            process.stdin.close()
        except BrokenPipeError:
            pass  # it died before it read its job: its exit status says so below
        for line in process.stdout:
            on_step(job, Step.model_validate_json(line))
        status = process.wait()
        running.discard(process)
    if status != 0:
        tail = (folder / "log.txt").read_text(encoding="utf-8", errors="replace").strip().splitlines()[-LOG_LINES:]
        reason = (
            f"its process was killed by signal {-status}"
            if status < 0
            else (tail[-1] if tail else f"its process ended with status {status}")
        )
        fault = Failure(key=job.train_key, candidate=job.candidate, stage="train", reason=reason, log_tail=tuple(tail))
        write_record(folder / "failure.json", fault)
