"""The driver's side. What needs a cluster is slow, and skipped where Ray is not installed."""

from __future__ import annotations

import importlib.util
import io
import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pepr_edge.engine import ray
from pepr_edge.engine.file_sync import FileChanges
from pepr_edge.engine.job import CandidateJob, Step
from pepr_edge.engine.ray_cluster import joined
from pepr_edge.engine.ray_task import TaskUpdate
from pepr_edge.engine.worker import work
from pepr_edge.errors import EngineError
from pepr_edge.recipe import Recipe
from pepr_edge.records import Failure
from pepr_edge.run_dir.reader import current_training, current_training_state
from pepr_edge.run_dir.store import read_record, sha256_file

MakeJob = Callable[..., CandidateJob]
installed = importlib.util.find_spec("ray") is not None


def recipe(**tables: Any) -> Recipe:
    return Recipe.model_validate(
        {"name": "test", "device": {"name": "test"}, "candidates": {"architectures": ["test_vit"]}, **tables}
    )


def opened(
    wanted: Recipe,
    address: str | None = None,
    lost: Callable[[CandidateJob, str], None] = lambda job, reason: None,
) -> Any:
    return ray.opened(wanted, None, address, lost)


def test_without_ray_the_command_that_installs_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray.importlib.util, "find_spec", lambda name: None)  # type: ignore[attr-defined]
    with (
        pytest.raises(
            EngineError, match=r"--engine ray needs Ray, which is not installed\. Run: pip install"
        ),
        opened(recipe()),
    ):
        pass


def test_gpus_that_are_needed_must_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray.importlib.util, "find_spec", lambda name: "there")  # type: ignore[attr-defined]
    with (
        pytest.raises(EngineError, match=r'train\.device = "cuda", but cluster\.gpus = 0'),
        opened(recipe(train={"device": "cuda"})),
    ):
        pass


@pytest.mark.parametrize("address", ["ray://host:1", "host", ":6379", "host:port"])
def test_an_address_of_another_kind_is_refused(address: str) -> None:
    with (
        pytest.raises(EngineError, match="expected HOST:PORT as `ray start --head` tells it, or auto"),
        joined(address),
    ):
        pass


def test_where_nobody_answers_that_is_said_at_once() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start_s = time.perf_counter()
    with (
        pytest.raises(EngineError, match=f"--address 127.0.0.1:{port}: nobody answers there"),
        joined(f"127.0.0.1:{port}"),
    ):
        pass
    assert time.perf_counter() - start_s < 10


class FakeRay:
    """A Ray of some nodes, for what is asked of it before anything is sent."""

    def __init__(self, *nodes: dict[str, float]) -> None:
        self._nodes = [{"Alive": True, "Resources": node} for node in nodes]

    def nodes(self) -> list[dict[str, Any]]:
        return [*self._nodes, {"Alive": False, "Resources": {"CPU": 99.0, "GPU": 9.0, "memory": 2.0**40}}]


@pytest.mark.parametrize(
    ("asked", "room"),
    [({"cpus": 2}, 3), ({"cpus": 4}, 1), ({"cpus": 2, "gpus": 0.5}, 2), ({"cpus": 1, "memory_mib": 1024}, 3)],
)
def test_there_is_room_for_as_many_as_the_nodes_that_live_can_take(asked: dict[str, Any], room: int) -> None:
    nodes = {"CPU": 3.0, "memory": 2.0**30}, {"CPU": 4.0, "GPU": 1.0, "memory": 2.0**31}
    assert ray.Open(FakeRay(*nodes), recipe(cluster=asked), lambda job, reason: None).room() == room


def test_a_cluster_without_room_says_what_was_asked_for() -> None:
    cluster = ray.Open(
        FakeRay({"CPU": 2.0}),
        recipe(cluster={"cpus": 2, "gpus": 1, "memory_mib": 512}),
        lambda job, reason: None,
    )
    with pytest.raises(
        EngineError, match=r"what \[cluster\] asks for each candidate: 2 CPU, 1 GPU, 512 MiB\. Ask for less"
    ):
        cluster.room()


class NodeDiedError(Exception):
    """As Ray's of that name, which is not to be made by hand."""


@pytest.mark.skipif(not installed, reason="Ray is not installed")
def test_a_job_whose_node_is_lost_again_and_again_has_failed(make_job: MakeJob) -> None:
    job, told = make_job(), list[str]()
    cluster = ray.Open(FakeRay({"CPU": 2.0}), job.recipe, lambda job, reason: told.append(reason))
    attempt = ray.Attempt(job, stage="export fp32")
    assert [cluster._goes_on(attempt, NodeDiedError()) for _ in range(3)] == [True, True, False]
    assert told == ["its node was lost"] * 3
    found = read_record(Path(job.folder) / "failure.json", Failure)
    assert (found.key, found.stage, found.reason) == (
        job.train_key,
        "export fp32",
        "its node was lost, 3 times",
    )


