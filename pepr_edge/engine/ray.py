"""Candidates as tasks of a Ray cluster. Only this process, the driver, writes the run directory.

A task whose node is lost starts again on a node with room, from the files that were sent home. Its state
after an epoch and its cost so far are sent every few seconds, so the work that the loss takes is counted like
that of an interruption.
"""

from __future__ import annotations

import importlib.util
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pepr_edge import __version__
from pepr_edge.engine import this_machine
from pepr_edge.engine.engine import Engine, OnDone, OnLost, OnStep
from pepr_edge.engine.file_sync import pack, unpack
from pepr_edge.engine.job import AFTER_TRAINING, CandidateJob, Step
from pepr_edge.engine.measurement_host import MeasurementHost
from pepr_edge.engine.ray_cluster import cancel, is_loss, joined, next_result, reason_of
from pepr_edge.engine.ray_host import Node, node_with
from pepr_edge.engine.ray_task import Contents, TaskUpdate, work
from pepr_edge.errors import EngineError
from pepr_edge.recipe import Cluster, Recipe
from pepr_edge.records import Failure
from pepr_edge.run_dir.layout import FAILURE, TRAINING
from pepr_edge.run_dir.store import write_record

# Ray references to the contents of files, by the files' paths.
Sent = dict[tuple[Path, ...], Any]
# A job fails once it has lost its node this often in a row, without a finished epoch between.
MAX_LOSSES = 3


@dataclass(eq=False)
class Attempt:
    """A job at work on some node. `losses`: how often it lost its node since its training made progress."""

    job: CandidateJob
    losses: int = 0
    stage: str = "train"


@contextmanager
def opened(
    recipe: Recipe, jobs: int | None, address: str | None, on_lost: OnLost
) -> Iterator[tuple[Engine, MeasurementHost]]:
    """Join a Ray cluster while a run lasts; measure on the node that the recipe names, else on this machine.

    Args:
        recipe: says what a candidate needs of a node.
        jobs: how many may run at once; None: as many as there is room for.
        address: of the cluster, "host:port", or "auto" for the one that this machine is in; None: Ray is
            started on this machine alone.
        on_lost: called when a job's node was lost.
    Raises:
        EngineError: Ray is not installed, the cluster cannot be joined, or no node has what a candidate or
            the measurement needs.
    """
    if importlib.util.find_spec("ray") is None:
        raise EngineError("--engine ray needs Ray, which is not installed. Run: pip install 'ray>=2.9'")
    if recipe.train.device == "cuda" and not recipe.cluster.gpus:
        raise EngineError(
            'train.device = "cuda", but cluster.gpus = 0, expected a GPU for each candidate. '
            "Set cluster.gpus = 1."
        )
    with joined(address) as ray:
        cluster = RayCluster(ray, recipe, on_lost)
        label = recipe.cluster.device_resource
        if label is None:
            host = this_machine.measurement_host(cluster.reserve_this_node)
        else:
            host = cluster.measurement_host(node_with(ray, label))
        yield cluster.engine(jobs), host


