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

    from pepr_edge.records import Provider, SessionSettings

# Name -> what the session is offered, in this order. The first must be the one that runs; the others take the nodes that it cannot.
CUDA = "CUDAExecutionProvider"
PROVIDERS = {
    "cpu": ("CPUExecutionProvider",),
    "cuda": (CUDA, "CPUExecutionProvider"),
    "tensorrt": ("TensorrtExecutionProvider", CUDA, "CPUExecutionProvider"),
    "directml": ("DmlExecutionProvider", "CPUExecutionProvider"),
}
# What has to be installed for a provider, and what it needs besides.
ADVICE = {
    "cpu": "Run: pip install onnxruntime",
    "cuda": "On a machine with an NVIDIA GPU, run: pip install onnxruntime-gpu",
    "tensorrt": "On a machine with an NVIDIA GPU and TensorRT, run: pip install onnxruntime-gpu",
    "directml": "On Windows with a DirectX 12 GPU, run: pip install onnxruntime-directml",
}
NEEDS = {
    "cuda": "the libraries of CUDA and cuDNN, or the GPU,",
    "tensorrt": "the libraries of TensorRT, CUDA and cuDNN, or the GPU,",
    "directml": "DirectX 12, or the GPU,",
}
# By this name our exporters call the first dimension of a model's input and output.
BATCH = "batch"
OPTIMISATION = {
    "all": "ORT_ENABLE_ALL",
    "extended": "ORT_ENABLE_EXTENDED",
    "basic": "ORT_ENABLE_BASIC",
    "none": "ORT_DISABLE_ALL",
}
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
    wanted = PROVIDERS[provider][0]
    return None if wanted in there else f"onnxruntime has no {wanted} here, only {', '.join(there)}."


def open(model: Path, settings: SessionSettings) -> InferenceSession:
    """Load a model."""
    if (reason := unavailable(settings.provider)) is not None:
        raise MeasurementError(
            f"provider {settings.provider!r} asked for, but {reason} {ADVICE[settings.provider]}"
        )
    _check(settings)
    if not model.is_file():
        raise MeasurementError(f"{model}: no such file, expected an ONNX model.")
    import onnxruntime

    onnxruntime.set_default_logger_severity(ONLY_FATAL)
    try:
        session = onnxruntime.InferenceSession(
            str(model), _options(settings), providers=_providers(settings.provider)
        )
    except Exception as fault:
        # Its own words hold line breaks and the absolute path.
        words = " ".join(str(fault).replace(str(model), model.name).split())
        raise MeasurementError(f"{model}: onnxruntime cannot load this model ({words}).") from None
    session.disable_fallback()
    if provider_used(session) != PROVIDERS[settings.provider][0]:
        raise MeasurementError(
            f"provider {settings.provider!r} asked for, but onnxruntime fell back to {provider_used(session)}: "
            f"{NEEDS[settings.provider]} cannot be used. Mend them, or use the provider 'cpu'."
        )
    return session


def _providers(provider: Provider) -> list[str | tuple[str, dict[str, str]]]:
    """What is asked of onnxruntime: on a GPU float32 as it is, not as TF32."""
    return [(name, {"use_tf32": "0"}) if name == CUDA else name for name in PROVIDERS[provider]]


def _check(settings: SessionSettings) -> None:
    if settings.precision != "float32":
        raise MeasurementError(
            f"precision {settings.precision!r} asked for, but onnxruntime computes in what the file has. "
            "Use the runtime 'openvino', or the precision 'float32'."
        )
    if settings.graph_optimisation not in OPTIMISATION:
        raise MeasurementError(
            f"graph_optimisation = {settings.graph_optimisation!r}, expected one of {', '.join(OPTIMISATION)}."
        )


def _options(settings: SessionSettings) -> SessionOptions:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = ONLY_FATAL
    options.intra_op_num_threads = settings.threads
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = settings.arena
    options.graph_optimization_level = getattr(
        onnxruntime.GraphOptimizationLevel, OPTIMISATION[settings.graph_optimisation]
    )
    for key in ("session.intra_op.allow_spinning", "session.inter_op.allow_spinning"):
        options.add_session_config_entry(key, str(int(settings.spinning)))
    if settings.batch is not None:
        # Of no effect on a file that calls the dimension otherwise.
        options.add_free_dimension_override_by_name(BATCH, settings.batch)
    if settings.provider == "directml":
        # It can do neither. Source: ONNX Runtime's documentation of the DirectML execution provider.
        options.enable_mem_pattern = False
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
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
