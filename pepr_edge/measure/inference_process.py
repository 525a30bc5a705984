"""Runs the models of bundles in a process of its own, with limits of time and memory.

A model comes from elsewhere: it may crash its runtime, never end, or ask for all memory. Here each of these
is one sentence about one image. The protocol is in `inference_worker`.
"""

from __future__ import annotations

import math
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

from pepr_edge.errors import LibraryError, MeasurementError, NoAnswerError
from pepr_edge.measure.bundle_model import BundleModel
from pepr_edge.measure.line_process import LineProcess, one_message
from pepr_edge.measure.model_check import answer_fault, novelty_fault

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MODULE = "pepr_edge.measure.inference_worker"
# The libraries are ours. An emulated processor took half a minute to load them.
IMPORT_LIMIT_S = 300.0
# A model that ended its process this often is not run again.
MAX_ENDS = 3


class Answer(NamedTuple):
    """Finite logits of images, shape (n, classes), and their novelty, shape (n,); None without it."""

    logits: NDArray[np.float32]
    novelty: NDArray[np.float32] | None


class InferenceProcess:
    """Runs one model after the other. The process is started when needed, also after a model ended it."""

    def __init__(self) -> None:
        self._process: LineProcess | None = None
        self._imported: str | None = None
        self._model: BundleModel | None = None
        self._ends = 0

    def __enter__(self) -> InferenceProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process, if it runs."""
        if self._process is not None:
            self._process.close()
        self._process = None

    def start(self, runtime: str) -> None:
        """Start the process, which then imports the library of a runtime while the caller does other work.

        Raises:
            MeasurementError: it cannot be started.
        """
        if self._process is None or self._process.reason:
            self._process = LineProcess(runtime, module=MODULE)
            self._process.post({"import": runtime})
            self._imported = None

    def open(self, model: BundleModel) -> None:
        """Load a model, in place of the one before, and hold it against its manifest.

        Raises:
            MeasurementError: it cannot be loaded here within its limits, or has other inputs or outputs.
        """
        self._model = None
        self._ends = 0
        self._load(model)
        self._model = model

    def logits(self, tensor: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the finite logits of images, shape (n, classes); see `answer`."""
        return self.answer(tensor).logits

    def answer(self, tensor: NDArray[np.float32]) -> Answer:
        """Return what a model answers on images.

        Args:
            tensor: shape (n, channels, px, px), for the model that was opened last.
        Raises:
            NoAnswerError: the model gives none for these images.
        """
        import numpy as np

        model = self._model
        assert model is not None
        process = self._ready(model)
        shape = list(tensor.shape)
        payload = np.ascontiguousarray(tensor, np.float32).tobytes()
        limit_s = model.limits.answer_s * max(1, shape[0])
        try:
            answer = process.ask({"run": shape}, _is_answer, limit_s, payload)
        except MeasurementError as error:
            self._ends += 1
            raise NoAnswerError(str(error)) from None
        if "no_answer" in answer:
            raise NoAnswerError(f"{process.name}: {one_message(answer['no_answer'])}.")
        logits = _array(answer["run"])
        fault = answer_fault(logits, shape[0], model.classes)
        if logits is None or fault is not None:
            raise NoAnswerError(f"{process.name}: {fault}.")
        if not model.novelty:
            return Answer(logits, None)
        novelty = _array(answer.get("novelty"))
        fault = novelty_fault(novelty, shape[0])
        if novelty is None or fault is not None:
            raise NoAnswerError(f"{process.name}: {fault}.")
        return Answer(logits, novelty[:, 0])

    def _ready(self, model: BundleModel) -> LineProcess:
        """Return the process, started again if the model ended it.

        Raises:
            NoAnswerError: the model ended it too often, or cannot be loaded again.
        """
        if self._process is None or self._process.reason:
            if self._ends >= MAX_ENDS:
                raise NoAnswerError(
                    f"{model.path.name}: not run any more: it exceeded its limits or died {self._ends} times."
                )
            try:
                self._load(model)
            except MeasurementError as error:
                raise NoAnswerError(str(error)) from None
        assert self._process is not None
        return self._process

    def _load(self, model: BundleModel) -> None:
        runtime = model.settings.runtime
        self.start(runtime)
        process = self._process
        assert process is not None
        if self._imported is None:
            # The runtime that the process was started with, which may be another.
            self._imported = process.ask(None, _is_imported, IMPORT_LIMIT_S)["import"]
        if self._imported != runtime:
            self._imported = process.ask({"import": runtime}, _is_imported, IMPORT_LIMIT_S)["import"]
        process.name = f"{model.path.name} ({runtime})"
        argument = {
            "model": str(model.path.absolute()),
            "settings": model.settings.model_dump(),
            "input_shape": list(model.input_shape),
            "classes": model.classes,
            "novelty": model.novelty,
            "memory_bytes": model.limits.memory_bytes,
        }
        answer = process.ask({"open": argument}, _is_opened, model.limits.load_s)
        if "error" in answer:
            kind = LibraryError if answer.get("library") else MeasurementError
            raise kind(one_message(answer["error"]))


def _is_imported(answer: dict[str, Any]) -> bool:
    return "import" in answer


def _is_opened(answer: dict[str, Any]) -> bool:
    return "open" in answer or "error" in answer


def _is_answer(answer: dict[str, Any]) -> bool:
    return "no_answer" in answer or isinstance(answer.get("run"), list)


def _array(rows: Any) -> NDArray[np.float32] | None:
    """Return rows of numbers, all of one length, as an array; None if they are none."""
    import numpy as np

    if not isinstance(rows, list):
        return None
    for row in rows:
        if not isinstance(row, list) or len(row) != len(rows[0]):
            return None
        if not all(isinstance(value, float) and math.isfinite(value) for value in row):
            return None
    return np.array(rows, np.float32)
