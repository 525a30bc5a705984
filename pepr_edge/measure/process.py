"""Run a measurement job in a freshly exec'd process, and wait for it without polling."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

import pepr_edge
from pepr_edge.device.threads import with_passive_waiting
from pepr_edge.errors import MeasurementError
from pepr_edge.measure.job import Block, LatencyRun, MeasurementJob, MemoryRun, Started
from pepr_edge.measure.memory_limit import EXCEEDED_STATUS
from pepr_edge.untrusted.shown import shown

# The module of the measurement process.
WORKER = "pepr_edge.measure.worker"
# Kill the process after this long without a message. With a paced load the time between two queries is added,
# since messages are as rare as queries.
SILENCE_S = 1800.0
# The last line is looked for in so much of the error output.
LAST_BYTES = 1 << 16
# Called with the run so far, and the median of the latest latencies in seconds.
OnBlock = Callable[[LatencyRun, float], None]
# Called with a message that is neither the result nor an error.
OnMessage = Callable[[dict[str, Any]], None]


def measure_latency(
    job: MeasurementJob, on_block: OnBlock | None = None, on_start: Callable[[], None] | None = None
) -> LatencyRun:
    """Run the latency pass.

    Args:
        job: the model, and how to measure it.
        on_block: called about twice a second, from the first latencies on.
        on_start: called when the timed loop begins.
    Raises:
        MeasurementError: the process failed or died.
    """
    run: LatencyRun | None = None

    def on_message(message: dict[str, Any]) -> None:
        nonlocal run
        if "started" in message:
            run = LatencyRun(Started(**message["started"]), [], [])
            if on_start is not None:
                on_start()
            return
        assert run is not None
        block = Block(**message["block"])
        run.latencies_s.extend(block.latencies_s)
        run.blocks.append(len(block.latencies_s))
        run = run._replace(
            duration_s=block.duration_s,
            cpu_s=block.cpu_s,
            steal_s=block.steal_s,
            load_after=block.load_after,
        )
        if on_block is not None:
            on_block(run, block.median_s)

    _run(job, on_message)
    assert run is not None
    return run


def measure_memory(job: MeasurementJob) -> MemoryRun:
    """Run the memory pass.

    Raises:
        MeasurementError: the process failed or died.
    """
    return MemoryRun(**_run(job, None))


def start_worker(
    stderr: IO[bytes], program: Sequence[str] | None = None, module: str = WORKER
) -> subprocess.Popen[bytes]:
    """Start a measurement process with pipes to its stdin and stdout.

    Args:
        stderr: file for its error output.
        program: another command that speaks the protocol; None: `module`.
        module: of pepr_edge.
    Raises:
        MeasurementError: it cannot be started.
    """
    command = module_command(module) if program is None else list(program)
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            # Of our runtimes PyTorch alone uses OpenMP. Inside a worker and outside it waits the same way.
            env=with_passive_waiting(os.environ),
            # `-m` puts the working directory first on the path. The user's may hold a file called numpy.py.
            cwd=Path(pepr_edge.__file__).parents[1] if program is None else None,
        )
    except OSError as error:
        raise MeasurementError(f"{command[0]}: cannot be started ({error.strerror}).") from None


def scratch_file() -> IO[bytes]:
    """Return a file without a name. Where nothing can be written it lies in memory, if the system has such.

    Raises:
        OSError: there is neither.
    """
    try:
        return tempfile.TemporaryFile()
    except OSError:
        if not hasattr(os, "memfd_create"):
            raise
        return os.fdopen(os.memfd_create("pepr_edge"), "w+b")


def module_command(module: str) -> list[str]:
    """Return the command that runs a module of pepr_edge with this Python, isolated if this process is.

    A kit's launcher isolates Python (-I) from environment variables and from a user's packages.
    """
    if not sys.flags.isolated:
        return [sys.executable, "-m", module]
    # -I also keeps the working directory off the path, where `-m` would find pepr_edge.
    folder = str(Path(pepr_edge.__file__).parents[1])
    run = f"import runpy; runpy.run_module({module!r}, run_name='__main__', alter_sys=True)"
    program = f"import sys; sys.path.insert(0, {folder!r}); {run}"
    return [sys.executable, "-I", "-c", program]


def _run(job: MeasurementJob, on_message: OnMessage | None) -> dict[str, Any]:
    """Run one pass and return its result."""
    name = Path(job.model).name
    silence_s = SILENCE_S + (job.paced_s or 0.0)
    with scratch_file() as stderr:
        child = start_worker(stderr)
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            with child.stdin, child.stdout:
                try:
                    child.stdin.write(json.dumps(job._asdict()).encode() + b"\n")
                    child.stdin.close()
                except BrokenPipeError:
                    pass  # The process died at once. The error below says why.
                with _Watchdog(child, silence_s) as watchdog:
                    result = _listen(child.stdout, on_message, watchdog.reset)
            status = child.wait()
        except BaseException:
            child.kill()
            child.wait()
            raise
        if isinstance(result, dict):
            return result
        if watchdog.has_killed:
            raise MeasurementError(f"{name}: the measurement process hung: no message for {silence_s:g} s.")
        reason = f"{name}: the measurement process {describe_exit(status)}{last_line(stderr)}."
        raise MeasurementError(result or reason)


class _Watchdog:
    """Kills a process that sends no message for too long.

    `reset` wakes no thread: it runs during a measurement.
    """

    def __init__(self, child: subprocess.Popen[bytes], silence_s: float) -> None:
        self.has_killed = False
        self._child = child
        self._silence_s = silence_s
        self._last_message_s = time.monotonic()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> _Watchdog:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def reset(self) -> None:
        self._last_message_s = time.monotonic()

    def _left_s(self) -> float:
        return self._last_message_s + self._silence_s - time.monotonic()

    def _watch(self) -> None:
        left_s = self._left_s()
        while not self._stopped.wait(left_s):
            left_s = self._left_s()
            if left_s <= 0:
                self.has_killed = True
                self._child.kill()
                return


def _listen(
    lines: IO[bytes], on_message: OnMessage | None, reset: Callable[[], None]
) -> dict[str, Any] | str | None:
    """Return the result of the process, its error message, or None if it ended without either."""
    for line in lines:
        reset()
        try:
            message = json.loads(line)
        except ValueError:
            return None  # The line is incomplete: the process died while it wrote.
        if "result" in message:
            return dict(message["result"])
        if "error" in message:
            return str(message["error"])
        if on_message is not None:
            on_message(message)
    return None


def describe_exit(status: int) -> str:
    """Describe how a process ended, from its exit status as `subprocess` gives it."""
    if status == EXCEEDED_STATUS:
        return "needed more memory than it may have"
    if status >= 0:
        return f"ended with status {status}"
    name = signal.Signals(-status).name if -status in set(signal.Signals) else f"signal {-status}"
    hints = {
        "SIGKILL": ", most likely for lack of memory",
        "SIGILL": ", as this CPU lacks an instruction that the runtime's build needs",
    }
    return f"was ended by {name}{hints.get(name, '')}"


def last_line(stderr: IO[bytes]) -> str:
    """Return the last line of the error output in brackets, or "" if there is none."""
    size = stderr.seek(0, os.SEEK_END)
    stderr.seek(max(0, size - LAST_BYTES))
    lines = [line for line in stderr.read().decode(errors="replace").splitlines() if line.strip()]
    return f" ({shown(lines[-1].strip())})" if lines else ""
