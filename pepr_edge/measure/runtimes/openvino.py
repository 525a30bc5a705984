"""OpenVINO on the CPU, where it is installed (`pip install 'pepr_edge[openvino]'`)."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pepr_edge.errors import MeasurementError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pepr_edge.records import SessionSettings

# Our word for a precision -> OpenVINO's.
PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}
TELEMETRY = "openvino_telemetry"


def import_library() -> None:
    """Import numpy and openvino."""
    import numpy  # noqa: F401

    _library()


def _library() -> Any:
    """The library, without the package that reports its import over the network: where that is missing, OpenVINO has a stub for it.

    There is no switch for it in the environment, and a clinic's device has not been asked.
    """
    modules: dict[str, Any] = sys.modules
    absent = TELEMETRY not in modules
    if absent:
        modules[TELEMETRY] = None
    try:
        import openvino
    finally:
        if absent:
            del modules[TELEMETRY]
    return openvino


def unavailable(provider: str = "cpu") -> str | None:
    """Why a provider cannot be used here; None where it can."""
    if provider != "cpu":
        return f"the runtime openvino is used on the CPU only, not with the provider {provider!r}."
    try:
        _library()
    except ImportError as fault:
        return f"openvino cannot be imported ({fault}). Run: pip install 'pepr_edge[openvino]'"
    return None


def open(model: Path, settings: SessionSettings) -> Any:
    """Load a model. Arena and graph optimisation have no counterpart here; threads never spin."""
    if (reason := unavailable(settings.provider)) is not None:
        raise MeasurementError(f"runtime 'openvino' asked for, but {reason}")
    if not model.is_file():
        raise MeasurementError(f"{model}: no such file, expected an ONNX model.")
    # Left alone it uses bfloat16 where the CPU has it, and the logits are no longer those of the file.
    asked = PRECISIONS[settings.precision]
    hints = {
        "INFERENCE_NUM_THREADS": settings.threads,
        "INFERENCE_PRECISION_HINT": asked,
        "PERFORMANCE_HINT": "LATENCY",
    }
    core = _library().Core()
    try:
        network = core.read_model(str(model))
        if settings.batch is not None:
            # Up to twice as fast as with a batch of any size.
            shape = network.inputs[0].partial_shape
            shape[0] = settings.batch
            network.reshape(shape)
        session = core.compile_model(network, "CPU", hints)
    except RuntimeError as fault:
        words = " ".join(str(fault).replace(str(model), model.name).split())
        raise MeasurementError(f"{model}: openvino cannot load this model ({words}).") from None
    used = session.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    if used != asked:
        raise MeasurementError(
            f"{model}: precision {settings.precision!r} asked for, but openvino computes in {used} on this CPU. "
            + ("Use the precision 'float32'." if asked != "f32" else "Use the runtime 'onnxruntime'.")
        )
    return session


def run(session: Any, tensor: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logits of a tensor."""
    logits: NDArray[np.float32] = session([tensor])[0]
    return logits


def bind(session: Any, tensor: NDArray[np.float32]) -> Callable[[], Any]:
    """One inference on a fixed tensor, without the copies into and out of a new request."""
    request = session.create_infer_request()
    return partial(request.infer, [tensor], share_inputs=True, share_outputs=True)


def provider_used(session: Any) -> str:
    """The device that the model was compiled for."""
    return f"openvino {','.join(session.get_property('EXECUTION_DEVICES'))}"