@pytest.mark.skipif(not installed, reason="Ray is not installed")
def test_where_no_node_is_left_the_run_stops(make_job: MakeJob) -> None:
    job = make_job()
    with pytest.raises(EngineError, match="the same command goes on"):
        ray.Open(FakeRay(), job.recipe, lambda job, reason: None)._goes_on(ray.Attempt(job), NodeDiedError())
    assert not Path(job.folder).exists()


@pytest.mark.skipif(not installed, reason="Ray is not installed")
def test_a_fault_on_a_node_is_a_failure_of_its_candidate(make_job: MakeJob) -> None:
    from ray.exceptions import RayTaskError

    job, told = make_job(), list[str]()
    cluster = ray.Open(FakeRay({"CPU": 2.0}), job.recipe, lambda job, reason: told.append(reason))
    fault = RayTaskError("work", "Traceback ...", OSError("no room left"))
    assert not cluster._goes_on(ray.Attempt(job), fault)
    assert told == []
    assert read_record(Path(job.folder) / "failure.json", Failure).reason == "on its node: no room left"


def test_news_bring_files_and_steps_home_and_a_training_that_got_on_is_no_longer_lost(
    make_job: MakeJob,
) -> None:
    job, told = make_job(), list[tuple[CandidateJob, Step]]()
    attempt, step = ray.Attempt(job, lost=2), Step(stage="export fp32", done=1, total=2)
    ray._take(
        TaskUpdate(step.model_dump_json(), FileChanges({"spent.json": b"1"})),
        attempt,
        lambda job, step: told.append((job, step)),
    )
    assert (told, attempt.stage, attempt.lost) == ([(job, step)], "export fp32", 2)
    ray._take(
        TaskUpdate(None, FileChanges({"training.json": b"2"}, ("spent.json",))),
        attempt,
        lambda job, step: told.append((job, step)),
    )
    assert (len(told), attempt.lost) == (1, 0)
    assert [path.name for path in Path(job.folder).iterdir()] == ["training.json"]


NETS = ("test_efficientnet", "test_vit", "test_convnext", "test_resnet")
EPOCHS = 16


@pytest.fixture
def jobs(make_job: MakeJob) -> list[CandidateJob]:
    """Eight trainings whose mode is chosen already: by which of two that differ by a hair would depend on the moment."""
    tables = {"train": {"epochs": EPOCHS, "patience": EPOCHS, "device": "cpu"}, "cluster": {"cpus": 1}}
    made = [
        make_job(f"{name}-{seed}", name, f"key {seed}", seed=seed, **tables)
        for name in NETS
        for seed in (1, 2)
    ]
    for job in made:
        Path(job.folder).mkdir()
        work(job.model_copy(update={"until_epoch": 0}), io.StringIO())
    # Only the first exports as well: that takes longer than to train.
    return [made[0], *(job.model_copy(update={"until_epoch": EPOCHS}) for job in made[1:])]


def moved(job: CandidateJob, home: Path) -> CandidateJob:
    """The same job in a copy of its folder."""
    folder = home / Path(job.folder).name
    shutil.copytree(job.folder, folder)
    return job.model_copy(update={"folder": str(folder)})


def performances(job: CandidateJob) -> list[float]:
    """On validation, after each epoch."""
    found = current_training(Path(job.folder), job.train_key) or current_training_state(
        Path(job.folder), job.train_key
    )
    assert found is not None
    return [epoch.val_performance for epoch in found.epochs]


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # Ray's own
def test_a_node_that_dies_changes_nothing(jobs: list[CandidateJob], cluster: Any, tmp_path: Path) -> None:
    here, there = ([moved(job, tmp_path / place) for job in jobs] for place in ("here", "there"))
    for job in here:
        work(job, io.StringIO())
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    lost, done = list[tuple[str, str]](), list[CandidateJob]()

    def on_step(job: CandidateJob, step: Step) -> None:
        """Kill a node in the middle."""
        if len(done) >= 3 and len(nodes) == 2:
            cluster.remove_node(nodes.pop(), allow_graceful=False)

    with opened(jobs[0].recipe, cluster.address, lambda job, reason: lost.append((job.folder, reason))) as (
        engine,
        _,
    ):
        assert (engine.threads, engine.parallel, engine.exclusive) == (1, 2, False)
        engine.run(there, on_step, done.append)
    assert len(nodes) == 1
    assert [reason for _, reason in lost] == ["its node was lost"]
    assert sorted(job.folder for job in done) == sorted(job.folder for job in there)
    for expected, found in zip(here, there, strict=True):
        assert performances(found) == performances(expected)
        assert len(performances(found)) == EPOCHS
        name = "checkpoint.safetensors" if found is there[0] else f"training-{EPOCHS}.pt"
        assert sha256_file(Path(found.folder) / name) == sha256_file(Path(expected.folder) / name)
    assert (Path(there[0].folder) / "fp32" / "model.onnx").is_file()
