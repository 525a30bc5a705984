"""The node's side of a job, with a script in the worker's place and without Ray."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path

import numpy as np
import psutil
import pytest

from pepr_edge import __version__
from pepr_edge.engine import ray_task, worker_process
from pepr_edge.engine.file_sync import FileChanges, unpack
from pepr_edge.engine.job import CandidateJob, Step
from pepr_edge.engine.ray_task import TaskUpdate, work
from pepr_edge.errors import EngineError
from pepr_edge.records import Failure
from pepr_edge.run_dir.store import locked, read_record

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the stand-in for the worker is a script")

MakeJob = Callable[..., CandidateJob]
StartTask = Callable[..., Generator[TaskUpdate, None, None]]
# `job` is what it was given, `folder` where its files go; `step` says how far it is.
STAND_IN = """#!{python} -S
import json, os, sys, time
job = json.loads(sys.stdin.readline())
folder = job["folder"] + "/"
def write(name, text):
    with open(folder + "." + name + ".tmp", "w") as file:
        file.write(text)
    os.replace(folder + "." + name + ".tmp", folder + name)
def step(done=1, stage="train"):
    print(json.dumps({{"stage": stage, "done": done, "total": 9}}), flush=True)
{script}
"""


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StartTask:
    """Have a script carry out a job on a node of which `tmp_path / "node"` is the disk, in haste."""
    (tmp_path / "node").mkdir()
    monkeypatch.setattr(ray_task.tempfile, "gettempdir", lambda: str(tmp_path / "node"))  # type: ignore[attr-defined]
    monkeypatch.setattr(ray_task, "SYNC_PERIOD_S", 0.0)
    monkeypatch.setattr(ray_task, "STEP_PERIOD_S", 0.01)

    def start(
        job: CandidateJob,
        script: str,
        files: dict[str, bytes] | None = None,
        version: str = __version__,
        **weights: bytes,
    ) -> Generator[TaskUpdate, None, None]:
        path = tmp_path / "worker.py"
        path.write_text(STAND_IN.format(python=sys.executable, script=script), encoding="utf-8")
        path.chmod(0o755)
        monkeypatch.setattr(worker_process.sys, "executable", str(path))  # type: ignore[attr-defined]
        images = {
            "info.json": np.frombuffer(b"{}", np.uint8),
            "train_pixels.npy": np.arange(9, dtype=np.uint8),
        }
        arrays = {
            name.replace("_", "."): np.frombuffer(content, np.uint8) for name, content in weights.items()
        }
        return work(version, job.model_dump_json(), FileChanges(files or {}), images, arrays)

    return start


def steps_done(updates: list[TaskUpdate]) -> list[int]:
    return [Step.model_validate_json(update.step).done for update in updates if update.step is not None]


def home(updates: list[TaskUpdate], folder: Path) -> Path:
    """The candidate's folder at home once all updates have arrived."""
    for update in updates:
        unpack(update.changes or FileChanges({}), folder / "home")
    return folder / "home"


def test_files_are_sent_to_the_node_and_results_come_home(
    make_job: MakeJob, node: StartTask, tmp_path: Path
) -> None:
    script = (
        "assert open(folder + 'training.json').read() == 'sent'\n"
        "assert open(job['data'] + '/train_pixels.npy', 'rb').read()[8] == 8\n"
        "os.mkdir(folder + 'fp32'); write('made.json', 'made'); os.remove(folder + 'training.json')\n"
        "open(folder + 'fp32/model.onnx', 'w').write('onnx'); step()"
    )
    job = make_job()
    updates = list(node(job, script, {"training.json": b"sent", "kept.json": b"kept"}))
    assert [update.over for update in updates] == [False] * (len(updates) - 1) + [True]
    assert "training.json" in [name for update in updates if update.changes for name in update.changes.gone]
    assert {path.name for path in home(updates, tmp_path).rglob("*")} == {
        "made.json",
        "fp32",
        "model.onnx",
        "log.txt",
    }
    assert steps_done(updates)[-1:] == [1]
    assert not list((tmp_path / "node").iterdir())  # the images are gone
    assert not Path(job.folder).exists()  # on a disk that it does not share


def test_progress_comes_home_while_a_job_runs(make_job: MakeJob, node: StartTask) -> None:
    script = "[(write('spent.json', str(n)), step(n), time.sleep(0.06)) for n in range(3)]"
    updates = list(node(make_job(), script))
    costs = [
        update.changes.files["spent.json"]
        for update in updates
        if update.changes is not None and "spent.json" in update.changes.files
    ]
    assert len(costs) >= 2
    assert costs == sorted(costs)
    assert steps_done(updates) == sorted(steps_done(updates))


def test_local_weights_are_at_the_path_in_the_job(make_job: MakeJob, node: StartTask, tmp_path: Path) -> None:
    job = make_job().model_copy(update={"weights_file": "/of/the/driver/w.pth"})
    script = "write('seen.json', open(job['weights_file']).read())"
    assert (home(list(node(job, script, w_pth=b"weights")), tmp_path) / "seen.json").read_text() == "weights"


def test_a_worker_that_dies_on_a_node_is_a_failure(
    make_job: MakeJob, node: StartTask, tmp_path: Path
) -> None:
    updates = list(node(make_job(), "step(); sys.exit('trouble')"))
    failure = read_record(home(updates, tmp_path) / "failure.json", Failure)
    assert (failure.reason, failure.log_tail) == ("trouble", ("trouble",))


def test_a_node_of_another_version_does_nothing(make_job: MakeJob, node: StartTask) -> None:
    with pytest.raises(EngineError, match=f"a node of the cluster has pepr_edge {__version__}, expected 9.9"):
        next(node(make_job(), "step()", version="9.9"))


def test_a_cancelled_task_leaves_neither_process_nor_images(
    make_job: MakeJob, node: StartTask, tmp_path: Path
) -> None:
    others = set(psutil.Process().children(recursive=True))
    task = node(make_job(), "step(); time.sleep(600)")
    assert steps_done([next(task)]) == [1]
    assert set(psutil.Process().children(recursive=True)) - others
    start_s = time.perf_counter()
    task.close()
    assert time.perf_counter() - start_s < 30
    assert not set(psutil.Process().children(recursive=True)) - others
    assert not list((tmp_path / "node").iterdir())


def test_only_images_of_killed_tasks_are_removed(make_job: MakeJob, node: StartTask, tmp_path: Path) -> None:
    names = ["pepr_edge-ray-killed", "pepr_edge-ray-running", "pepr_edge-ray-beginning", "other"]
    killed, running, starting, other = folders = [tmp_path / "node" / name for name in names]
    for folder in folders:
        folder.mkdir()
        (folder / "train_pixels.npy").touch()
    with locked(killed):
        pass
    with locked(running):
        for folder in (killed, running, other):
            os.utime(folder, (0, 0))
        list(node(make_job(), "step()"))
    assert [folder.exists() for folder in (killed, running, starting, other)] == [False, True, True, True]
