"""ONNX Runtime. `pepr_edge.__init__` switches its telemetry off before it can be imported."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from pepr_edge.errors import LibraryError, MeasurementError
from pepr_edge.measure.model_check import FLOAT32, Port, Signature
from pepr_edge.untrusted.shown import is_plain, one_line, shown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from onnxruntime import InferenceSession, NodeArg, SessionOptions

    from pepr_edge.records import Provider, SessionSettings

CUDA = "CUDAExecutionProvider"
# Provider -> execution providers offered to the session, in this order. The first must be the one that runs;
# the others take the nodes that it does not support.
PROVIDERS = {
    "cpu": ("CPUExecutionProvider",),
    "cuda": (CUDA, "CPUExecutionProvider"),
    "tensorrt": ("TensorrtExecutionProvider", CUDA, "CPUExecutionProvider"),
    "directml": ("DmlExecutionProvider", "CPUExecutionProvider"),
}
# How to install a provider.
ADVICE = {
    "cpu": "Run: pip install onnxruntime",
    "cuda": "On a machine with an NVIDIA GPU, run: pip install onnxruntime-gpu",
    "tensorrt": "On a machine with an NVIDIA GPU and TensorRT, run: pip install onnxruntime-gpu",
    "directml": "On Windows with a DirectX 12 GPU, run: pip install onnxruntime-directml",
}
# Other requirements of a provider.
REQUIREMENTS = {
    "cuda": "the libraries of CUDA and cuDNN, or the GPU,",
    "tensorrt": "the libraries of TensorRT, CUDA and cuDNN, or the GPU,",
    "directml": "DirectX 12, or the GPU,",
}
# Name that our exporters give to the first dimension of the input and output.
BATCH = "batch"
# onnxruntime's name of a type -> numpy's.
TYPES = {"tensor(float)": FLOAT32}
OPTIMISATION = {
    "all": "ORT_ENABLE_ALL",
    "extended": "ORT_ENABLE_EXTENDED",
    "basic": "ORT_ENABLE_BASIC",
    "none": "ORT_DISABLE_ALL",
}
# Messages of ONNX Runtime below "fatal" are either raised as well or of no use to users.
ONLY_FATAL = 4


def import_library() -> None:
    """Import numpy and onnxruntime."""
    import numpy  # noqa: F401
    import onnxruntime  # noqa: F401


def unavailable(provider: str = "cpu") -> str | None:
    """Return why a provider cannot be used here, or None if it can."""
    fault = import_fault()
    if fault is not None:
        return fault
    import onnxruntime

    available = onnxruntime.get_available_providers()
    name = PROVIDERS[provider][0]
    return None if name in available else f"onnxruntime has no {name} here, only {', '.join(available)}."


def import_fault() -> str | None:
    """Return why numpy and onnxruntime cannot be imported, or None if they can.

    If they were built for each other's earlier versions, their import can raise anything.
    """
    try:
        import_library()
    except ModuleNotFoundError as error:
        return f"onnxruntime cannot be imported ({one_line(error)})."
    except Exception as error:
        return f"numpy and onnxruntime cannot be imported together ({one_line(error)})."
    return None


def open(model: Path, settings: SessionSettings) -> InferenceSession:
    """Load a model and return its session. No setting is ignored."""
    fault = import_fault()
    if fault is not None:
        raise LibraryError(f"{fault} Run: pip install --upgrade numpy onnxruntime")
    reason = unavailable(settings.provider)
    if reason is not None:
        raise MeasurementError(
            f"provider {settings.provider!r} asked for, but {reason} {ADVICE[settings.provider]}"
        )
    _check(settings)
    where = shown(str(model))
    if not model.is_file():
        raise MeasurementError(f"{where}: no such file, expected an ONNX model.")
    if not is_plain(str(model)):
        raise MeasurementError(f"{where}: onnxruntime opens paths in UTF-8 only. Rename the folder.")
    import onnxruntime

    onnxruntime.set_default_logger_severity(ONLY_FATAL)
    try:
        session = onnxruntime.InferenceSession(
            str(model), _options(settings), providers=_providers(settings.provider)
        )
    except Exception as error:
        # Its message holds line breaks and the absolute path.
        message = one_line(str(error).replace(str(model), model.name))
        raise MeasurementError(f"{where}: onnxruntime cannot load this model ({message}).") from None
    session.disable_fallback()
    used = provider_used(session)
    if used != PROVIDERS[settings.provider][0]:
        raise MeasurementError(
            f"provider {settings.provider!r} asked for, but onnxruntime fell back to {used}: "
            f"{REQUIREMENTS[settings.provider]} cannot be used. Fix that, or use the provider 'cpu'."
        )
    return session


def _providers(provider: Provider) -> list[str | tuple[str, dict[str, str]]]:
    """Return the execution providers with their options: on a GPU float32 is not computed as TF32."""
    return [(name, {"use_tf32": "0"}) if name == CUDA else name for name in PROVIDERS[provider]]


def _check(settings: SessionSettings) -> None:
    """Raise a MeasurementError for a setting that onnxruntime does not support."""
    if settings.precision != "float32":
        raise MeasurementError(
            f"precision {settings.precision!r} asked for, but onnxruntime computes in the precision of the "
            "file. Use the runtime 'openvino', or the precision 'float32'."
        )
    if settings.graph_optimisation not in OPTIMISATION:
        levels = ", ".join(OPTIMISATION)
        raise MeasurementError(
            f"graph_optimisation = {settings.graph_optimisation!r}, expected one of {levels}."
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
        # It has no effect on a file with another name for the dimension.
        options.add_free_dimension_override_by_name(BATCH, settings.batch)
    if settings.provider == "directml":
        # DirectML supports neither. Source: ONNX Runtime's documentation of the DirectML execution provider.
        options.enable_mem_pattern = False
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    return options


def signature(session: InferenceSession) -> Signature:
    """Return the inputs and outputs of the model."""
    ports = [tuple(map(_port, values)) for values in (session.get_inputs(), session.get_outputs())]
    return Signature(*ports)


def _port(value: NodeArg) -> Port:
    """Return an input or output. For a shape that is not known, onnxruntime gives that of a scalar."""
    dtype = TYPES.get(value.type, str(value.type))
    sizes = tuple(size if isinstance(size, int) else None for size in value.shape)
    return Port(dtype, sizes or None)


def run(session: InferenceSession, tensor: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the logits of a tensor."""
    return run_all(session, tensor)[0]


