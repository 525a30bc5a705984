"""A process that answers lines of JSON, each within a time limit.

Whatever happens in it, a crash or an endless loop, is one sentence here.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
from collections.abc import Callable, Sequence
from typing import Any

from pepr_edge.errors import MeasurementError
from pepr_edge.measure.process import WORKER, describe_exit, last_line, scratch_file, start_worker
from pepr_edge.untrusted.shown import MESSAGE_CHARACTERS, one_line

# No answer is longer: a million latencies are 20 MB.
MAX_LINE_BYTES = 1 << 26
# A process that has closed its stdout may take this long to end.
EXIT_LIMIT_S = 2.0


class LineProcess:
    """A process with pipes, ended at the first invalid answer. Then `reason` says why; it is empty before."""

    def __init__(self, name: str, program: Sequence[str] | None = None, module: str = WORKER) -> None:
        """Start the process.

        Args:
            name: of what it works on, for messages.
            program: another command that speaks the protocol; None: `module`.
            module: of pepr_edge, started with this Python.
        Raises:
            MeasurementError: it cannot be started.
        """
        self.reason = ""
        self.name = name
        self._stderr = scratch_file()
        try:
            self._child = start_worker(self._stderr, program, module)
        except MeasurementError:
            self._stderr.close()
            raise

    def close(self) -> None:
        """End the process at once."""
        self.reason = self.reason or f"{self.name}: the process was ended."
        self._child.kill()
        self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout, self._stderr):
            # Input that the process never read is of no use any more.
            with contextlib.suppress(OSError):
                assert pipe is not None
                pipe.close()

    def post(self, message: dict[str, Any], payload: bytes = b"") -> None:
        """Write a line, and bytes after it, without waiting for an answer."""
        assert self._child.stdin is not None
        # If the process has died, its last output can still be read.
        with contextlib.suppress(OSError, ValueError):
            self._child.stdin.write(json.dumps(message).encode() + b"\n" + payload)
            self._child.stdin.flush()

    def ask(
        self,
        message: dict[str, Any] | None,
        is_valid: Callable[[dict[str, Any]], bool],
        limit_s: float,
        payload: bytes = b"",
    ) -> dict[str, Any]:
        """Write a line, wait for the answer and return it. Waiting does not poll: a timer kills the process.

        Args:
            message: the line; None: it was posted before.
            is_valid: tells whether an object is an answer.
            limit_s: for writing and waiting.
            payload: bytes after the line.
        Raises:
            MeasurementError: there is no valid answer in time. The process has ended.
        """
        if self.reason:
            raise MeasurementError(self.reason)
        is_late = threading.Event()

        def end() -> None:
            is_late.set()
            self._child.kill()

        timer = threading.Timer(limit_s, end)
        try:
            timer.start()
            if message is not None:
                self.post(message, payload)
            assert self._child.stdout is not None
            line = self._child.stdout.readline(MAX_LINE_BYTES)
            timer.cancel()
            answer = _parse(line)
            if not is_late.is_set() and is_valid(answer):
                return answer
            self.reason = self._reason(line, answer, limit_s if is_late.is_set() else None)
            raise MeasurementError(self.reason)
        except BaseException:
            timer.cancel()
            self.close()
            raise

    def _reason(self, line: bytes, answer: dict[str, Any], exceeded_s: float | None) -> str:
        """Return in one sentence why an answer is invalid.

        `exceeded_s` is the time limit if it was exceeded.
        """
        if exceeded_s is not None:
            return f"{self.name}: the process gave no answer within {exceeded_s:g} s."
        if "error" in answer:
            reason = one_message(answer["error"])
            return reason or f"{self.name}: the process reported an error without a reason."
        if line.endswith(b"\n"):
            return f"{self.name}: the process returned an invalid answer ({line[:60]!r})."
        try:
            status = self._child.wait(EXIT_LIMIT_S)
        except subprocess.TimeoutExpired:
            return f"{self.name}: the process stopped answering."
        return f"{self.name}: the process {describe_exit(status)}{last_line(self._stderr)}."


def one_message(text: object) -> str:
    """Return a message from a process on one line: our worker has shortened the texts of others in it."""
    return one_line(str(text), MESSAGE_CHARACTERS) if str(text).strip() else ""


def _parse(line: bytes) -> dict[str, Any]:
    """Return the JSON object in a line; an empty one if the line holds none."""
    try:
        answer = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}