class RayCluster:
    """An open cluster: the files that it was sent, and the running of jobs on any node or on one."""

    def __init__(
        self, ray: Any, recipe: Recipe, on_lost: OnLost, node: Node | None = None, sent: Sent | None = None
    ) -> None:
        """Send nothing yet. `sent` holds files that the cluster has already."""
        self._ray = ray
        self._recipe = recipe
        self._on_lost = on_lost
        self._node = node
        self._sent: Sent = {} if sent is None else sent

    def engine(self, jobs: int | None) -> Engine:
        """Return an engine that runs this many jobs at once; None: as many as there is room for.

        Raises:
            EngineError: there is room for none.
        """
        room = self.room()
        return Engine(
            threads=self._recipe.cluster.cpus,
            parallel=jobs or room,
            exclusive=False,
            run=lambda todo, on_step, on_done: self.run(todo, jobs or len(todo), on_step, on_done),
        )

    def measurement_host(self, node: Node) -> MeasurementHost:
        """Return a node as the measurement host. A task takes the whole node: nothing is trained beside it.

        Raises:
            EngineError: the node cannot measure.
        """
        there = RayCluster(self._ray, self._recipe, self._on_lost, node, self._sent)
        # Autotune sets the number of threads of each trial itself.
        autotune = Engine(
            threads=1,
            parallel=1,
            exclusive=True,
            run=lambda todo, on_step, on_done: there.run(todo, 1, on_step, on_done),
        )
        machine = node.machine(self._recipe.device)
        return MeasurementHost(machine=machine, profile=node.profile, engine=autotune)

    def room(self) -> int:
        """Return how many candidates the nodes can take at once.

        Raises:
            EngineError: none.
        """
        wanted = _wanted_resources(self._recipe.cluster)
        room = 0
        for node in self._ray.nodes():
            if node["Alive"]:
                has = node["Resources"]
                room += int(min(has.get(name, 0) // amount for name, amount in wanted.items()))
        if not room:
            listed = ", ".join(
                f"{amount / 2**20:g} MiB" if name == "memory" else f"{amount:g} {name}"
                for name, amount in wanted.items()
            )
            raise EngineError(
                f"no node of the cluster has what [cluster] asks for each candidate: {listed}. "
                "Ask for less, or start such a node; the same command goes on."
            )
        return room

    def run(self, todo: Sequence[CandidateJob], parallel: int, on_step: OnStep, on_done: OnDone) -> None:
        """Run jobs, at most `parallel` at once, each where there is room; see `Engine.run`."""
        waiting = deque(Attempt(job) for job in todo)
        running: dict[Any, Attempt] = {}
        try:
            while waiting or running:
                while waiting and len(running) < parallel:
                    attempt = waiting.popleft()
                    running[self._submit(attempt.job)] = attempt
                ready, _ = self._ray.wait(list(running), num_returns=1)
                task = ready[0]
                attempt = running[task]
                update = next_result(self._ray, task)
                if isinstance(update, TaskUpdate):
                    _apply(update, attempt, on_step)
                    if not update.over:
                        continue
                del running[task]
                if not isinstance(update, TaskUpdate) and self._retries(attempt, update):
                    waiting.appendleft(attempt)
                else:
                    on_done(attempt.job)
        finally:
            cancel(self._ray, list(running))

    def _submit(self, job: CandidateJob) -> Any:
        """Submit a job as a task, which yields TaskUpdates."""
        packed = pack(Path(job.folder), {}, repeat=job.repeat if job.kind in AFTER_TRAINING else 0)
        assert packed is not None, "nobody else writes there"
        weights_files = [Path(job.weights_file)] if job.weights_file else []
        images = sorted(path for path in Path(job.data).iterdir() if path.is_file())
        options = _task_options(job.recipe.cluster) if self._node is None else self._node.options()
        task = self._ray.remote(work).options(**options, num_returns="streaming")
        contents = (self._contents(*images), self._contents(*weights_files))
        return task.remote(__version__, job.model_dump_json(), packed[0], *contents)

    def _contents(self, *paths: Path) -> Any:
        """Return a Ray reference to the contents of files, which are sent once."""
        if paths not in self._sent:
            contents: Contents = {path.name: np.asarray(np.memmap(path, np.uint8, "r")) for path in paths}
            self._sent[paths] = self._ray.put(contents)
        return self._sent[paths]

    def _retries(self, attempt: Attempt, fault: Exception) -> bool:
        """True if a job whose task failed is to start again; else write down its failure."""
        reason = reason_of(fault)
        if is_loss(fault):
            attempt.losses += 1
            if self._node is None:
                self.room()
            else:
                self._node.check(fault)
            self._on_lost(attempt.job, reason)
            if attempt.losses < MAX_LOSSES:
                return True
            reason = f"{reason}, {MAX_LOSSES} times"
        job = attempt.job
        failure = Failure(key=job.train_key, candidate=job.candidate, stage=attempt.stage, reason=reason)
        write_record(Path(job.folder) / FAILURE, failure)
        return False

    @contextmanager
    def reserve_this_node(self) -> Iterator[None]:
        """Hold all CPUs of this node, once its tasks are over: nothing is trained beside a measurement."""
        ray = self._ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = ray.get_runtime_context().get_node_id()
        cpus = next(node["Resources"].get("CPU", 0) for node in ray.nodes() if node["NodeID"] == here)
        if not cpus:
            yield
            return
        strategy = NodeAffinitySchedulingStrategy(here, soft=False)
        holder = ray.remote(CpuHolder).options(num_cpus=cpus, scheduling_strategy=strategy).remote()
        ray.get(holder.is_ready.remote())
        try:
            yield
        finally:
            ray.kill(holder)


class CpuHolder:
    """A Ray actor that holds CPUs of a node while it lives."""

    def is_ready(self) -> bool:
        """Return True; Ray answers once the actor has its CPUs."""
        return True


def _task_options(cluster: Cluster) -> dict[str, Any]:
    """Return Ray's options of a candidate's task on any node."""
    return {
        "num_cpus": cluster.cpus,
        "num_gpus": cluster.gpus,
        "memory": _wanted_resources(cluster).get("memory"),
        "max_retries": 0,  # Ray would send the files of the first try; we send those that came home since
        "name": "pepr_edge",
    }


def _wanted_resources(cluster: Cluster) -> dict[str, float]:
    """Return what a candidate needs of its node, by Ray's names; memory in bytes."""
    wanted = {"CPU": cluster.cpus, "GPU": cluster.gpus, "memory": cluster.memory_bytes or 0}
    return {name: amount for name, amount in wanted.items() if amount}


def _apply(update: TaskUpdate, attempt: Attempt, on_step: OnStep) -> None:
    """Write the files of an update to the run directory, and report its step."""
    if update.changes is not None:
        unpack(update.changes, Path(attempt.job.folder))
        if TRAINING in update.changes.files:
            attempt.losses = 0
    if update.step is not None:
        step = Step.model_validate_json(update.step)
        attempt.stage = step.stage
        on_step(attempt.job, step)
