"""Joining a Ray cluster as its driver: Ray's output is suppressed, a wrong address reported early.

Ray executes what it is sent. A Ray that is started here listens on the loopback address alone, asks for a
token that only its own processes know, and has a folder that no other user of the machine can open.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import Any

from pepr_edge.device.cpu import usable_cores
from pepr_edge.engine import ray_versions
from pepr_edge.errors import EngineError

CONNECT_TIMEOUT_S = 5.0
CANCEL_TIMEOUT_S = 3.0
# Ray uses the loopback address on Windows and macOS, since they ask the user about other ones. With this
# variable, which it reads when it is imported, it does so on Linux as well.
LOOPBACK_ONLY = ("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
# Its folder, within one of ours: Ray opens to all users the folder that it is given.
RAY_FOLDER = "ray"
# The path of a socket has at most 103 characters on macOS, 107 on Linux. Ray's own part, with a process
# number of seven digits, has 64.
MAX_FOLDER_CHARACTERS = 103 - 64
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
        EngineError: the cluster cannot be joined, or has other versions.
    """
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    _check_address(address)
    cluster = _started_here() if address == "local" else _of_others(address)
    with _quiet(), cluster as ray:
        yield ray


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


@contextmanager
def _same_sigterm() -> Iterator[None]:
    """Keep what SIGTERM does. Ray takes it, ends with a status of its own, and prints the stack."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if handler is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)


def _is_verbose() -> bool:
    return logging.getLogger().isEnabledFor(logging.INFO)


def _options() -> dict[str, Any]:
    level = logging.INFO if _is_verbose() else logging.CRITICAL
    return {"log_to_driver": _is_verbose(), "logging_level": level}


@contextmanager
def _started_here() -> Iterator[Any]:
    """Start Ray on this machine alone, out of the reach of others, and end it."""
    name, value = LOOPBACK_ONLY
    os.environ[name] = value
    if "RAY_AUTH_MODE" not in os.environ:  # older versions of Ray know no tokens, and ignore both
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    import ray

    with _private_folder() as folder:
        try:
            with _silent_stderr(), _same_sigterm():
                # /tmp/ray, the default, is open to all users, and keeps what it held.
                ray.init(
                    address="local",
                    num_cpus=usable_cores(),
                    include_dashboard=False,
                    _temp_dir=folder,
                    **_options(),
                )
            _check_loopback(ray)
            yield ray
        finally:
            ray.shutdown()


@contextmanager
def _private_folder() -> Iterator[str]:
    """Make a folder that only this user can open, with a path that is short enough for Ray's sockets."""
    base = tempfile.gettempdir()
    is_long = len(f"{base}/pepr-ray-12345678/{RAY_FOLDER}") > MAX_FOLDER_CHARACTERS
    folder = tempfile.mkdtemp(prefix="pepr-ray-", dir="/tmp" if is_long and os.name == "posix" else base)
    try:
        yield str(Path(folder) / RAY_FOLDER)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _check_loopback(ray: Any) -> None:
    """Refuse a Ray, started here, that others in the network can reach.

    Raises:
        EngineError: it listens on another address than loopback.
    """
    for node in ray.nodes():
        address = node["NodeManagerAddress"]
        if not ipaddress.ip_address(address).is_loopback:
            raise EngineError(
                f"Ray was started on {address}, expected the loopback address: whoever reaches it can run "
                "code. Start a cluster yourself, and name it by --address; docs/cluster.md says how."
            )


@contextmanager
def _of_others(address: str) -> Iterator[Any]:
    """Join a cluster that was started before, and leave it."""
    import ray

    try:
        with _silent_stderr(), _same_sigterm():
            ray.init(address=address, **_options())
    except Exception as fault:  # Ray's own errors here have no common class
        reason = ray_versions.mismatch(str(fault)) or f"({lines_of(fault)[0]})"
        raise EngineError(
            f"--address {address}: this machine cannot join the cluster {reason}. "
            "Make it a part of the cluster by `ray start --address=HOST:PORT`, with the same versions of "
            "Python and Ray, and with the cluster's token if it has one: RAY_AUTH_MODE=token."
        ) from None
    try:
        ray_versions.check(ray)
        yield ray
    finally:
        ray.shutdown()


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
