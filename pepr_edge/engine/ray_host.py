"""Measuring on the node of a Ray cluster that carries the device's resource, one task after the other; each holds the whole node meanwhile.

The driver's side is above, the node's below.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple

import numpy as np

from pepr_edge import __version__
from pepr_edge.device.facts import here
from pepr_edge.engine.ray_cluster import cancel, heard, is_loss, why
from pepr_edge.engine.ray_task import Contents, beside, check_version, home, newest, write
from pepr_edge.errors import EngineError, MeasurementError
from pepr_edge.measure.profile import profile
from pepr_edge.measure.runtimes.pytorch import PROGRAM
from pepr_edge.recipe import Device
from pepr_edge.recipe.checks import device_fault
from pepr_edge.records import DeviceProfile, Machine, RulesName, SessionSettings


@dataclass(frozen=True)
class Node:
    """A node that stands for the device, and all that it has."""

    ray: Any
    id: str
    resources: dict[str, float]
    label: str

    def options(self) -> dict[str, Any]:
        """Of a task that is to have the node for itself: with none of its CPUs or GPUs left, nobody trains there."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        return {
            "num_cpus": self.resources.get("CPU", 0),
            "num_gpus": self.resources.get("GPU", 0),  # without, Ray hides them
            "resources": {self.label: self.resources[self.label]},
            "scheduling_strategy": NodeAffinitySchedulingStrategy(self.id, soft=False),
            "max_retries": 0,
            "name": "pepr_edge",
        }

    def check(self, fault: Exception) -> None:
        """After a task of its was lost, find out whether it is lost itself.

        Raises:
            EngineError: it is.
        """
        alive = any(node["Alive"] and node["NodeID"] == self.id for node in self.ray.nodes())
        if not alive or type(fault).__name__ == "NodeDiedError":  # which is known before the cluster says so
            raise EngineError(
                f"the node that carries {self.label} was lost. Start it again, or another such; the same command goes on."
            )

    def machine(self, device: Device) -> Machine:
        """What figures from there hold for.

        Raises:
            EngineError: it cannot measure what the recipe's device runs.
        """
        options = self.options()
        if device.provider == "cpu":  # to ask takes nothing that others may have
            options |= {"num_cpus": 0, "num_gpus": 0, "resources": {}}
        told = self.ray.remote(_machine).options(**options).remote(__version__, device.model_dump_json())
        found = heard(self.ray, told)
        if isinstance(found, Exception):
            raise EngineError(
                f"the node that carries {self.label} could not be asked what it is: {why(found)}. "
                "It needs the same pepr_edge as here, with the extras train and ray; then start it again."
            )
        return Machine.model_validate_json(found)

    def profile(
        self,
        model: Path,
        sha256: str,
        settings: SessionSettings,
        *,
        rules: RulesName,
        input_shape: tuple[int, ...],
        watts_per_core: float | None = None,
        progress: Callable[[float, float], None] | None = None,
    ) -> DeviceProfile:
        """Measure a file of this machine there; see `measure.profile.profile`.

        Raises:
            MeasurementError: as there, or the process that measured was lost.
            EngineError: the node was.
        """
        how = _How(sha256, settings.model_dump_json(), rules, input_shape, watts_per_core)
        files = [model, model.with_name(PROGRAM)] if settings.runtime == "pytorch" else [model]
        contents: Contents = {path.name: np.fromfile(path, np.uint8) for path in files if path.is_file()}
        options = {**self.options(), "num_returns": "streaming"}
        task = self.ray.remote(_profile).options(**options).remote(model.name, contents, how)
        try:
            while not isinstance(update := self._heard(task), str):
                if progress is not None:
                    progress(*update)
            for _ in task:  # let it take away what it wrote
                pass
        except BaseException:
            cancel(self.ray, [task])
            raise
        return DeviceProfile.model_validate_json(update)

    def _heard(self, task: Any) -> tuple[float, float] | str:
        """How far a measurement is, or at its end what came out."""
        self.ray.wait([task], num_returns=1)
        update: Any = heard(self.ray, task)
        if not isinstance(update, Exception):
            found: tuple[float, float] | str = update
            return found
        if isinstance(cause := getattr(update, "cause", None), MeasurementError):
            raise cause
        if is_loss(update):
            self.check(update)
        raise MeasurementError(f"measured for {self.label}: {why(update)}")


def node_with(ray: Any, label: str) -> Node:
    """The first of the nodes that carry a resource.

    Raises:
        EngineError: none does.
    """
    for node in sorted(ray.nodes(), key=lambda node: str(node["NodeID"])):
        if node["Alive"] and node["Resources"].get(label):
            return Node(ray, node["NodeID"], node["Resources"], label)
    raise EngineError(
        f'cluster.device_resource = "{label}", but no node of the cluster carries it. On the device: '
        f"ray start --address HEAD:PORT --resources '{{\"{label}\": 1}}'; the same command goes on."
    )


class _How(NamedTuple):
    """How a file is measured, as it travels; `settings` as JSON."""

    sha256: str
    settings: str
    rules: RulesName
    input_shape: tuple[int, ...]
    watts_per_core: float | None


def _machine(version: str, device: str) -> str:
    """On the node: what it is, a Machine as JSON."""
    check_version(version)
    if (fault := device_fault(Device.model_validate_json(device))) is not None:
        raise EngineError(f"on the node that is to measure: {fault}")
    return here().model_dump_json()


def _profile(model: str, contents: Contents, how: _How) -> Generator[tuple[float, float] | str, None, None]:
    """On the node: the share done and the median so far, again and again, and at last a DeviceProfile as JSON."""
    told = SimpleQueue[tuple[float, float]]()
    with home() as folder:
        write(contents, folder)

        def measure() -> DeviceProfile:
            return profile(
                folder / model,
                how.sha256,
                SessionSettings.model_validate_json(how.settings),
                rules=how.rules,
                input_shape=how.input_shape,
                watts_per_core=how.watts_per_core,
                progress=lambda share, median_s: told.put((share, median_s)),
            )

        with beside(measure) as measuring:
            while not measuring.done():
                if (reading := newest(told)) is not None:
                    yield reading
            yield measuring.result().model_dump_json()
