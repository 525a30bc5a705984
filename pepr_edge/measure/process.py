"""Run a job in a freshly exec'd child, and wait for it without polling."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pepr_edge
from pepr_edge.errors import MeasurementError
from pepr_edge.measure.job import Block, LatencyRun, MeasurementJob, MemoryRun, Started

# A child that says nothing for so long hangs; one that is paced by the hour says something every so often.
SILENCE_S = 1800.0
# The run so far, and the median of the latest latencies in seconds.
OnBlock = Callable[[LatencyRun, float], None]
# A line of the child that is neither its result nor its fault.
OnMessage = Callable[[dict[str, Any]], None]


def measure_latency(
    job: MeasurementJob, on_block: OnBlock | None = None, on_start: Callable[[], None] | None = None
) -> LatencyRun:
    """The latency pass.

    Args:
        job: what to measure.
        on_block: called about twice a second, from the first latencies on.
        on_start: called when the timed loop begins.
    Raises:
        MeasurementError: the child could not do it, or died.
    """
    run: LatencyRun | None = None

    def on_message(message: dict[str, Any]) -> None:
        nonlocal run
        if "started" in message:
            run = LatencyRun(Started(**message["started"]), [])
            if on_start is not None:
                on_start()
            return
        assert run is not None
        block = Block(**message["block"])
        run.latencies_s.extend(block.latencies_s)
        run = LatencyRun(
            run.start, run.latencies_s, block.duration_s, block.cpu_s, block.steal_s, block.load_after
        )
        if on_block is not None:
            on_block(run, block.median_s)

    _run(job, on_message)
    assert run is not None
    return run


def measure_memory(job: MeasurementJob) -> MemoryRun:
    """The memory pass.

    Raises:
        MeasurementError: the child could not do it, or died.
    """
    return MemoryRun(**_run(job, None))


def _run(job: MeasurementJob, on_message: OnMessage | None) -> dict[str, Any]:
    with tempfile.TemporaryFile() as stderr:
        child = subprocess.Popen(
            [sys.executable, "-m", "pepr_edge.measure.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            # `-m` puts the working directory first on the path: let it be ours, not one where a file may be called numpy.py.
            cwd=Path(pepr_edge.__file__).parents[1],
        )
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            with child.stdin, child.stdout:
                try:
                    child.stdin.write(json.dumps(job._asdict()).encode())
                    child.stdin.close()
                except BrokenPipeError:
                    pass  # It died at once; why, is said below.
                with _Watchdog(child, SILENCE_S + (job.paced_s or 0.0)) as watch:
                    result = _listen(child.stdout, on_message, watch.heard)
            status = child.wait()
        except BaseException:
            child.kill()
            child.wait()
            raise
        if isinstance(result, dict):
            return result
        if watch.hung:
            raise MeasurementError(
                f"{Path(job.model).name}: the measuring process hung: nothing was heard of it for {SILENCE_S:g} s."
            )
        raise MeasurementError(
            result or f"{Path(job.model).name}: the measuring process {cause(status)}{last_line(stderr)}."
        )


class _Watchdog:
    """Ends a child that hangs. `heard` says that it does not, and wakes nobody: it is called while the child measures."""

    def __init__(self, child: subprocess.Popen[bytes], silence_s: float) -> None:
        self.hung = False
        self._child, self._silence_s, self._heard_s = child, silence_s, time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> _Watchdog:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def heard(self) -> None:
        self._heard_s = time.monotonic()

    def _watch(self) -> None:
        while not self._over.wait(left_s := self._heard_s + self._silence_s - time.monotonic()):
            if left_s <= 0:
                self.hung = True
                self._child.kill()
                return


def _listen(
    lines: IO[bytes], on_message: OnMessage | None, heard: Callable[[], None]
) -> dict[str, Any] | str | None:
    """The child's result, or the words of its fault, or None where it ended without either."""
    for line in lines:
        heard()
        try:
            message = json.loads(line)
        except ValueError:
            return None  # Torn: it died while it wrote.
        if "result" in message:
            return dict(message["result"])
        if "error" in message:
            return str(message["error"])
        if on_message is not None:
            on_message(message)
    return None


def cause(status: int) -> str:
    """How a process ended, in words, by its exit status as `subprocess` gives it."""
    if status >= 0:
        return f"ended with status {status}"
    name = signal.Signals(-status).name if -status in set(signal.Signals) else f"signal {-status}"
    hints = {
        "SIGKILL": ", most likely for lack of memory",
        "SIGILL": ", as this CPU lacks an instruction that the runtime's build needs",
    }
    return f"was ended by {name}{hints.get(name, '')}"


def last_line(stderr: IO[bytes]) -> str:
    """What the child said last, if anything."""
    stderr.seek(0)
    lines = [line for line in stderr.read().decode(errors="replace").splitlines() if line.strip()]
    return f" ({lines[-1].strip()})" if lines else ""
