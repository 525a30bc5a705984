"""A job as a task on a node of a Ray cluster: the same worker in a process of its own as on this machine, in a folder of the node's.

Nothing is shared with the driver but what travels: the job, its candidate's folder and the prepared images there; steps and files home.
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
from pepr_edge.run_dir.store import PRIVATE, locked

Contents = Mapping[str, NDArray[np.uint8]]  # files by their names
PERIOD_S = 2.0  # so often at most what was done comes home, and about so much may be missing from it where a node dies
BLINK_S = 0.5  # so often at most it says how far it is, and so soon it notices that it is cancelled
PREFIX, YOUNG_S = "pepr_edge-ray-", 60.0

T = TypeVar("T")


@dataclass(frozen=True)
class TaskUpdate:
    """What a task sends home: its last step, a Step as JSON, and the files that changed. `over`: there will be no more."""

    step: str | None
    parcel: FileChanges | None
    over: bool = False


def work(
    version: str, job: str, parcel: FileChanges, images: Contents, weights: Contents
) -> Generator[TaskUpdate, None, None]:
    """Carry a job out on this node.

    Args:
        version: of the driver's pepr_edge.
        job: a CandidateJob as JSON, whose paths are the driver's.
        parcel: the candidate's folder.
        images: the files of its prepared images.
        weights: the local weights file that the recipe names, or none.
    Raises:
        EngineError: this node has another version of pepr_edge.
    """
    check_version(version)
    with home() as folder:
        here = _moved(CandidateJob.model_validate_json(job), folder, weights)
        write(images, Path(here.data))
        unpack(parcel, Path(here.folder))
        yield from _carried_out(here)


def check_version(version: str) -> None:
    """Of the driver, and of this node.

    Raises:
        EngineError: they are not the same.
    """
    if version != __version__:
        raise EngineError(
            f"a node of the cluster has pepr_edge {__version__}, expected {version} as here. Install the same on all nodes."
        )


def _moved(job: CandidateJob, folder: Path, weights: Contents) -> CandidateJob:
    """The job with paths of this node."""
    candidates = job.recipe.candidates
    for name in weights:
        write(weights, folder / "weights")
        candidates = candidates.model_copy(update={"weights": str(folder / "weights" / name)})
    recipe = job.recipe.model_copy(update={"candidates": candidates})
    (folder / "candidate").mkdir()
    return job.model_copy(
        update={"data": str(folder / "data"), "folder": str(folder / "candidate"), "recipe": recipe}
    )


def write(contents: Contents, folder: Path) -> None:
    """Write files into a folder."""
    folder.mkdir(exist_ok=True)
    for name, content in contents.items():
        content.tofile(folder / name)


@contextmanager
def home() -> Iterator[Path]:
    """A folder for one task; those of tasks that were killed are removed, as there are images in them."""
    temporary = Path(tempfile.gettempdir())
    for left in temporary.glob(f"{PREFIX}*"):
        with suppress(OSError, RunError):  # another's, or in use
            if time.time() - left.stat().st_mtime > YOUNG_S and (left / PRIVATE / "lock").is_file():
                with locked(left):
                    shutil.rmtree(left)
    made = Path(tempfile.mkdtemp(prefix=PREFIX, dir=temporary))
    try:
        with locked(made):
            yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _carried_out(job: CandidateJob) -> Iterator[TaskUpdate]:
    """What the local engine does with a job, as news."""
    folder, steps = Path(job.folder), SimpleQueue[Step]()
    known, sent_s = stamps(folder), time.perf_counter()
    with beside(lambda: local.run([job], 1, lambda job, step: steps.put(step), lambda job: None)) as engine:
        while not engine.done():
            step, parcel = newest(steps), None
            if time.perf_counter() - sent_s >= PERIOD_S:
                parcel, known = _packed(folder, known)
                sent_s = time.perf_counter()
            if step is not None or parcel is not None:
                yield TaskUpdate(step.model_dump_json() if step is not None else None, parcel)
        engine.result()
    made = pack(folder, known)
    assert made is not None, "nobody else writes there"
    yield TaskUpdate(None, made[0], over=True)


@contextmanager
def beside(work: Callable[[], T]) -> Iterator[Future[T]]:
    """Have something done beside this thread. Where this is left before it is done, as when the task is cancelled, what it started ends."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        done = pool.submit(work)
        try:
            yield done
        finally:
            while not done.done():
                _kill_children()
                wait([done], timeout=0.1)


def _kill_children() -> None:
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):
            child.kill()


def newest(told: SimpleQueue[T]) -> T | None:
    """The last of what is told within a blink, if anything."""
    last, end_s = None, time.perf_counter() + BLINK_S
    with suppress(Empty):
        while (left_s := end_s - time.perf_counter()) > 0:
            last = told.get(timeout=left_s)
    return last


def _packed(folder: Path, known: Stamps) -> tuple[FileChanges | None, Stamps]:
    """How far it is; nothing where nothing is new, or it is just being written."""
    made = pack(folder, known, entire=False)
    return made if made is not None and (made[0].files or made[0].gone) else (None, known)
