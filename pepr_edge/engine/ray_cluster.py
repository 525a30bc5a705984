"""Joining a Ray cluster as its driver: Ray's output is suppressed, a wrong address reported early."""

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

CONNECT_TIMEOUT_S = 5.0
CANCEL_TIMEOUT_S = 3.0
# Ray's own messages of a loss name the node's address.
LOSS_REASONS = {
    "NodeDiedError": "its node was lost",
    "TaskUnschedulableError": "its node is no longer there",
    "OutOfMemoryError": "its node ran out of memory",
    "WorkerCrashedError": "the process that it ran in on its node was killed",
}


@contextmanager
def joined(address: str | None) -> Iterator[Any]:
    """Join a cluster as its driver; yield the module `ray`.

    Args:
        address: "host:port", or "auto" for the cluster that this machine is in; None: that of RAY_ADDRESS,
            else Ray is started on this machine alone.
    Raises:
        EngineError: the cluster cannot be joined.
    """
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    _check_address(address)
    with _quiet():
        import ray

        _join(ray, address)
        try:
            yield ray
        finally:
            ray.shutdown()


@contextmanager
def _quiet() -> Iterator[None]:
    """Turn off Ray's usage reports, which must happen before its import, and its messages on our stdout."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # By default the workers of a Ray that we start have a lower priority than all other programs.
    os.environ.setdefault("RAY_worker_niceness", "0")
    with (
        open(os.devnull, "w", encoding="utf-8") as devnull,
        redirect_stdout(sys.stderr if _is_verbose() else devnull),
    ):
        yield


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Drop what Ray's libraries write to stderr without going through Python."""
    if _is_verbose():
        yield
        return
    sys.stderr.flush()
    saved = os.dup(2)
    try:
        with open(os.devnull, "wb") as devnull:
            os.dup2(devnull.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def _is_verbose() -> bool:
    return logging.getLogger().isEnabledFor(logging.INFO)


def _join(ray: Any, address: str) -> None:
    """Join the cluster, or start one on this machine alone."""
    options: dict[str, Any] = {
        "log_to_driver": _is_verbose(),
        "logging_level": logging.INFO if _is_verbose() else logging.CRITICAL,
    }
    if address == "local":
        with _silent_stderr():
            ray.init(address="local", num_cpus=usable_cores(), include_dashboard=False, **options)
        return
    try:
        with _silent_stderr():
            ray.init(address=address, **options)
    except Exception as fault:  # Ray's own errors here have no common class
        raise EngineError(
            f"--address {address}: this machine cannot join the cluster ({lines_of(fault)[0]}). "
            "Make it a part of the cluster by `ray start --address=HOST:PORT`, with the same versions of "
            "Python and Ray, and with the cluster's token if it has one: RAY_AUTH_MODE=token."
        ) from None


def _check_address(address: str) -> None:
    """Connect to an address, which reports an error sooner than Ray, or instead of an abort by Ray."""
    if address in ("auto", "local"):
        return
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not port.isdecimal():
        raise EngineError(
            f"--address {address}: expected HOST:PORT as `ray start --head` prints it, or auto."
        )
    try:
        with socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT_S):
            pass
    except (OSError, OverflowError) as fault:
        raise EngineError(
            f"--address {address}: cannot be reached ({fault}). "
            "Start the cluster, `ray start --head`, or correct the address."
        ) from None


def lines_of(fault: BaseException) -> list[str]:
    """Return the message of an exception, line by line."""
    return [line.strip() for line in str(fault).splitlines() if line.strip()] or [type(fault).__name__]


def next_result(ray: Any, task: Any) -> Any:
    """Return the next result of a streaming task, or the result of another one; an Exception if it failed.

    Raises:
        EngineError: the task failed with it, as the error concerns the whole cluster.
    """
    from ray.exceptions import RayError

    try:
        return ray.get(task if isinstance(task, ray.ObjectRef) else next(task))
    except RayError as fault:
        cause = getattr(fault, "cause", None)
        if isinstance(cause, EngineError):
            raise cause from None
        return fault


def is_loss(fault: Exception) -> bool:
    """True if a task ended through no fault of its own."""
    from ray.exceptions import RayTaskError

    return not isinstance(fault, RayTaskError)


def reason_of(fault: Exception) -> str:
    """Return why a task failed or was lost, in words."""
    if not is_loss(fault):
        return f"on its node: {lines_of(getattr(fault, 'cause', fault))[-1]}"
    name = type(fault).__name__
    return LOSS_REASONS.get(name, f"the process that it ran in was lost ({name})")


def cancel(ray: Any, tasks: list[Any]) -> None:
    """Cancel streaming tasks, and give them some seconds to remove their files from their nodes."""
    from ray.exceptions import RayError

    for task in tasks:
        ray.cancel(task)
    end_s = time.perf_counter() + CANCEL_TIMEOUT_S
    while tasks:
        left_s = end_s - time.perf_counter()
        if left_s <= 0:
            return
        ready, tasks = ray.wait(tasks, num_returns=1, timeout=left_s)
        for task in ready:
            with suppress(RayError, StopIteration):
                ray.get(next(task))
                tasks.append(task)
