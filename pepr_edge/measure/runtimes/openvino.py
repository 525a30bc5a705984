"""OpenVINO on the CPU, where it is installed (`pip install 'pepr_edge[openvino]'`)."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pepr_edge.errors import MeasurementError
from pepr_edge.measure.model_check import FLOAT32, Port, Signature
from pepr_edge.untrusted.shown import one_line, shown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pepr_edge.records import SessionSettings

# Our name of a precision -> OpenVINO's.
PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}
# OpenVINO's name of a type -> numpy's.
TYPES = {"f32": FLOAT32}
TELEMETRY = "openvino_telemetry"


def import_library() -> None:
    """Import numpy and openvino."""
    import numpy  # noqa: F401

    _library()


def _library() -> Any:
    """Import the library without its telemetry package, which reports the import over the network.

    If that package is missing, OpenVINO uses a stub. There is no environment variable that switches it off,
    and a clinic has not agreed to it.
    """
    modules: dict[str, Any] = sys.modules
    is_blocked = TELEMETRY not in modules
    if is_blocked:
        modules[TELEMETRY] = None
    try:
        import openvino
    finally:
        if is_blocked:
            del modules[TELEMETRY]
    return openvino


def unavailable(provider: str = "cpu") -> str | None:
    """Return why a provider cannot be used here, or None if it can."""
    if provider != "cpu":
        return f"the runtime openvino is used on the CPU only, not with the provider {provider!r}."
    try:
        _library()
    except ImportError as error:
        return f"openvino cannot be imported ({error}). Run: pip install 'pepr_edge[openvino]'"
    return None


def open(model: Path, settings: SessionSettings) -> Any:
    """Load a model and return its session. Arena and graph optimisation are ignored; threads never spin."""
    reason = unavailable(settings.provider)
    if reason is not None:
        raise MeasurementError(f"runtime 'openvino' asked for, but {reason}")
    where = shown(str(model))
    if not model.is_file():
        raise MeasurementError(f"{where}: no such file, expected an ONNX model.")
    # By default OpenVINO uses bfloat16 if the CPU supports it, which changes the logits.
    hints = {
        "INFERENCE_NUM_THREADS": settings.threads,
        "INFERENCE_PRECISION_HINT": PRECISIONS[settings.precision],
        "PERFORMANCE_HINT": "LATENCY",
    }
    core = _library().Core()
    try:
        network = core.read_model(str(model))
        if settings.batch is not None:
            # Up to twice as fast as with a dynamic batch.
            shape = network.inputs[0].partial_shape
            shape[0] = settings.batch
            network.reshape(shape)
        session = core.compile_model(network, "CPU", hints)
        if _threads(session) != settings.threads:
            # For a low latency OpenVINO uses one thread for each physical core, unless told otherwise.
            session = core.compile_model(network, "CPU", {**hints, "ENABLE_HYPER_THREADING": True})
    except Exception as error:  # a broken model can make it raise anything
        message = one_line(str(error).replace(str(model), model.name))
        raise MeasurementError(f"{where}: openvino cannot load this model ({message}).") from None
    _check_used(session, where, settings)
    return session


def _threads(session: Any) -> int:
    """Return the number of threads that a session really uses: at most the cores of this machine."""
    return int(session.get_property("INFERENCE_NUM_THREADS"))


def _check_used(session: Any, where: str, settings: SessionSettings) -> None:
    """Raise a MeasurementError if OpenVINO uses another precision or number of threads than asked for."""
    used = session.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    if used != PRECISIONS[settings.precision]:
        advice = "runtime 'onnxruntime'" if settings.precision == "float32" else "precision 'float32'"
        raise MeasurementError(
            f"{where}: precision {settings.precision!r} asked for, but openvino computes in {used} on this "
            f"CPU. Use the {advice}."
        )
    threads = _threads(session)
    if threads != settings.threads:
        raise MeasurementError(
            f"{where}: threads = {settings.threads} asked for, but openvino uses {threads} here. "
            f"Ask for {threads}, or use the runtime 'onnxruntime'."
        )


def signature(session: Any) -> Signature:
    """Return the inputs and outputs of the model."""
    ports = [tuple(map(_port, values)) for values in (session.inputs, session.outputs)]
    return Signature(*ports)


def _port(value: Any) -> Port:
    name = value.element_type.get_type_name()
    shape = value.partial_shape
    if shape.rank.is_dynamic:
        return Port(TYPES.get(name, name), None)
    sizes = tuple(size.get_length() if size.is_static else None for size in shape)
    return Port(TYPES.get(name, name), sizes)


def run(session: Any, tensor: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the logits of a tensor."""
    return run_all(session, tensor)[0]


def run_all(session: Any, tensor: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
    """Return all outputs of a model."""
    try:
        results = session([tensor])
        return tuple(results[index] for index in range(len(session.outputs)))
    except Exception as error:
        raise MeasurementError(f"openvino cannot run this model ({one_line(error)})") from None


def bind(session: Any, tensor: NDArray[np.float32]) -> Callable[[], object]:
    """Return a function that runs one inference on a fixed tensor.

    It reuses one request, and neither input nor output is copied.
    """
    request = session.create_infer_request()
    return partial(request.infer, [tensor], share_inputs=True, share_outputs=True)


def threads_on(cores: int, threads: int) -> int:
    """Return at most one thread for each core."""
    return min(threads, cores)


def trial_settings(settings: SessionSettings) -> tuple[SessionSettings, ...]:
    """Return the settings with which autotuning tries every file."""
    return (settings, settings.model_copy(update={"precision": "bfloat16"}))


def option_grid(settings: SessionSettings) -> tuple[SessionSettings, ...]:
    """Return the other settings that autotuning tries with the best file."""
    return ()


def provider_used(session: Any) -> str:
    """Return the device for which the model was compiled."""
    return f"openvino {','.join(session.get_property('EXECUTION_DEVICES'))}"
