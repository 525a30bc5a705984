"""The runtimes that can run an ONNX file: modules with the same functions, typed by one Protocol."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pepr_edge.field.runtimes import onnxruntime, openvino

if TYPE_CHECKING:  # nothing more is loaded than runs: the memory of a measuring process is measured
    import numpy as np
    from numpy.typing import NDArray

    from pepr_edge.records import SessionSettings


class Runtime(Protocol):
    """What each runtime's module holds."""

    def unavailable(self, provider: str) -> str | None:
        """Why it cannot be used here with this provider, in a sentence; None if it can."""

    def open(self, model: Path, settings: SessionSettings) -> Any:
        """Load a model. Raises MeasurementError."""

    def run(self, session: Any, tensor: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits of a batch, shape (n, classes)."""

    def bind(self, session: Any, tensor: NDArray[np.float32]) -> Callable[[], object]:
        """One inference of this input as a call without arguments, with the least there can be around it: for timing."""

    def provider_used(self, session: Any) -> str:
        """What really runs the model."""


RUNTIMES: dict[str, Runtime] = {"onnxruntime": onnxruntime, "openvino": openvino}
