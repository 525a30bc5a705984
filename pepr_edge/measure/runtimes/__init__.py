"""What can run a model: one module a runtime, all with the same functions. None imports its library before it is asked to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pepr_edge.measure.runtimes import onnxruntime, openvino, pytorch

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pepr_edge.records import SessionSettings

__all__ = ["RUNTIMES", "Runtime", "onnxruntime", "openvino", "pytorch"]


class Runtime(Protocol):
    """The functions of a runtime's module. A session is whatever its `open` returns."""

    def import_library(self) -> None:
        """Import numpy and the runtime's library: a part of the cold start."""

    def unavailable(self, provider: str = "cpu") -> str | None:
        """Why a provider cannot be used here, in one sentence; None where it can."""

    def open(self, model: Path, settings: SessionSettings) -> Any:
        """Load a model.

        Raises:
            MeasurementError: the library, the provider or the file cannot be used.
        """

    def run(self, session: Any, tensor: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits, shape (n, classes), of a tensor of shape (n, channels, px, px)."""

    def bind(self, session: Any, tensor: NDArray[np.float32]) -> Callable[[], object]:
        """One inference on a fixed tensor with nothing around it, to be timed."""

    def provider_used(self, session: Any) -> str:
        """What really runs the model."""


RUNTIMES: dict[str, Runtime] = {
    "onnxruntime": onnxruntime,
    "openvino": openvino,
    "pytorch": pytorch,
}
