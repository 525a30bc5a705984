"""The versions of Ray, Python and pepr_edge in a cluster: the driver refuses others than its own."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from pepr_edge import __version__
from pepr_edge.errors import EngineError

# A node that does not answer in this time is left to the check that each of its tasks makes.
ANSWER_TIMEOUT_S = 60.0
# Ray's message has one line for each version of the cluster, then one for each version here.
RAY = re.compile(r"^\s*Ray: (\S+)", re.MULTILINE)
PYTHON = re.compile(r"^\s*Python: (\S+)", re.MULTILINE)


def mismatch(message: str) -> str | None:
    """Return what Ray's error says of versions that differ, on one line; None if it is another error."""
    found = []
    for pattern, name in ((RAY, "Ray"), (PYTHON, "Python")):
        versions = pattern.findall(message)
        if len(versions) == 2 and versions[0] != versions[1]:
            found.append(f"(it has {name} {versions[0]}, here is {versions[1]})")
    return " ".join(found) or None


def check(ray: Any) -> None:
    """Refuse a cluster of which a living node has another pepr_edge, before anything is sent there.

    Args:
        ray: the module, joined to the cluster.
    Raises:
        EngineError: a node has another version, or none.
    """
    tasks = {}
    for node in ray.nodes():
        if node["Alive"]:
            options = _task_options(node)
            tasks[ray.remote(_question()).options(**options).remote()] = node["NodeManagerAddress"]
    ready, _ = ray.wait(list(tasks), num_returns=len(tasks), timeout=ANSWER_TIMEOUT_S)
    for task in ready:
        version = _answer(ray, task)
        if version not in ("", __version__):
            raise EngineError(
                f"the node {tasks[task]} of the cluster has {version_text(version)}, expected {__version__} "
                "as here. Install the same on all nodes, with the extras train and ray."
            )


def version_text(version: str | None) -> str:
    """Return a version, or its absence, in words."""
    return "no pepr_edge" if version is None else f"pepr_edge {version}"


def _task_options(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return Ray's options of a task on a node, also if all of its CPUs are taken."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return {
        "num_cpus": 0,
        "max_retries": 0,
        "name": "pepr_edge",
        "scheduling_strategy": NodeAffinitySchedulingStrategy(node["NodeID"], soft=False),
    }


def _answer(ray: Any, task: Any) -> str | None:
    """Return the version of a node; None if pepr_edge is missing there, "" if the node did not answer."""
    from ray.exceptions import RayError

    try:
        version: str | None = ray.get(task)
    except RayError:
        return ""
    return version


def _question() -> Callable[[], str | None]:
    """Return a function that needs no pepr_edge on the node: Ray sends one that has no name by its code."""

    def version() -> str | None:
        try:
            import pepr_edge
        except ImportError:
            return None
        return str(pepr_edge.__version__)

    return version
