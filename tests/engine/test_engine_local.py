from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest
from local_engine import FOREVER, PARALLEL, MakeJob, WorkerIs, children, failed, posix, run

from pepr_edge.engine import local, worker_process
from pepr_edge.engine.job import DISK_FULL, CandidateJob, Step
from pepr_edge.errors import RunError


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
