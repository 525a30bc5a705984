"""Measure on the node of a Ray cluster that carries the device's resource.

One task runs after the other, and each holds the whole node. The functions of the driver come first, those
that run on the node after them.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np

from pepr_edge import __version__
from pepr_edge.device.facts import here
from pepr_edge.engine.ray_cluster import cancel, is_loss, next_result, reason_of
from pepr_edge.engine.ray_task import Contents, check_version, latest, run_beside, task_folder, write
from pepr_edge.errors import EngineError, MeasurementError
from pepr_edge.measure.profile import Progress, profile
from pepr_edge.measure.runtimes.pytorch import PROGRAM
from pepr_edge.measure.settings import request_here
from pepr_edge.recipe import Device
from pepr_edge.recipe.checks import device_fault
from pepr_edge.records import DeviceProfile, Machine, ProfileRequest


@dataclass(frozen=True)
class Node:
    """A node that stands for the device, with all its resources. `label`: the resource that marks it."""

    ray: Any
    id: str
    resources: dict[str, float]
    label: str

    def options(self) -> dict[str, Any]:
        """Return Ray's options of a task that takes all CPUs and GPUs of the node: nobody trains there."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        return {
            "num_cpus": self.resources.get("CPU", 0),
            "num_gpus": self.resources.get("GPU", 0),  # else Ray hides them
            "resources": {self.label: self.resources[self.label]},
            "scheduling_strategy": NodeAffinitySchedulingStrategy(self.id, soft=False),
            "max_retries": 0,
            "name": "pepr_edge",
        }

    def check(self, fault: Exception) -> None:
        """After a task was lost, check that the node is still there.

        Raises:
            EngineError: it is not.
        """
        is_alive = any(node["Alive"] and node["NodeID"] == self.id for node in self.ray.nodes())
        # This error comes before the list of nodes says so.
        if not is_alive or type(fault).__name__ == "NodeDiedError":
            raise EngineError(
                f"the node that carries {self.label} was lost. Start it or another such node; "
                "the same command goes on."
            )

    def machine(self, device: Device) -> Machine:
        """Return the processor and libraries of the node.

        Raises:
            EngineError: it lacks what the recipe's device needs.
        """
        options = self.options()
        if device.provider == "cpu":  # the question needs no resources that others may have
            options |= {"num_cpus": 0, "num_gpus": 0, "resources": {}}
        task = self.ray.remote(_machine).options(**options).remote(__version__, device.model_dump_json())
        answer = next_result(self.ray, task)
        if isinstance(answer, Exception):
            raise EngineError(
                f"the node that carries {self.label} did not say what machine it is: {reason_of(answer)}. "
                "It needs the same pepr_edge as here, with the extras train and ray; then start it again."
            )
        return Machine.model_validate_json(answer)

    def profile(
        self, model: Path, request: ProfileRequest, progress: Progress | None = None
    ) -> DeviceProfile:
        """Measure a file of this machine on the node; see `measure.profile.profile`.

        Raises:
            MeasurementError: as there, or the process that measured was lost.
            EngineError: the node was lost.
        """
        files = [model]
        if request.settings.runtime == "pytorch":
            files.append(model.with_name(PROGRAM))
        contents: Contents = {path.name: np.fromfile(path, np.uint8) for path in files if path.is_file()}
        options = {**self.options(), "num_returns": "streaming"}
        remote = self.ray.remote(_profile).options(**options)
        task = remote.remote(model.name, contents, request.model_dump_json())
        try:
            while True:
                update = self._next_update(task)
                if isinstance(update, str):
                    break
                if progress is not None:
                    progress(*update)
            for _ in task:  # until it has removed its files
                pass
        except BaseException:
            cancel(self.ray, [task])
            raise
        return DeviceProfile.model_validate_json(update)

    def _next_update(self, task: Any) -> tuple[float, float] | str:
        """Return the progress of a measurement, or its profile as JSON at the end."""
        self.ray.wait([task], num_returns=1)
        update: Any = next_result(self.ray, task)
        if isinstance(update, Exception):
            self._raise(update)
        result: tuple[float, float] | str = update
        return result

    def _raise(self, fault: Exception) -> None:
        cause = getattr(fault, "cause", None)
        if isinstance(cause, MeasurementError):
            raise cause
        if is_loss(fault):
            self.check(fault)
        raise MeasurementError(f"measured for {self.label}: {reason_of(fault)}")


def node_with(ray: Any, label: str) -> Node:
    """Return the first of the nodes that carry a resource.

    Raises:
        EngineError: no node does.
    """
    for node in sorted(ray.nodes(), key=lambda node: str(node["NodeID"])):
        if node["Alive"] and node["Resources"].get(label):
            return Node(ray, node["NodeID"], node["Resources"], label)
    raise EngineError(
        f'cluster.device_resource = "{label}", but no node of the cluster carries it. On the device: '
        f"ray start --address HEAD:PORT --resources '{{\"{label}\": 1}}'; the same command goes on."
    )


def _machine(version: str, device: str) -> str:
    """On the node: return its Machine as JSON."""
    check_version(version)
    fault = device_fault(Device.model_validate_json(device))
    if fault is not None:
        raise EngineError(f"on the node that is to measure: {fault}")
    return here().model_dump_json()


def _profile(
    model: str, contents: Contents, request: str
) -> Generator[tuple[float, float] | str, None, None]:
    """On the node: yield share done and median so far, several times, then the DeviceProfile as JSON."""
    readings = SimpleQueue[tuple[float, float]]()

    def on_progress(share: float, median_s: float) -> None:
        readings.put((share, median_s))

    with task_folder() as folder:
        write(contents, folder)

        def measure() -> DeviceProfile:
            return profile(
                folder / model, request_here(ProfileRequest.model_validate_json(request)), on_progress
            )

        with run_beside(measure) as measuring:
            while not measuring.done():
                reading = latest(readings)
                if reading is not None:
                    yield reading
            yield measuring.result().model_dump_json()
