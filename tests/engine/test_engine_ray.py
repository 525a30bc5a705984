"""The driver's side. Tests on a cluster are slow, and skipped if Ray is not installed."""

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
import torch

from pepr_edge.engine import ray
from pepr_edge.engine.file_sync import FileChanges
from pepr_edge.engine.job import CandidateJob, Step
from pepr_edge.engine.ray_cluster import joined
from pepr_edge.engine.ray_task import TaskUpdate
from pepr_edge.engine.worker import work
from pepr_edge.errors import EngineError
from pepr_edge.recipe.settings import ResolvedRecipe
from pepr_edge.records import Failure
from pepr_edge.run_dir.current import current_training, current_training_state
from pepr_edge.run_dir.store import read_record, sha256_file

MakeJob = Callable[..., CandidateJob]
installed = importlib.util.find_spec("ray") is not None


def recipe(**tables: Any) -> ResolvedRecipe:
    return ResolvedRecipe.model_validate(
        {"name": "test", "device": {"name": "test"}, "candidates": {"architectures": ["test_vit"]}, **tables}
    )


def opened(
    wanted: ResolvedRecipe,
    address: str | None = None,
    lost: Callable[[CandidateJob, str], None] = lambda job, reason: None,
) -> Any:
    return ray.opened(wanted, None, address, lost)


def test_without_ray_the_message_names_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray.importlib.util, "find_spec", lambda name: None)  # type: ignore[attr-defined]
    with pytest.raises(EngineError, match="pip install"), opened(recipe()):
        pass


def test_a_training_on_gpus_needs_gpus_in_the_cluster_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray.importlib.util, "find_spec", lambda name: "there")  # type: ignore[attr-defined]
    with (
        pytest.raises(EngineError, match=r'train\.device = "cuda", but cluster\.gpus = 0'),
        opened(recipe(train={"device": "cuda"})),
    ):
        pass


@pytest.mark.parametrize("address", ["ray://host:1", "host", ":6379", "host:port"])
def test_an_invalid_address_is_refused(address: str) -> None:
    with (
        pytest.raises(EngineError, match="expected HOST:PORT"),
        joined(address),
    ):
        pass


def test_an_address_that_does_not_answer_is_reported_at_once() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start_s = time.perf_counter()
    with (
        pytest.raises(EngineError, match=f"--address 127.0.0.1:{port}: cannot be reached"),
        joined(f"127.0.0.1:{port}"),
    ):
        pass
    assert time.perf_counter() - start_s < 30


class FakeRay:
    """A Ray with some nodes and no tasks."""

    def __init__(self, *nodes: dict[str, float]) -> None:
        self._nodes = [{"Alive": True, "Resources": node} for node in nodes]

    def nodes(self) -> list[dict[str, Any]]:
        return [*self._nodes, {"Alive": False, "Resources": {"CPU": 99.0, "GPU": 9.0, "memory": 2.0**40}}]


@pytest.mark.parametrize(
    ("asked", "room"),
    [({"cpus": 2}, 3), ({"cpus": 4}, 1), ({"cpus": 2, "gpus": 0.5}, 2), ({"cpus": 1, "memory_mib": 1024}, 3)],
)
def test_room_counts_the_living_nodes(asked: dict[str, Any], room: int) -> None:
    nodes = {"CPU": 3.0, "memory": 2.0**30}, {"CPU": 4.0, "GPU": 1.0, "memory": 2.0**31}
    assert ray.RayCluster(FakeRay(*nodes), recipe(cluster=asked), lambda job, reason: None).room() == room


def test_a_cluster_without_room_names_the_wanted_resources() -> None:
    cluster = ray.RayCluster(
        FakeRay({"CPU": 2.0}),
        recipe(cluster={"cpus": 2, "gpus": 1, "memory_mib": 512}),
        lambda job, reason: None,
    )
    with pytest.raises(EngineError, match=r"\[cluster\].* 2 CPU, 1 GPU, 512 MiB"):
        cluster.room()


class NodeDiedError(Exception):
    """Like Ray's exception of this name, which cannot be constructed here."""


@pytest.mark.skipif(not installed, reason="Ray is not installed")
def test_a_job_that_loses_its_node_three_times_has_failed(make_job: MakeJob) -> None:
    job, reported = make_job(), list[str]()
    cluster = ray.RayCluster(FakeRay({"CPU": 2.0}), job.recipe, lambda job, reason: reported.append(reason))
    attempt = ray.Attempt(job, stage="export fp32")
    assert [cluster._retries(attempt, NodeDiedError()) for _ in range(3)] == [True, True, False]
    assert reported == ["its node was lost"] * 3
    made = read_record(Path(job.folder) / "failure.json", Failure)
    assert (made.key, made.stage) == (job.train_key, "export fp32")
    assert "3 times" in made.reason


