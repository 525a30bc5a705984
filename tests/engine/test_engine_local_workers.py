"""The local engine with real workers, which train and export."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from local_engine import PARALLEL, PYTHON, MakeJob, failed, posix, run

from pepr_edge.engine import local, worker_process
from pepr_edge.engine.job import CandidateJob, Step
from pepr_edge.records import Artifact, TrainResult
from pepr_edge.run_dir.current import current_training_state
from pepr_edge.run_dir.store import read_record


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
