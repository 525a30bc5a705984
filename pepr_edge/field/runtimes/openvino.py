"""OpenVINO, on the CPU, in full float32: by itself it would compute in bf16 where the CPU can."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pepr_edge.errors import MeasurementError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pepr_edge.records import SessionSettings


def unavailable(provider: str) -> str | None:
    """Why this provider cannot be used here, in a sentence; None if it can."""
    if provider != "cpu":
        return "OpenVINO is used on the CPU only."
    if importlib.util.find_spec("openvino") is None:
        return "OpenVINO is not installed: pip install 'pepr_edge[openvino]'."
    return None


def open(model: Path, settings: SessionSettings) -> Any:
    """Load and compile an ONNX file.

    Raises:
        MeasurementError: OpenVINO is not there, or cannot load the file.
    """
    reason = unavailable(settings.provider)
    if reason is not None:
        raise MeasurementError(reason)
    library = importlib.import_module("openvino")
    options = {"INFERENCE_NUM_THREADS": settings.threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    try:
        return library.Core().compile_model(str(model), "CPU", options)
    except RuntimeError as fault:
        raise MeasurementError(f"{model.name}: OpenVINO cannot load it ({str(fault).splitlines()[0][:200]}).") from fault


def run(session: Any, tensor: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logits of a batch, shape (n, classes)."""
    return np.asarray(session(tensor)[0], dtype=np.float32)


def bind(session: Any, tensor: NDArray[np.float32]) -> Callable[[], object]:
    """One inference of this input as a call without arguments."""
    request = session.create_infer_request()
    return lambda: request.infer(tensor, share_inputs=True, share_outputs=True)


def provider_used(session: Any) -> str:
    """The device that it was compiled for."""
    return f"OpenVINO {', '.join(session.get_property('EXECUTION_DEVICES'))}"