@pytest.mark.skipif(not installed, reason="Ray is not installed")
def test_a_run_stops_without_nodes(make_job: MakeJob) -> None:
    job = make_job()
    with pytest.raises(EngineError, match="the same command goes on"):
        ray.RayCluster(FakeRay(), job.recipe, lambda job, reason: None)._retries(
            ray.Attempt(job), NodeDiedError()
        )
    assert not Path(job.folder).exists()


@pytest.mark.skipif(not installed, reason="Ray is not installed")
def test_an_error_on_a_node_is_a_failure_of_its_candidate(make_job: MakeJob) -> None:
    from ray.exceptions import RayTaskError

    job, reported = make_job(), list[str]()
    cluster = ray.RayCluster(FakeRay({"CPU": 2.0}), job.recipe, lambda job, reason: reported.append(reason))
    error = RayTaskError("work", "Traceback ...", OSError("no room left"))
    assert not cluster._retries(ray.Attempt(job), error)
    assert reported == []
    assert "no room left" in read_record(Path(job.folder) / "failure.json", Failure).reason


def test_an_update_brings_files_and_steps_and_progress_resets_the_losses(
    make_job: MakeJob,
) -> None:
    job, reported = make_job(), list[tuple[CandidateJob, Step]]()
    attempt, step = ray.Attempt(job, losses=2), Step(stage="export fp32", done=1, total=2)
    ray._apply(
        TaskUpdate(step.model_dump_json(), FileChanges({"spent.json": b"1"})),
        attempt,
        lambda job, step: reported.append((job, step)),
    )
    assert (reported, attempt.stage, attempt.losses) == ([(job, step)], "export fp32", 2)
    ray._apply(
        TaskUpdate(None, FileChanges({"training.json": b"2"}, ("spent.json",))),
        attempt,
        lambda job, step: reported.append((job, step)),
    )
    assert (len(reported), attempt.losses) == (1, 0)
    assert [path.name for path in Path(job.folder).iterdir()] == ["training.json"]


NETS = ("test_efficientnet", "test_vit", "test_convnext", "test_resnet")
EPOCHS = 16


@pytest.fixture
def jobs(make_job: MakeJob) -> list[CandidateJob]:
    """Eight trainings whose mode is chosen already: the choice between two equally fast ones would vary."""
    tables = {"train": {"epochs": EPOCHS, "patience": EPOCHS, "device": "cpu"}, "cluster": {"cpus": 1}}
    made = [
        make_job(f"{name}-{seed}", name, f"key {seed}", seed=seed, **tables)
        for name in NETS
        for seed in (1, 2)
    ]
    for job in made:
        Path(job.folder).mkdir()
        work(job.model_copy(update={"kind": "probe"}), io.StringIO())
    # Only the first exports as well: that takes longer than to train.
    return [made[0], *(job.model_copy(update={"kind": "train", "until_epoch": EPOCHS}) for job in made[1:])]


def moved(job: CandidateJob, home: Path) -> CandidateJob:
    """Return the same job in a copy of its folder."""
    folder = home / Path(job.folder).name
    shutil.copytree(job.folder, folder)
    return job.model_copy(update={"folder": str(folder)})


def performances(job: CandidateJob) -> list[float]:
    """Return the performance on validation after each epoch."""
    made = current_training(Path(job.folder), job.train_key) or current_training_state(
        Path(job.folder), job.train_key
    )
    assert made is not None
    return [epoch.val_performance for epoch in made.epochs]


def assert_same(made: Any, expected: Any) -> None:
    """Assert that two states of a training are equal, bit for bit."""
    if isinstance(expected, torch.Tensor):
        assert torch.equal(made, expected)
    elif isinstance(expected, dict):
        assert made.keys() == expected.keys()
        for key in expected:
            assert_same(made[key], expected[key])
    elif isinstance(expected, list | tuple):
        assert len(made) == len(expected)
        for one, other in zip(made, expected, strict=True):
            assert_same(one, other)
    else:
        assert made == expected


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
    for expected, made in zip(here, there, strict=True):
        assert performances(made) == performances(expected)
        assert len(performances(made)) == EPOCHS
        if made is there[0]:
            checkpoints = [Path(job.folder) / "checkpoint.safetensors" for job in (made, expected)]
            assert sha256_file(checkpoints[0]) == sha256_file(checkpoints[1])
        else:
            # A training that was resumed writes the same state as other bytes: pickle shares other strings.
            assert_same(*(torch.load(Path(job.folder) / f"training-{EPOCHS}.pt") for job in (made, expected)))
    assert (Path(there[0].folder) / "fp32" / "model.onnx").is_file()
