from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from pepr_edge.engine import local, worker_process
from pepr_edge.engine.job import DISK_FULL, CandidateJob, Step
from pepr_edge.errors import RunError
from pepr_edge.records import Artifact, Failure, TrainResult
from pepr_edge.run_dir.current import current_training_state
from pepr_edge.run_dir.store import read_record

MakeJob = Callable[..., CandidateJob]
WorkerIs = Callable[[str], None]
PARALLEL = pytest.mark.parametrize("parallel", [1, 2])
posix = pytest.mark.skipif(os.name != "posix", reason="the stand-in for the worker is a script")

PYTHON = sys.executable
# Stands in for a worker: `job` is what it was given, `step` says how far it is.
STAND_IN = """#!{python} -S
import json, os, signal, sys, time
def step(stage="train", done=1):
    print(json.dumps({{"stage": stage, "done": done, "total": 9}}), flush=True)
def given():
    return json.loads(sys.stdin.readline())
{script}
"""
FOREVER = "given(); step(); time.sleep(600)"
IGNORING = "signal.signal(signal.SIGINT, signal.SIG_IGN); " + FOREVER


@pytest.fixture
def worker_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WorkerIs:
    """Put a script into the worker's place."""

    def put(script: str) -> None:
        path = tmp_path / "worker.py"
        path.write_text(STAND_IN.format(python=sys.executable, script=script), encoding="utf-8")
        path.chmod(0o755)
        monkeypatch.setattr(worker_process.sys, "executable", str(path))  # type: ignore[attr-defined]

    return put


def run(
    jobs: list[CandidateJob],
    parallel: int = 1,
    on_step: Callable[[CandidateJob, Step], None] = lambda job, step: None,
) -> list[str]:
    """Run jobs; the names of their folders, in the order in which they were done."""
    done: list[str] = []
    local.run(jobs, parallel, on_step, lambda job: done.append(Path(job.folder).name))
    return done


def failed(job: CandidateJob) -> Failure:
    return read_record(Path(job.folder) / "failure.json", Failure)


def children() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


@posix
@PARALLEL
def test_a_worker_that_dies_of_a_signal_is_a_failure_with_the_end_of_its_log(
    make_job: MakeJob, worker_is: WorkerIs, parallel: int
) -> None:
    worker_is(
        "given(); step(); [print('line', n, file=sys.stderr) for n in range(40)]; sys.stderr.flush(); "
        "os.kill(os.getpid(), 9)"
    )
    job = make_job()
    assert run([job], parallel) == ["job"]
    failure = failed(job)
    assert (failure.key, failure.candidate, failure.stage, failure.variant) == (
        "a key",
        job.candidate,
        "train",
        None,
    )
    assert "SIGKILL" in failure.reason
    assert "memory" in failure.reason
    assert failure.log_tail == tuple(f"line {n}" for n in range(28, 40))


@posix
@pytest.mark.parametrize(
    ("script", "reason", "stage"),
    [
        ("given(); sys.exit('RuntimeError: trouble')", "RuntimeError: trouble", "train"),
        ("given(); os._exit(3)", "its process ended with status 3", "train"),
        ("os._exit(4)", "its process ended with status 4", "train"),  # before it reads its job
        ("given(); step(); step('export int8_static'); sys.exit('trouble')", "trouble", "export int8_static"),
        ("given(); os.write(2, b'caf\\xe9\\n'); os._exit(1)", "caf\N{REPLACEMENT CHARACTER}", "train"),
    ],
)
def test_a_failure_has_the_last_line_and_the_stage_of_its_worker(
    make_job: MakeJob, worker_is: WorkerIs, script: str, reason: str, stage: str
) -> None:
    worker_is(script)
    job = make_job()
    run([job])
    assert (failed(job).reason, failed(job).stage) == (reason, stage)


