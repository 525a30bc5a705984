"""Interrupts of the local engine: no worker stays, and no failure is written."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
from local_engine import FOREVER, PARALLEL, PYTHON, MakeJob, WorkerIs, children, posix, run

from pepr_edge.engine.job import CandidateJob, Step

IGNORING = "signal.signal(signal.SIGINT, signal.SIG_IGN); " + FOREVER


@posix
@PARALLEL
@pytest.mark.parametrize("fault", [KeyboardInterrupt, ZeroDivisionError])
def test_an_interrupt_kills_the_workers_at_once(
    make_job: MakeJob, worker_is: WorkerIs, parallel: int, fault: type[BaseException]
) -> None:
    worker_is(IGNORING)
    reported: list[str] = []

    def on_step(job: CandidateJob, step: Step) -> None:
        reported.append(Path(job.folder).name)
        if len(reported) == parallel:
            raise fault

    jobs, others = [make_job(name) for name in "abcd"], children()
    start_s = time.perf_counter()
    with pytest.raises(fault):
        run(jobs, parallel, on_step)
    assert time.perf_counter() - start_s < 30
    assert not set(children()) - set(others)
    assert sorted(reported) == ["a", "b"][:parallel]
    assert [Path(job.folder).exists() for job in jobs] == [True] * parallel + [False] * (4 - parallel)
    assert not any((Path(job.folder) / "failure.json").exists() for job in jobs)


DRIVER = """
import signal, sys
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background of a script ignores it
from pepr_edge.engine import local, worker_process
from pepr_edge.engine.job import CandidateJob
jobs = [CandidateJob.model_validate_json(line) for line in sys.stdin]
worker_process.sys.executable = sys.argv[2]
reported = []
def on_step(job, step):
    reported.append(job)
    if len(reported) == int(sys.argv[1]):
        print("all at work", flush=True)
local.run(jobs, int(sys.argv[1]), on_step, lambda job: None)
"""


@posix
@PARALLEL
@pytest.mark.parametrize("script", [FOREVER, IGNORING])
@pytest.mark.parametrize("to", ["the group", "the parent"])
def test_ctrl_c_leaves_no_worker_and_no_failure(
    make_job: MakeJob, worker_is: WorkerIs, tmp_path: Path, parallel: int, script: str, to: str
) -> None:
    """A terminal's Ctrl-C goes to the whole group: a worker may die of it before, after, or not at all."""
    worker_is(script)
    jobs = [make_job(name) for name in "abc"]
    with subprocess.Popen(
        [PYTHON, "-c", DRIVER, str(parallel), str(tmp_path / "worker.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as driver:
        assert driver.stdin is not None
        assert driver.stdout is not None
        driver.stdin.write("\n".join(job.model_dump_json() for job in jobs).encode())
        driver.stdin.close()
        assert driver.stdout.readline() == b"all at work\n"
        workers = psutil.Process(driver.pid).children()
        assert len(workers) == parallel
        start_s = time.perf_counter()
        (os.killpg if to == "the group" else os.kill)(driver.pid, signal.SIGINT)
        try:
            status = driver.wait(60)
        finally:
            driver.kill()  # otherwise the end of this block would wait for it
    assert time.perf_counter() - start_s < 30
    assert status == -signal.SIGINT
    assert not any(worker.is_running() for worker in workers)
    assert not (Path(jobs[parallel].folder)).exists()
    assert not any((Path(job.folder) / "failure.json").exists() for job in jobs)
