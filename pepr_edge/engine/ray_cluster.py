"""Being a driver of a Ray cluster: its chatter kept from the terminal, what is wrong with an address said soon and in one line, and how
its tasks are heard and cancelled."""

from __future__ import annotations

import logging
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from typing import Any

from pepr_edge.device.cpu import usable_cores
from pepr_edge.errors import EngineError

REACH_S = 5.0
CANCEL_S = 3.0
LOST = {
    "NodeDiedError": "its node was lost",
    "TaskUnschedulableError": "its node is no longer there",
    "OutOfMemoryError": "its node ran out of memory",
    "WorkerCrashedError": "the process that it ran in on its node was killed",
}


@contextmanager
def joined(address: str | None) -> Iterator[Any]:
    """The module `ray`, while this process is a driver of a cluster.

    Args:
        address: "host:port", or "auto" for the cluster that this machine is a part of; None: that of RAY_ADDRESS, else Ray is started on
            this machine alone.
    Raises:
        EngineError: the cluster cannot be joined.
    """
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    _reach(address)
    with _hushed():
        import ray

        _join(ray, address)
        try:
            yield ray
        finally:
            ray.shutdown()


@contextmanager
def _hushed() -> Iterator[None]:
    """Ray reports its use unless told not to before its import; and it prints what befalls a cluster to stdout, which is not its own."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault(
        "RAY_worker_niceness", "0"
    )  # where we start it: by default its workers stand back behind all other programs
    with (
        open(os.devnull, "w", encoding="utf-8") as nowhere,
        redirect_stdout(sys.stderr if _is_verbose() else nowhere),
    ):
        yield


@contextmanager
def _silent() -> Iterator[None]:
    """Keep from stderr what Ray's libraries write there past Python."""
    if _is_verbose():
        yield
        return
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _is_verbose() -> bool:
    return logging.getLogger().isEnabledFor(logging.INFO)


def _join(ray: Any, address: str) -> None:
    """Become a driver of the cluster, or start one of this machine alone."""
    options: dict[str, Any] = {
        "log_to_driver": _is_verbose(),
        "logging_level": logging.INFO if _is_verbose() else logging.CRITICAL,
    }
    if address == "local":
        with _silent():
            ray.init(address="local", num_cpus=usable_cores(), include_dashboard=False, **options)
        return
    try:
        with _silent():
            ray.init(address=address, **options)
    except Exception as fault:  # Ray's own errors here have no common class
        raise EngineError(
            f"--address {address}: this machine cannot join the cluster ({lines_of(fault)[0]}). "
            "It must be a part of it, by `ray start --address=HOST:PORT`, with the same versions of Python and Ray, and with its token if "
            "it has one: RAY_AUTH_MODE=token."
        ) from None


def _reach(address: str) -> None:
    """Find out soon what Ray would find out late, or by an abort."""
    if address in ("auto", "local"):
        return
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not port.isdecimal():
        raise EngineError(f"--address {address}: expected HOST:PORT as `ray start --head` tells it, or auto.")
    try:
        with socket.create_connection((host, int(port)), timeout=REACH_S):
            pass
    except (OSError, OverflowError) as fault:
        raise EngineError(
            f"--address {address}: nobody answers there ({fault}). Start the cluster, `ray start --head`, or mend the address."
        ) from None


def lines_of(fault: BaseException) -> list[str]:
    """What a fault says, line by line."""
    return [line.strip() for line in str(fault).splitlines() if line.strip()] or [type(fault).__name__]


def heard(ray: Any, task: Any) -> Any:
    """The next of what a streaming task tells, or what another one returned; an Exception where it ended with one.

    Raises:
        EngineError: it ended with that, as the fault is the cluster's.
    """
    from ray.exceptions import RayError

    try:
        return ray.get(task if isinstance(task, ray.ObjectRef) else next(task))
    except RayError as fault:
        if isinstance(cause := getattr(fault, "cause", None), EngineError):
            raise cause from None
        return fault


def is_loss(fault: Exception) -> bool:
    """Whether a task did not fail by itself."""
    from ray.exceptions import RayTaskError

    return not isinstance(fault, RayTaskError)


def why(fault: Exception) -> str:
    """Why a task failed or was lost, in words; Ray's own of a loss name the node's address."""
    if not is_loss(fault):
        return f"on its node: {lines_of(getattr(fault, 'cause', fault))[-1]}"
    return LOST.get(type(fault).__name__, f"the process that it ran in was lost ({type(fault).__name__})")


def cancel(ray: Any, tasks: list[Any]) -> None:
    """Cancel tasks that stream, and give them a moment to remove what they have on their nodes."""
    from ray.exceptions import RayError

    for task in tasks:
        ray.cancel(task)
    end_s = time.perf_counter() + CANCEL_S
    while tasks and (left_s := end_s - time.perf_counter()) > 0:
        ready, tasks = ray.wait(tasks, num_returns=1, timeout=left_s)
        for task in ready:
            with suppress(RayError, StopIteration):
                ray.get(next(task))
                tasks.append(task)
