"""ONNX Runtime."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pepr_edge.errors import MeasurementError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pepr_edge.records import SessionSettings

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
LEVELS = {"all": "ORT_ENABLE_ALL", "extended": "ORT_ENABLE_EXTENDED", "basic": "ORT_ENABLE_BASIC", "none": "ORT_DISABLE_ALL"}
ERRORS_ONLY = 3


def _library() -> Any:
    return importlib.import_module("onnxruntime")


def unavailable(provider: str) -> str | None:
    """Why this provider cannot be used here, in a sentence; None if it can."""
    known = _library().get_available_providers()
    if PROVIDERS[provider] in known:
        return None
    return f"this machine's onnxruntime has no {PROVIDERS[provider]}, only {', '.join(known)}."


def open(model: Path, settings: SessionSettings) -> Any:
    """Load an ONNX file.

    Raises:
        MeasurementError: the provider is not there, or the file cannot be loaded.
    """
    ort = _library()
    reason = unavailable(settings.provider)
    if reason is not None:
        raise MeasurementError(f"provider {settings.provider!r}: {reason} Install onnxruntime-gpu, or use the CPU.")
    options = ort.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    options.intra_op_num_threads = settings.threads
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = settings.arena
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, LEVELS[settings.graph_optimisation])
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if settings.spinning else "0")
    providers = [PROVIDERS[settings.provider]] if settings.provider == "cpu" else [PROVIDERS[settings.provider], PROVIDERS["cpu"]]
    try:
        session = ort.InferenceSession(str(model), options, providers=providers)
    except Exception as fault:  # onnxruntime has an error class for each of its status codes
        raise MeasurementError(f"{model.name}: onnxruntime cannot load it ({str(fault).splitlines()[0][:200]}).") from fault
    if provider_used(session) != PROVIDERS[settings.provider]:
        raise MeasurementError(
            f"{model.name}: asked for {PROVIDERS[settings.provider]}, but {provider_used(session)} would run it. Mend the driver."
        )
    return session


def run(session: Any, tensor: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logits of a batch, shape (n, classes)."""
    return np.asarray(session.run(None, {session.get_inputs()[0].name: tensor})[0], dtype=np.float32)


def bind(session: Any, tensor: NDArray[np.float32]) -> Callable[[], object]:
    """One inference of this input as a call without arguments."""
    feed, execute = {session.get_inputs()[0].name: tensor}, session.run
    return lambda: execute(None, feed)


def provider_used(session: Any) -> str:
    """The execution provider that is first in line."""
    return str(session.get_providers()[0])
