"""Runtimes: one module each, all with the same functions. Each imports its library only inside functions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pepr_edge.measure.model_check import Signature
from pepr_edge.measure.runtimes import onnxruntime, openvino, pytorch

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pepr_edge.records import SessionSettings

__all__ = ["BUNDLE_RUNTIMES", "RUNTIMES", "Runtime", "onnxruntime", "openvino", "pytorch"]


class Runtime(Protocol):
    """The functions of a runtime module. A session is the object that its `open` returns."""

    def import_library(self) -> None:
        """Import numpy and the runtime's library. It is timed as a part of the cold start."""

    def unavailable(self, provider: str = "cpu") -> str | None:
        """Return in one sentence why a provider cannot be used here, or None if it can."""

    def open(self, model: Path, settings: SessionSettings) -> Any:
        """Load a model and return its session.

        `settings` has the attributes of SessionSettings, not its methods: the worker does not load pydantic.
        Threads, precision and provider are obeyed or refused: what the library really uses is read back
        where it can be asked. Other settings may be ignored; the docstring of the module's `open` says which.

        Raises:
            MeasurementError: the library, the provider, a setting or the file cannot be used.
        """

    def signature(self, session: Any) -> Signature:
        """Return the inputs and outputs of the model. Only asked of runtimes that run bundles."""

    def run(self, session: Any, tensor: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the logits, shape (n, classes), of a tensor of shape (n, channels, px, px).

        Raises:
            MeasurementError: the model cannot be run on it.
        """

    def run_all(self, session: Any, tensor: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
        """Return all outputs of a model, the logits first: a file may have a second one, the novelty.

        Raises:
            MeasurementError: the model cannot be run on it.
        """

    def bind(self, session: Any, tensor: NDArray[np.float32]) -> Callable[[], object]:
        """Return a function that runs one inference on a fixed tensor and nothing else, for timing.

        Nobody reads what that function returns, but when it returns all outputs are computed and in the
        host's memory. It may use `tensor` without a copy: the caller does not change it.
        """

    def threads_on(self, cores: int, threads: int) -> int:
        """Return how many threads this runtime starts on so many cores if it is asked for `threads`.

        Needs no library.
        """

    def trial_settings(self, settings: SessionSettings) -> tuple[SessionSettings, ...]:
        """Return the settings with which autotuning tries every file, made from `settings`.

        Needs no library. Empty: the runtime takes no part in autotuning. A precision other than float32 is
        tried only if the recipe allows it.
        """

    def option_grid(self, settings: SessionSettings) -> tuple[SessionSettings, ...]:
        """Return the other settings that autotuning tries with the best file, without `settings` itself."""

    def provider_used(self, session: Any) -> str:
        """Return the name of the provider or device that really runs the model."""


RUNTIMES: dict[str, Runtime] = {
    "onnxruntime": onnxruntime,
    "openvino": openvino,
    "pytorch": pytorch,
}
# The runtimes that can run a bundle. A bundle holds an ONNX file, but no program for PyTorch.
BUNDLE_RUNTIMES = tuple(name for name in RUNTIMES if name != "pytorch")