@posix
@pytest.mark.parametrize(
    ("script", "limits", "reason"),
    [
        (FOREVER, {"time_h": 0.3 / 3600}, "it took longer than worker.time_h = 8.33333e-05 allows"),
        (
            FOREVER,
            {"silence_min": 0.3 / 60},
            "it hung: no progress for worker.silence_min = 0.005 minutes",
        ),
        (
            "given(); bytearray(1 << 30)",
            {"memory_mib": 500},
            "out of memory (limit: worker.memory_mib = 500): MemoryError",
        ),
        ("given(); sys.exit('std::bad_alloc')", {}, "out of memory: std::bad_alloc"),
    ],
)
def test_a_worker_over_a_limit_is_killed_and_the_next_starts(
    make_job: MakeJob,
    worker_is: WorkerIs,
    monkeypatch: pytest.MonkeyPatch,
    script: str,
    limits: dict[str, float],
    reason: str,
) -> None:
    if "memory_mib" in limits and sys.platform != "linux":
        pytest.skip("only Linux refuses memory")
    monkeypatch.setattr(local, "CHECK_EVERY_S", 0.05)
    worker_is(f"job = given(); given = lambda: 0\nif job['folder'].endswith('b'): sys.exit()\n{script}")
    jobs = [make_job("a", worker=limits), make_job("b", worker=limits)]
    others = children()
    assert run(jobs) == ["a", "b"]
    assert failed(jobs[0]).reason == reason
    assert not (Path(jobs[1].folder) / "failure.json").exists()
    assert not set(children()) - set(others)


@posix
def test_a_worker_over_its_memory_is_killed_if_the_system_sets_no_limit(
    make_job: MakeJob, worker_is: WorkerIs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "CHECK_EVERY_S", 0.05)
    for module in (local, worker_process):
        monkeypatch.setattr(module, "system_limits_memory", lambda: False)
    worker_is("given(); held = bytearray(80 << 20); step(); time.sleep(600)")
    job = make_job(worker={"memory_mib": 60})
    run([job])
    assert failed(job).reason.startswith("out of memory")
    assert "worker.memory_mib = 60" in failed(job).reason


@posix
@PARALLEL
def test_a_full_disk_stops_the_run(make_job: MakeJob, worker_is: WorkerIs, parallel: int) -> None:
    worker_is(f"job = given(); sys.exit({DISK_FULL} if job['folder'].endswith('b') else 0)")
    jobs = [make_job(name) for name in "abcd"]
    others = children()
    with pytest.raises(RunError, match="disk"):
        run(jobs, parallel)
    assert not any((Path(job.folder) / "failure.json").exists() for job in jobs)
    assert not Path(jobs[3].folder).exists()
    assert not set(children()) - set(others)


@posix
@PARALLEL
def test_a_job_that_fails_does_not_stop_the_next(
    make_job: MakeJob, worker_is: WorkerIs, parallel: int
) -> None:
    worker_is("job = given(); step(); sys.exit('trouble' if job['folder'].endswith('b') else 0)")
    jobs = [make_job(name) for name in "abcd"]
    assert sorted(run(jobs, parallel)) == ["a", "b", "c", "d"]
    assert [job for job in jobs if (Path(job.folder) / "failure.json").exists()] == [jobs[1]]


@posix
def test_a_worker_gets_its_whole_job_and_its_steps_come_back_in_order(
    make_job: MakeJob, worker_is: WorkerIs
) -> None:
    worker_is(
        "job = given(); json.dump(job, open(job['folder'] + '/given.json', 'w')); "
        "[step(done=n) for n in range(5)]"
    )
    jobs, reported = [make_job(name) for name in "ab"], []
    run(jobs, on_step=lambda job, step: reported.append((job, step)))
    assert reported == [(job, Step(stage="train", done=n, total=9)) for job in jobs for n in range(5)]
    assert all(
        CandidateJob.model_validate_json((Path(job.folder) / "given.json").read_bytes()) == job
        for job in jobs
    )


@posix
@PARALLEL
def test_the_wanted_number_of_jobs_runs_at_once(
    make_job: MakeJob, worker_is: WorkerIs, parallel: int
) -> None:
    worker_is("given(); step(done=0); time.sleep(0.3); step(done=9)")
    running: set[str] = set()
    most = 0

    def on_step(job: CandidateJob, step: Step) -> None:
        nonlocal most
        (running.discard if step.done else running.add)(job.folder)
        most = max(most, len(running))

    assert len(run([make_job(name) for name in "abcde"], parallel, on_step)) == 5
    assert most == parallel


