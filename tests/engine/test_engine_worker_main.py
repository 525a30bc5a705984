"""Workers that stay and fork a child for each job. Where not marked slow, with a stand-in for the work."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from pepr_edge.engine import local, worker_process
from pepr_edge.engine.job import CandidateJob, Step
from pepr_edge.engine.worker_process import Workers
from pepr_edge.records import Failure, TrainResult
from pepr_edge.run_dir.store import read_record

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only on Linux a worker forks")

MakeJob = Callable[..., CandidateJob]
WorkerIs = Callable[..., None]
PYTHON = sys.executable

# A worker whose jobs run `script`, and leave what they know of their process in process.json.
PROGRAM = """#!{python}
import os
os.environ["OPENBLAS_NUM_THREADS"] = "1"
import json, signal, sys, time
from pathlib import Path
from pepr_edge.engine import fork_safety, worker, worker_main
from pepr_edge.engine.job import Step
from pepr_edge.measure.memory import peak_memory_bytes

def work(job, steps):
    name = Path(job.folder).name
    facts = {{"pid": os.getpid(), "parent": os.getppid(), "cpu_s": time.process_time()}}
    (Path(job.folder) / "process.json").write_text(json.dumps(facts))
    worker.report(steps, Step(stage="train", done=1, total=9))
    {script}
    facts["peak_bytes"] = peak_memory_bytes()
    (Path(job.folder) / "process.json").write_text(json.dumps(facts))

{setup}
worker_main.main()
"""
STAND_IN = "worker.work = work; worker_main.PRELOADED = ()"
FRESH = "fork_safety.may_fork = lambda: False"
WITH_A_THREAD = "import threading; threading.Thread(target=time.sleep, args=(60,), daemon=True).start()"


@pytest.fixture
def worker_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WorkerIs:
    """Put a program into the worker's place."""

    def put(script: str = "pass", setup: str = STAND_IN) -> None:
        path = tmp_path / "worker.py"
        path.write_text(PROGRAM.format(python=PYTHON, script=script, setup=setup), encoding="utf-8")
        path.chmod(0o755)
        monkeypatch.setattr(worker_process.sys, "executable", str(path))  # type: ignore[attr-defined]

    return put


@pytest.fixture
def workers() -> Iterator[Workers]:
    others = set(psutil.Process().children(recursive=True))
    with Workers() as workers:
        yield workers
    assert not set(psutil.Process().children(recursive=True)) - others


def run(workers: Workers, *jobs: CandidateJob, parallel: int = 1) -> None:
    local.run(jobs, parallel, lambda job, step: None, lambda job: None, workers)


def facts(job: CandidateJob) -> Any:
    return json.loads((Path(job.folder) / "process.json").read_text())


def is_at_work(pid: int) -> bool:
    """False also for a process that has ended but was not waited for yet."""
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def failed(job: CandidateJob) -> Failure:
    return read_record(Path(job.folder) / "failure.json", Failure)


def test_each_job_has_a_child_of_the_same_worker(
    make_job: MakeJob, worker_is: WorkerIs, workers: Workers
) -> None:
    worker_is()
    jobs = [make_job(name) for name in "abc"]
    run(workers, *jobs[:2])
    run(workers, jobs[2])
    assert len({facts(job)["pid"] for job in jobs}) == 3
    assert len({facts(job)["parent"] for job in jobs}) == 1
    assert all(facts(job)["cpu_s"] < 0.5 for job in jobs)
    workers.release()
    assert not is_at_work(facts(jobs[0])["parent"])


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "its process was ended by SIGSEGV"),
        ("os._exit(3)", "its process ended with status 3"),
        ("sys.exit('RuntimeError: trouble')", "RuntimeError: trouble"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
    ],
)
def test_a_job_that_dies_leaves_the_worker_for_the_next(
    make_job: MakeJob, worker_is: WorkerIs, workers: Workers, script: str, reason: str
) -> None:
    worker_is(f"if name == 'a': {script}")
    jobs = [make_job(name) for name in "ab"]
    run(workers, *jobs)
    assert failed(jobs[0]).reason == reason
    assert not (Path(jobs[1].folder) / "failure.json").exists()
    assert facts(jobs[0])["parent"] == facts(jobs[1])["parent"]


@pytest.mark.slow
def test_a_job_that_hangs_is_killed_with_its_worker(
    make_job: MakeJob, worker_is: WorkerIs, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "CHECK_EVERY_S", 0.05)
    worker_is("if name == 'a': time.sleep(600)")
    jobs = [make_job("a", worker={"time_h": 5 / 3600}), make_job("b")]
    run(workers, *jobs)
    assert "time_h" in failed(jobs[0]).reason
    assert not is_at_work(facts(jobs[0])["pid"])
    assert facts(jobs[0])["parent"] != facts(jobs[1])["parent"]