def run_all(session: InferenceSession, tensor: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
    """Return all outputs of a model."""
    try:
        return tuple(session.run(None, {session.get_inputs()[0].name: tensor}))
    except Exception as error:  # its errors have no common class of their own
        raise MeasurementError(f"onnxruntime cannot run this model ({one_line(error)})") from None


def bind(session: InferenceSession, tensor: NDArray[np.float32]) -> Callable[[], object]:
    """Return a function that runs one inference on a fixed tensor."""
    outputs = [output.name for output in session.get_outputs()]
    return partial(session.run, outputs, {session.get_inputs()[0].name: tensor})


def threads_on(cores: int, threads: int) -> int:
    """Return all threads, on any number of cores."""
    return threads


def trial_settings(settings: SessionSettings) -> tuple[SessionSettings, ...]:
    """Return the settings with which autotuning tries every file."""
    return (settings,)


def option_grid(settings: SessionSettings) -> tuple[SessionSettings, ...]:
    """Return the other settings that autotuning tries with the best file."""
    spinning_values = (False, True) if settings.threads > 1 else (False,)
    grid = [
        settings.model_copy(update={"spinning": spinning, "arena": arena, "graph_optimisation": level})
        for spinning, arena, level in product(spinning_values, (True, False), ("all", "extended"))
    ]
    return tuple(candidate for candidate in grid if candidate != settings)


def provider_used(session: InferenceSession) -> str:
    """Return the first execution provider that the session really has."""
    return str(session.get_providers()[0])
