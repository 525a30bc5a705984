"""A job as a task on a node of a Ray cluster: the local engine's worker process, in a folder of the node.

Nothing is shared with the driver. The job, its candidate's folder and the prepared images are sent to the
node; steps and files are sent home.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TypeVar

import numpy as np
import psutil
from numpy.typing import NDArray

from pepr_edge import __version__
from pepr_edge.engine import local
from pepr_edge.engine.file_sync import FileChanges, Stamps, pack, stamps, unpack
from pepr_edge.engine.job import CandidateJob, Step
from pepr_edge.errors import EngineError, RunError
from pepr_edge.run_dir.layout import LOCK, PRIVATE
from pepr_edge.run_dir.store import locked

# Files by their names.
Contents = Mapping[str, NDArray[np.uint8]]
# Files are sent home at most this often. If a node dies, about this much work is not counted.
SYNC_PERIOD_S = 2.0
# Steps are sent at most this often, and a cancelled task notices it this soon.
STEP_PERIOD_S = 0.5
PREFIX = "pepr_edge-ray-"
# A folder younger than this may not have its lock yet.
MIN_AGE_S = 60.0

T = TypeVar("T")


@dataclass(frozen=True)
class TaskUpdate:
    """Sent home by a task: its latest Step as JSON, and changed files. `over`: this is the last update."""

    step: str | None
    changes: FileChanges | None
    over: bool = False


def work(
    version: str, job: str, changes: FileChanges, images: Contents, weights: Contents
) -> Generator[TaskUpdate, None, None]:
    """Carry out a job on this node.

    Args:
        version: of the driver's pepr_edge.
        job: a CandidateJob as JSON, with paths of the driver.
        changes: the candidate's folder.
        images: the files of its prepared images.
        weights: the file of the initial weights, or none.
    Raises:
        EngineError: this node has another version of pepr_edge.
    """
    check_version(version)
    with task_folder() as folder:
        moved = _moved(CandidateJob.model_validate_json(job), folder, weights)
        write(images, Path(moved.data))
        unpack(changes, Path(moved.folder))
        yield from _updates(moved)


def check_version(version: str) -> None:
    """Refuse a driver of another version.

    Raises:
        EngineError: driver and node differ.
    """
    if version != __version__:
        raise EngineError(
            f"a node of the cluster has pepr_edge {__version__}, expected {version} as here. "
            "Install the same on all nodes."
        )


def _moved(job: CandidateJob, folder: Path, weights: Contents) -> CandidateJob:
    """Return the job with paths of this node."""
    paths = {"data": str(folder / "data"), "folder": str(folder / "candidate")}
    for name in weights:
        write(weights, folder / "weights")
        paths["weights_file"] = str(folder / "weights" / name)
    (folder / "candidate").mkdir()
    return job.model_copy(update=paths)


def write(contents: Contents, folder: Path) -> None:
    """Write files into a folder."""
    folder.mkdir(exist_ok=True)
    for name, content in contents.items():
        content.tofile(folder / name)


@contextmanager
def task_folder() -> Iterator[Path]:
    """Make a folder for one task. Folders of killed tasks are removed first, because they contain images."""
    temporary = Path(tempfile.gettempdir())
    for old in temporary.glob(f"{PREFIX}*"):
        with suppress(OSError, RunError):  # of another user, or in use
            age_s = time.time() - old.stat().st_mtime
            if age_s > MIN_AGE_S and (old / PRIVATE / LOCK).is_file():
                with locked(old):
                    shutil.rmtree(old)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=temporary))
    try:
        with locked(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _updates(job: CandidateJob) -> Iterator[TaskUpdate]:
    """Run a job by the local engine, and yield its updates."""
    folder = Path(job.folder)
    steps = SimpleQueue[Step]()
    known = stamps(folder)
    sent_s = time.perf_counter()

    def run() -> None:
        local.run([job], 1, lambda job, step: steps.put(step), lambda job: None)

    with run_beside(run) as running:
        while not running.done():
            step = latest(steps)
            changes = None
            if time.perf_counter() - sent_s >= SYNC_PERIOD_S:
                changes, known = _progress_changes(folder, known)
                sent_s = time.perf_counter()
            if step is not None or changes is not None:
                yield TaskUpdate(None if step is None else step.model_dump_json(), changes)
        running.result()
    packed = pack(folder, known)
    assert packed is not None, "nobody else writes there"
    yield TaskUpdate(None, packed[0], over=True)


@contextmanager
def run_beside(work: Callable[[], T]) -> Iterator[Future[T]]:
    """Run a function beside this thread. If the context ends first, its processes are killed."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        running = pool.submit(work)
        try:
            yield running
        finally:
            while not running.done():
                _kill_children()
                wait([running], timeout=0.1)


def _kill_children() -> None:
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):
            child.kill()


def latest(queue: SimpleQueue[T]) -> T | None:
    """Return the last item that arrives within STEP_PERIOD_S; None if none does."""
    item = None
    end_s = time.perf_counter() + STEP_PERIOD_S
    with suppress(Empty):
        while True:
            left_s = end_s - time.perf_counter()
            if left_s <= 0:
                break
            item = queue.get(timeout=left_s)
    return item


def _progress_changes(folder: Path, known: Stamps) -> tuple[FileChanges | None, Stamps]:
    """Return the changed files of a training's progress; None if there are none, or one is being written."""
    packed = pack(folder, known, entire=False)
    if packed is None:
        return None, known
    changes, now = packed
    return (changes, now) if changes.files or changes.gone else (None, known)
