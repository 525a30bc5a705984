"""A model held open in its own process: a runtime that crashes on a file ends only that process.

The protocol: one JSON document a line. The parent writes the job (`job.MeasurementJob`); the process opens
the model, runs it once and answers:
    {"kind": "serve", "model": path, "settings": {...}, "input_shape": [1, 3, 224, 224], ...}
    {"ready": {"load_s": 0.1, "first_s": 0.01, "provider_used": "CPUExecutionProvider"}}
(`import_s`, the duration of the runtime's import, may be added.)
Then the parent sends commands, any number of them, until it closes the stdin of the process:
    {"time": 10}            answer {"time": [latency in seconds, ...]}, 10 of them
    {"block": {"runs": 10, "warmup_runs": 1}}
                            answer {"block": {"latencies_s": [...], "cpu_s": 0.1, "steal_s": 0.0 or null}}
                            (only asked by `interleaved_profiles`, which runs no other program than ours)
    {"memory": null}        answer {"memory": peak of the process in bytes, or null}
    {"logits": {"pixels": "in.npy", "logits": "out.npy", "preprocess": {...}}}
                            answer {"logits": "out.npy"}, after that file is written; "novelty" may name
                            another file, for the second output of a model that has one
In place of any answer: {"error": message}. The easiest way to write a program of your own is to call
`worker.main` with your own runtime.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from pepr_edge.measure.job import MeasurementJob, TimedBlock
from pepr_edge.measure.line_process import LineProcess
from pepr_edge.records import Preprocess, SessionSettings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pepr_edge.measure.selftest import Answers

# Logits of an image may take this many times as long as the first inference, beyond the limit of one answer.
LOGITS_LIMIT_FACTOR = 10.0


class ModelProcess:
    """A model held open in its own process.

    After a MeasurementError the process has ended, and `reason` says why.
    """

    import_s: float | None
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
            settings: how to run the runtime.
            input_shape: (1, channels, px, px).
            program: another command that speaks the protocol; None: our own worker.
            limit_s: time limit of each answer; `logits` gets more, by the number of images.
        Raises:
            MeasurementError: the model cannot be run with these settings, or the process died or took too
                long.
        """
        self.settings = settings
        self._limit_s = limit_s
        self._process = LineProcess(f"{model.name} ({settings.runtime})", program)
        job = MeasurementJob("serve", str(model.absolute()), settings.model_dump(), input_shape)
        ready = self._ask("ready", job._asdict(), _is_ready)
        self.import_s = None if ready.get("import_s") is None else float(ready["import_s"])
        self.load_s = float(ready["load_s"])
        self.first_s = float(ready["first_s"])
        self.provider_used = str(ready["provider_used"])

    def __enter__(self) -> ModelProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def reason(self) -> str:
        """Why the process has ended, in one sentence; empty while it runs."""
        return self._process.reason

    def close(self) -> None:
        """End the process at once."""
        self._process.close()

    def time(self, count: int) -> list[float]:
        """Return the latencies, in seconds, of `count` inferences that follow each other."""
        answer = self._ask("time", {"time": count}, lambda answer: _is_latencies(answer, count))
        return [float(latency) for latency in answer]

    def block(self, runs: int, warmup_runs: int) -> TimedBlock:
        """Time a block of inferences that follow each other, after some that do not count."""
        message = {"block": {"runs": runs, "warmup_runs": warmup_runs}}
        return TimedBlock(**self._ask("block", message, lambda answer: _is_block(answer, runs)))

    def peak_memory_bytes(self) -> int | None:
        """Return the peak memory of the process so far; None where it cannot be measured.

        Ask before `logits`, which adds to it.
        """
        peak: int | None = self._ask("memory", {"memory": None}, _is_memory)
        return peak

    def logits(self, pixels: NDArray[np.uint8], preprocess: Preprocess) -> NDArray[np.float32]:
        """Return the logits of images, float32, shape (n, classes); see `answers`."""
        return self.answers(pixels, preprocess).logits

    def answers(self, pixels: NDArray[np.uint8], preprocess: Preprocess) -> Answers:
        """Return what the model answers on images, run one at a time as on the device.

        Args:
            pixels: uint8, shape (n, image_size_px, image_size_px, channels), n >= 1.
            preprocess: how pixels become the input.
        """
        import numpy as np

        from pepr_edge.measure.selftest import Answers

        with tempfile.TemporaryDirectory() as folder:
            pixels_file = Path(folder, "pixels.npy")
            logits_file = Path(folder, "logits.npy")
            novelty_file = Path(folder, "novelty.npy")
            np.save(pixels_file, pixels)
            argument = {
                "pixels": str(pixels_file),
                "logits": str(logits_file),
                "novelty": str(novelty_file),
                "preprocess": preprocess.model_dump(),
            }
            limit_s = self._limit_s + LOGITS_LIMIT_FACTOR * self.first_s * len(pixels)
            self._ask("logits", {"logits": argument}, lambda answer: logits_file.is_file(), limit_s)
            logits: NDArray[np.float32] = np.load(logits_file, allow_pickle=False)
            novelty = np.load(novelty_file, allow_pickle=False) if novelty_file.is_file() else None
        return Answers(logits, novelty)

    def _ask(
        self, key: str, message: dict[str, Any], is_valid: Callable[[Any], bool], limit_s: float | None = None
    ) -> Any:
        """Write a line, wait for the answer and return its value of `key`."""
        limit_s = self._limit_s if limit_s is None else limit_s
        answer = self._process.ask(message, lambda answer: key in answer and is_valid(answer[key]), limit_s)
        return answer[key]


def _is_ready(answer: Any) -> bool:
    if not isinstance(answer, dict) or "provider_used" not in answer:
        return False
    return _is_latencies([answer.get("load_s"), answer.get("first_s")], 2)


def _is_block(answer: Any, runs: int) -> bool:
    if not isinstance(answer, dict) or answer.keys() != set(TimedBlock._fields):
        return False
    return _is_latencies(answer["latencies_s"], runs) and _is_latencies([answer["cpu_s"]], 1)


def _is_memory(answer: Any) -> bool:
    return answer is None or type(answer) is int


def _is_latencies(answer: Any, count: int) -> bool:
    return (
        isinstance(answer, list)
        and len(answer) == count
        and all(isinstance(value, (int, float)) and math.isfinite(value) and value >= 0 for value in answer)
    )
