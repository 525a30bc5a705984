"""Candidates as tasks of a Ray cluster. This process alone, the driver, writes the run directory; Ray does the scheduling.

A task whose node is lost is begun again where there is room, from what had come home of it: its state after an epoch and its account are
sent every few seconds, so what the loss took is counted as an interruption is.
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
from pepr_edge.engine.job import CandidateJob, Step
from pepr_edge.engine.measurement_host import MeasurementHost
from pepr_edge.engine.ray_cluster import cancel, heard, is_loss, joined, why
from pepr_edge.engine.ray_host import Node, node_with
from pepr_edge.engine.ray_task import Contents, TaskUpdate, work
from pepr_edge.errors import EngineError
from pepr_edge.recipe import Cluster, Recipe
from pepr_edge.records import Failure
from pepr_edge.run_dir.store import write_record
from pepr_edge.run_dir.training_files import TRAINING

Sent = dict[tuple[Path, ...], Any]  # references to the contents of files, by their paths
LOSSES = 3  # so often one after the other, without an epoch between, a job's node may be lost


@dataclass(eq=False)
class Attempt:
    """A job at work on some node. `lost`: how many attempts before it were lost since its training last got on."""

    job: CandidateJob
    lost: int = 0
    stage: str = "train"


@contextmanager
def opened(
    recipe: Recipe, jobs: int | None, address: str | None, on_lost: OnLost
) -> Iterator[tuple[Engine, MeasurementHost]]:
    """Join a Ray cluster for as long as a run takes, to work there, and to measure on the node that the recipe names or on this machine.

    Args:
        recipe: says what each candidate asks of a node.
        jobs: how many may be worked on at once; None: as many as there is room for.
        address: of the cluster, "host:port", or "auto" for one of which this machine is a part; None: Ray is started on this machine alone.
        on_lost: called where a job's node was lost.
    Raises:
        EngineError: Ray is not installed, the cluster cannot be joined, or no node of it has what a candidate needs or what the recipe
            wants to measure on.
    """
    if importlib.util.find_spec("ray") is None:
        raise EngineError("--engine ray needs Ray, which is not installed. Run: pip install 'ray>=2.9'")
    if recipe.train.device == "cuda" and not recipe.cluster.gpus:
        raise EngineError(
            'train.device = "cuda", but cluster.gpus = 0, expected a GPU for each candidate. Set cluster.gpus = 1.'
        )
    with joined(address) as ray:
        cluster, label = Open(ray, recipe, on_lost), recipe.cluster.device_resource
        bench = (
            cluster.bench(node_with(ray, label))
            if label is not None
            else this_machine.measurement_host(cluster.quiet)
        )
        yield cluster.engine(jobs), bench


class Open:
    """A cluster that was joined: what was sent to it once, and how jobs are carried out there, on any node or on one."""

    def __init__(
        self, ray: Any, recipe: Recipe, on_lost: OnLost, node: Node | None = None, sent: Sent | None = None
    ) -> None:
        """Send nothing yet; `sent` is what was by another of the same cluster."""
        self._ray, self._recipe, self._on_lost, self._node = ray, recipe, on_lost, node
        self._sent: Sent = {} if sent is None else sent

    def engine(self, jobs: int | None) -> Engine:
        """Of as many candidates at once as there is room for, unless it is said how many.

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

    def bench(self, node: Node) -> MeasurementHost:
        """To measure on a node; nothing is trained there meanwhile, as each task takes the whole of it.

        Raises:
            EngineError: it cannot.
        """
        there = Open(self._ray, self._recipe, self._on_lost, node, self._sent)
        # A ladder says itself how many threads each of its rungs has.
        ladders = Engine(
            threads=1,
            parallel=1,
            exclusive=True,
            run=lambda todo, on_step, on_done: there.run(todo, 1, on_step, on_done),
        )
        return MeasurementHost(
            machine=node.machine(self._recipe.device), profile=node.profile, engine=ladders
        )

    def room(self) -> int:
        """How many candidates its nodes can take at once.

        Raises:
            EngineError: none of them can take one.
        """
        asked = _asked(self._recipe.cluster)
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        found = sum(int(min(node.get(name, 0) // amount for name, amount in asked.items())) for node in nodes)
        if not found:
            wanted = ", ".join(
                f"{amount / 2**20:g} MiB" if name == "memory" else f"{amount:g} {name}"
                for name, amount in asked.items()
            )
            raise EngineError(
                f"no node of the cluster has what [cluster] asks for each candidate: {wanted}. Ask for less, or start such a node; "
                "the same command goes on."
            )
        return found

    def run(self, todo: Sequence[CandidateJob], parallel: int, on_step: OnStep, on_done: OnDone) -> None:
        """Carry jobs out, at most so many at once, each where there is room; see `Engine.run`."""
        waiting, running = deque(Attempt(job) for job in todo), dict[Any, Attempt]()
        try:
            while waiting or running:
                while waiting and len(running) < parallel:
                    attempt = waiting.popleft()
                    running[self._begun(attempt.job)] = attempt
                (task, *_), _ = self._ray.wait(list(running), num_returns=1)
                attempt, update = running[task], heard(self._ray, task)
                if isinstance(update, TaskUpdate):
                    _take(update, attempt, on_step)
                    if not update.over:
                        continue
                del running[task]
                if not isinstance(update, TaskUpdate) and self._goes_on(attempt, update):
                    waiting.appendleft(attempt)
                else:
                    on_done(attempt.job)
        finally:
            cancel(self._ray, list(running))

    def _begun(self, job: CandidateJob) -> Any:
        """A job's task: a generator of its news."""
        made = pack(Path(job.folder), {})
        assert made is not None, "nobody else writes there"
        weights = job.recipe.candidates.weights
        images = sorted(path for path in Path(job.data).iterdir() if path.is_file())
        more = () if weights in ("pretrained", "scratch") else (Path(weights),)
        options = _options(job.recipe.cluster) if self._node is None else self._node.options()
        task = self._ray.remote(work).options(**options, num_returns="streaming")
        return task.remote(
            __version__, job.model_dump_json(), made[0], self._contents(*images), self._contents(*more)
        )

    def _contents(self, *paths: Path) -> Any:
        """A reference to what is in these files, sent once."""
        if paths not in self._sent:
            contents: Contents = {path.name: np.asarray(np.memmap(path, np.uint8, "r")) for path in paths}
            self._sent[paths] = self._ray.put(contents)
        return self._sent[paths]

    def _goes_on(self, attempt: Attempt, fault: Exception) -> bool:
        """Whether a job whose task ended with a fault is to be begun again; else it has failed, and that is written down."""
        reason = why(fault)
        if is_loss(fault):
            attempt.lost += 1
            if self._node is None:
                self.room()
            else:
                self._node.check(fault)
            self._on_lost(attempt.job, reason)
            if attempt.lost < LOSSES:
                return True
            reason = f"{reason}, {LOSSES} times"
        job = attempt.job
        failure = Failure(key=job.train_key, candidate=job.candidate, stage=attempt.stage, reason=reason)
        write_record(Path(job.folder) / "failure.json", failure)
        return False

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Hold all CPUs of this node, once its tasks are over: nothing is trained beside a measurement."""
        ray = self._ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = ray.get_runtime_context().get_node_id()
        cpus = next(node["Resources"].get("CPU", 0) for node in ray.nodes() if node["NodeID"] == here)
        if not cpus:
            yield
            return
        holder = (
            ray.remote(Holder)
            .options(num_cpus=cpus, scheduling_strategy=NodeAffinitySchedulingStrategy(here, soft=False))
            .remote()
        )
        ray.get(holder.holds.remote())
        try:
            yield
        finally:
            ray.kill(holder)


class Holder:
    """Holds CPUs of a node for as long as it lives."""

    def holds(self) -> bool:
        """True, once it does."""
        return True


def _options(cluster: Cluster) -> dict[str, Any]:
    """Of a candidate's task, wherever there is room for it."""
    return {
        "num_cpus": cluster.cpus,
        "num_gpus": cluster.gpus,
        "memory": _asked(cluster).get("memory"),
        "max_retries": 0,  # as it was sent: we send what has come home by then
        "name": "pepr_edge",
    }


def _asked(cluster: Cluster) -> dict[str, float]:
    """What each candidate asks of its node, as Ray names it; memory in bytes."""
    asked = {"CPU": cluster.cpus, "GPU": cluster.gpus, "memory": cluster.memory_bytes or 0}
    return {name: amount for name, amount in asked.items() if amount}


def _take(update: TaskUpdate, attempt: Attempt, on_step: OnStep) -> None:
    """Take what has come home into the run directory."""
    if update.parcel is not None:
        unpack(update.parcel, Path(attempt.job.folder))
        attempt.lost = 0 if TRAINING in update.parcel.files else attempt.lost
    if update.step is not None:
        step = Step.model_validate_json(update.step)
        attempt.stage = step.stage
        on_step(attempt.job, step)
