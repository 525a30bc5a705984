"""ONNX Runtime. Its telemetry is switched off in `pepr_edge.__init__`, before anything here can import it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pepr_edge.errors import MeasurementError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from onnxruntime import InferenceSession, SessionOptions

    from pepr_edge.records import SessionSettings

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
OPTIMISATION = {"all": "ORT_ENABLE_ALL", "extended": "ORT_ENABLE_EXTENDED", "basic": "ORT_ENABLE_BASIC", "none": "ORT_DISABLE_ALL"}
# What ONNX Runtime logs below "fatal" is either raised as well or of no use to the person at the device.
ONLY_FATAL = 4


def import_library() -> None:
    """Import numpy and onnxruntime."""
    import numpy  # noqa: F401
    import onnxruntime  # noqa: F401


def unavailable(provider: str = "cpu") -> str | None:
    """Why a provider cannot be used here; None where it can."""
    try:
        import onnxruntime
    except ImportError as fault:
        return f"onnxruntime cannot be imported ({fault})."
    there = onnxruntime.get_available_providers()
    if PROVIDERS[provider] in there:
        return None
    return f"onnxruntime has no {PROVIDERS[provider]} here, only {', '.join(there)}."


def open(model: Path, settings: SessionSettings) -> InferenceSession:
    """Load a model."""
    if (reason := unavailable(settings.provider)) is not None:
        raise MeasurementError(f"provider {settings.provider!r} asked for, but {reason}")
    if not model.is_file():
        raise MeasurementError(f"{model}: no such file, expected an ONNX model.")
    import onnxruntime

    onnxruntime.set_default_logger_severity(ONLY_FATAL)
    providers = list(dict.fromkeys((PROVIDERS[settings.provider], PROVIDERS["cpu"])))
    try:
        session = onnxruntime.InferenceSession(str(model), _options(settings), providers=providers)
    except Exception as fault:
        # Its own words hold line breaks and the absolute path.
        words = " ".join(str(fault).replace(str(model), model.name).split())
        raise MeasurementError(f"{model}: onnxruntime cannot load this model ({words}).") from None
    session.disable_fallback()
    if provider_used(session) != PROVIDERS[settings.provider]:
        raise MeasurementError(
            f"provider {settings.provider!r} asked for, but onnxruntime fell back to {provider_used(session)}: "
            "the libraries of CUDA and cuDNN, or the GPU, cannot be used. Mend them, or use the provider 'cpu'."
        )
    return session


def _options(settings: SessionSettings) -> SessionOptions:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = ONLY_FATAL
    options.intra_op_num_threads = settings.threads
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = settings.arena
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, OPTIMISATION[settings.graph_optimisation])
    for key in ("session.intra_op.allow_spinning", "session.inter_op.allow_spinning"):
        options.add_session_config_entry(key, str(int(settings.spinning)))
    return options


def run(session: InferenceSession, tensor: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logits of a tensor."""
    logits: NDArray[np.float32] = session.run(None, {session.get_inputs()[0].name: tensor})[0]
    return logits


def bind(session: InferenceSession, tensor: NDArray[np.float32]) -> Callable[[], Any]:
    """One inference on a fixed tensor."""
    return partial(session.run, [session.get_outputs()[0].name], {session.get_inputs()[0].name: tensor})


def provider_used(session: InferenceSession) -> str:
    """The first execution provider that the session really has."""
    return str(session.get_providers()[0])
