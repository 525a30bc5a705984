"""A model held open in a process of its own: if a runtime crashes on a file, it takes down that process alone.

The protocol, one JSON document a line. The parent writes the job; the child opens the model, runs it once and answers:
    {"model": path, "settings": {...}, "input_shape": [1, 3, 224, 224]}
    {"ready": {"load_s": 0.1, "first_s": 0.01, "provider_used": "CPUExecutionProvider"}}
Then, as often as the parent likes, until it closes the child's stdin:
    {"time": 10}                                                      {"time": [latency in seconds, ...]}, 10 of them
    {"memory": null}                                                  {"memory": peak of the process in bytes, or null}
    {"logits": {"pixels": in.npy, "logits": out.npy, "preprocess": {...}}}    {"logits": out.npy}, once that is written
In place of an answer: {"error": words}. A program of one's own does best to call `model_process_main.serve` with a runtime of its own.
"""

from __future__ import annotations

import contextlib
import json
import math
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

import pepr_edge
from pepr_edge.errors import MeasurementError
from pepr_edge.measure.process import cause, last_line
from pepr_edge.records import Preprocess, SessionSettings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# No answer is longer: a million latencies are 20 MB.
LONGEST_LINE_BYTES = 1 << 26
# Many images may take so many times what the first inference took, beyond the limit of one answer.
PATIENCE = 10.0
# So long a process that has closed its stdout may take to end.
END_S = 2.0


class ModelProcess:
    """A model held open in a process of its own. After a MeasurementError that process has ended, and `reason` says why."""

    load_s: float
    first_s: float
    provider_used: str

    def __init__(
        self,
        model: Path,
        settings: SessionSettings,
        input_shape: tuple[int, ...],
        program: Sequence[str] | None = None,
        limit_s: float = 120.0,
    ) -> None:
        """Start the process, load the model and run it once.

        Args:
            model: the ONNX file.
            settings: how the runtime is to run.
            input_shape: (1, channels, px, px).
            program: another command that speaks the protocol; None: ours.
            limit_s: for each answer; that of `logits` gets more, by the number of images.
        Raises:
            MeasurementError: the model cannot be run so, the process died or took too long.
        """
        self.settings, self.reason = settings, ""
        self._name, self._limit_s = f"{model.name} ({settings.runtime})", limit_s
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - it is closed with the process
        self._child = _start(program, self._stderr)
        job = {"model": str(model.absolute()), "settings": settings.model_dump(), "input_shape": input_shape}
        ready = self._ask("ready", job, _is_ready)
        self.load_s, self.first_s, self.provider_used = (
            float(ready["load_s"]),
            float(ready["first_s"]),
            str(ready["provider_used"]),
        )

    def __enter__(self) -> ModelProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process, whatever it does."""
        self.reason = self.reason or f"{self._name}: the process was ended."
        self._child.kill()
        self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout, self._stderr):
            # What it never read is of no use any more.
            with contextlib.suppress(OSError):
                assert pipe is not None
                pipe.close()

    def time(self, count: int) -> list[float]:
        """Latencies of so many inferences, one after the other, seconds."""
        found = self._ask("time", {"time": count}, lambda answer: _is_latencies(answer, count))
        return [float(latency) for latency in found]

    def peak_memory_bytes(self) -> int | None:
        """High-water mark of the process so far; None where it cannot be measured. To be asked before `logits`, which adds to it."""
        found: int | None = self._ask(
            "memory", {"memory": None}, lambda answer: answer is None or type(answer) is int
        )
        return found

    def logits(self, pixels: NDArray[np.uint8], spec: Preprocess) -> NDArray[np.float32]:
        """Logits of images, one at a time as on the device.

        Args:
            pixels: uint8, shape (n, image_size_px, image_size_px, channels), n >= 1.
            spec: how pixels become the input.
        Returns:
            float32, shape (n, classes).
        """
        import numpy as np

        with tempfile.TemporaryDirectory() as folder:
            given, found = Path(folder, "pixels.npy"), Path(folder, "logits.npy")
            np.save(given, pixels)
            asked = {"pixels": str(given), "logits": str(found), "preprocess": spec.model_dump()}
            limit_s = self._limit_s + PATIENCE * self.first_s * len(pixels)
            self._ask("logits", {"logits": asked}, lambda answer: found.is_file(), limit_s)
            logits: NDArray[np.float32] = np.load(found, allow_pickle=False)
        return logits

    def _ask(
        self, word: str, command: dict[str, Any], fits: Callable[[Any], bool], limit_s: float | None = None
    ) -> Any:
        """Write a line, wait for the answer and return what it holds under `word`. The wait is no polling: a timer ends the child."""
        limit_s = self._limit_s if limit_s is None else limit_s
        if self.reason:
            raise MeasurementError(self.reason)
        late = threading.Event()

        def end() -> None:
            late.set()
            self._child.kill()

        timer = threading.Timer(limit_s, end)
        try:
            timer.start()
            line = self._exchange(command)
            timer.cancel()
            answer = _parse(line)
            if word in answer and not late.is_set() and fits(answer[word]):
                return answer[word]
            self.reason = self._fault(line, answer, limit_s if late.is_set() else None)
            raise MeasurementError(self.reason)
        except BaseException:
            timer.cancel()
            self.close()
            raise

    def _exchange(self, command: dict[str, Any]) -> bytes:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        try:
            self._child.stdin.write(json.dumps(command).encode() + b"\n")
            self._child.stdin.flush()
        except OSError:
            pass  # It died; what it said before that is still to be read.
        return self._child.stdout.readline(LONGEST_LINE_BYTES)

    def _fault(self, line: bytes, answer: dict[str, Any], late_s: float | None) -> str:
        """What is wrong with an answer that is none, in one sentence."""
        if late_s is not None:
            return f"{self._name}: the process gave no answer within {late_s:g} s."
        if "error" in answer:
            return " ".join(str(answer["error"]).split())
        if line.endswith(b"\n"):
            return f"{self._name}: the process gave an answer that is none ({line[:60]!r})."
        try:
            status = self._child.wait(END_S)
        except subprocess.TimeoutExpired:
            return f"{self._name}: the process stopped answering."
        return f"{self._name}: the process {cause(status)}{last_line(self._stderr)}."


def _start(program: Sequence[str] | None, stderr: IO[bytes]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "pepr_edge.measure.model_process_main"]
            if program is None
            else list(program),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            # `-m` puts the working directory first on the path: let it be ours, not one where a file may be called numpy.py.
            cwd=Path(pepr_edge.__file__).parents[1] if program is None else None,
        )
    except OSError as fault:
        stderr.close()
        raise MeasurementError(
            f"{program[0] if program else sys.executable}: cannot be started ({fault.strerror})."
        ) from None


def _parse(line: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}


def _is_ready(answer: Any) -> bool:
    return (
        isinstance(answer, dict)
        and _is_latencies([answer.get("load_s"), answer.get("first_s")], 2)
        and "provider_used" in answer
    )


def _is_latencies(answer: Any, count: int) -> bool:
    return (
        isinstance(answer, list)
        and len(answer) == count
        and all(isinstance(value, (int, float)) and math.isfinite(value) and value >= 0 for value in answer)
    )