def test_an_interrupt_ends_the_child_too(make_job: MakeJob, worker_is: WorkerIs, workers: Workers) -> None:
    worker_is("time.sleep(600)")

    def interrupt(job: CandidateJob, step: Step) -> None:
        raise KeyboardInterrupt

    job = make_job("a")
    with pytest.raises(KeyboardInterrupt):
        local.run([job], 1, interrupt, lambda job: None, workers)
    # The child is killed with its parent, but not in the same moment.
    deadline_s = time.monotonic() + 10
    while is_at_work(facts(job)["pid"]) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert not is_at_work(facts(job)["pid"])
    assert not (Path(job.folder) / "failure.json").exists()


def test_the_memory_limit_is_that_of_the_job(
    make_job: MakeJob, worker_is: WorkerIs, workers: Workers
) -> None:
    worker_is("held = bytearray(1 << 30)")
    jobs = [make_job("a", worker={"memory_mib": 800}), make_job("b")]
    run(workers, *jobs)
    assert failed(jobs[0]).reason == "out of memory (limit: worker.memory_mib = 800): MemoryError"
    assert facts(jobs[1])["peak_bytes"] > 1 << 30
    assert facts(jobs[0])["parent"] == facts(jobs[1])["parent"]


@pytest.mark.parametrize("way", ["grows", "is killed"])
def test_a_worker_that_grows_or_dies_is_replaced(
    make_job: MakeJob, worker_is: WorkerIs, workers: Workers, way: str
) -> None:
    worker_is(setup=STAND_IN + ("; worker_main.MAX_GROWTH_KIB = -100" if way == "grows" else ""))
    jobs = [make_job(name) for name in "ab"]
    run(workers, jobs[0])
    if way == "is killed":
        psutil.Process(facts(jobs[0])["parent"]).kill()
        while is_at_work(facts(jobs[0])["parent"]):
            time.sleep(0.01)
    run(workers, jobs[1])
    assert facts(jobs[0])["parent"] != facts(jobs[1])["parent"]
    assert not (Path(jobs[1].folder) / "failure.json").exists()


@pytest.mark.parametrize("setup", [FRESH, WITH_A_THREAD])
def test_a_worker_that_cannot_fork_does_one_job_itself(
    make_job: MakeJob, worker_is: WorkerIs, workers: Workers, setup: str
) -> None:
    worker_is(setup=f"{STAND_IN}; {setup}")
    jobs = [make_job(name) for name in "ab"]
    run(workers, *jobs)
    assert len({facts(job)["pid"] for job in jobs}) == 2
    assert {facts(job)["parent"] for job in jobs} == {psutil.Process().pid}


def test_the_peak_memory_of_a_child_is_that_of_a_fresh_process(
    make_job: MakeJob, worker_is: WorkerIs, workers: Workers
) -> None:
    forked, fresh = make_job("forked"), make_job("fresh")
    worker_is("held = bytearray(100 << 20)")
    run(workers, forked)
    workers.release()
    worker_is("held = bytearray(100 << 20)", setup=f"{STAND_IN}; {FRESH}")
    run(workers, fresh)
    assert facts(forked)["peak_bytes"] == pytest.approx(facts(fresh)["peak_bytes"], rel=0.05)


@pytest.mark.slow
def test_a_child_trains_as_a_fresh_process(make_job: MakeJob, worker_is: WorkerIs, workers: Workers) -> None:
    tables = {"train": {"epochs": 2, "batch_size": 16, "device": "cpu"}, "export": {"variants": ["fp32"]}}
    fresh = make_job("fresh", **tables)
    forked = make_job("forked", **tables)
    worker_is(setup=FRESH)
    run(workers, fresh.model_copy(update={"kind": "probe"}))
    shutil.copytree(fresh.folder, forked.folder)  # so that both train in the same mode
    run(workers, fresh)
    worker_is(setup="")
    run(workers, forked)
    results = [read_record(Path(job.folder) / "train.json", TrainResult) for job in (fresh, forked)]
    assert results[0].checkpoint_sha256 == results[1].checkpoint_sha256
    logits = [(Path(job.folder) / "logits.npz").read_bytes() for job in (fresh, forked)]
    assert logits[0] == logits[1]
    peaks = [result.cost.peak_memory_bytes.value for result in results]
    assert peaks[0] == pytest.approx(peaks[1], rel=0.05)