@posix
@PARALLEL
def test_callbacks_come_from_the_thread_that_called(
    make_job: MakeJob, worker_is: WorkerIs, parallel: int
) -> None:
    """A progress bar or a click context belongs to one thread."""
    worker_is("given(); step()")
    seen: list[threading.Thread] = []
    jobs = [make_job(name) for name in "abc"]
    local.run(
        jobs,
        parallel,
        lambda job, step: seen.append(threading.current_thread()),
        lambda job: seen.append(threading.current_thread()),
    )
    assert seen == [threading.current_thread()] * 6


def test_without_jobs_nothing_runs() -> None:
    assert run([], 2) == []


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


@pytest.mark.slow
@PARALLEL
def test_real_workers_train_and_export_once(make_job: MakeJob, parallel: int) -> None:
    good, bad = make_job("good"), make_job("bad", architecture="no_such_net")
    reported: list[tuple[str, str]] = []
    assert sorted(
        run([bad, good], parallel, lambda job, step: reported.append((Path(job.folder).name, step.stage)))
    ) == ["bad", "good"]
    stages = ("train", "export", "export fp32", "export int8_static")
    assert set(reported) == {*((("good", stage)) for stage in stages), ("bad", "train")}
    folder = Path(good.folder)
    assert read_record(folder / "train.json", TrainResult).key == "a key"
    assert all(
        read_record(folder / name / "export.json", Artifact).variant == name
        for name in ("fp32", "int8_static")
    )
    assert failed(bad).stage == "train"
    assert failed(bad).reason.startswith("no_such_net: unknown architecture")

    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.*") if path.name != "log.txt"}
    reported.clear()
    assert run([good], parallel) == ["good"]
    assert reported == []
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.*") if path.name != "log.txt"} == before


@pytest.mark.slow
@posix
def test_a_training_whose_worker_was_killed_gives_the_same_result(make_job: MakeJob) -> None:
    tables = {"train": {"epochs": 4, "batch_size": 16, "device": "cpu"}, "export": {"variants": ["fp32"]}}
    whole, killed = make_job("whole", **tables), make_job("killed", **tables)
    run([whole.model_copy(update={"kind": "probe"})])
    shutil.copytree(whole.folder, killed.folder)  # so that both train in the same mode
    run([whole])
    for epoch in (2, 3):

        def kill(job: CandidateJob, step: Step, epoch: int = epoch) -> None:
            if step.epoch == epoch:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run([killed], on_step=kill)
        left = current_training_state(Path(killed.folder), "a key")
        assert left is not None
        assert len(left.epochs) >= epoch - 1
    run([killed])
    expected = read_record(Path(whole.folder) / "train.json", TrainResult)
    resumed = read_record(Path(killed.folder) / "train.json", TrainResult)
    assert resumed.checkpoint_sha256 == expected.checkpoint_sha256
    assert (Path(killed.folder) / "logits.npz").read_bytes() == (
        Path(whole.folder) / "logits.npz"
    ).read_bytes()
    curves = [
        [epoch.model_dump(exclude={"duration_s", "energy_j"}) for epoch in result.epochs]
        for result in (expected, resumed)
    ]
    assert curves[0] == curves[1]


PRINTING = """
import os
from pepr_edge.engine import worker, worker_main
from pepr_edge.engine.job import Step
def work(job, steps):
    print("noise of Python")
    os.write(1, b"noise of a library")
    worker.report(steps, Step(stage=job.candidate.architecture, done=1, total=1))
worker.work = work
worker_main.PRELOADED = ()
worker_main.main()
"""


def test_a_real_worker_writes_only_messages_to_stdout(make_job: MakeJob) -> None:
    job = make_job()
    Path(job.folder).mkdir()
    done = subprocess.run(
        [PYTHON, "-c", PRINTING],
        input=job.model_dump_json() + "\n",
        capture_output=True,
        text=True,
        check=True,
    )
    messages = [local.MESSAGES.validate_json(line) for line in done.stdout.splitlines()]
    assert messages[0] == Step(stage="test_efficientnet", done=1, total=1)
    assert done.stderr == ""
    log = (Path(job.folder) / "log.txt").read_text()
    assert "noise of Python" in log
    assert "noise of a library" in log


def test_threads_of_a_worker_sleep_while_they_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    environment = worker_process.worker_environment()
    assert environment["OMP_WAIT_POLICY"] == "PASSIVE"
    assert environment["PYTHONSAFEPATH"] == "1"
