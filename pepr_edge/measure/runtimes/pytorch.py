"""PyTorch, for workstations: on the CPU or an NVIDIA GPU. It imports torch only when a function needs it.

It does not read the ONNX file. It reads the exported program beside it, a file of `torch.export.save`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pepr_edge.errors import MeasurementError
from pepr_edge.measure.model_check import Signature
from pepr_edge.untrusted.shown import one_line, shown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pepr_edge.records import SessionSettings

PROGRAM = "program.pt2"
PROVIDERS = ("cpu", "cuda")


class Session(NamedTuple):
    """A loaded program and the device that its weights are on."""

    module: Any
    device: str


def import_library() -> None:
    """Import numpy and torch."""
    import numpy  # noqa: F401
    import torch  # noqa: F401


def unavailable(provider: str = "cpu") -> str | None:
    """Return why a provider cannot be used here, or None if it can."""
    if provider not in PROVIDERS:
        return f"the runtime pytorch is used with the providers 'cpu' and 'cuda' only, not with {provider!r}."
    try:
        import torch
    except ImportError as error:
        return f"torch cannot be imported ({error}). Run: pip install 'pepr_edge[train]'"
    if provider == "cuda" and not torch.cuda.is_available():
        return "this build of PyTorch finds no CUDA GPU. See https://pytorch.org/get-started/locally"
    if provider == "cuda" and importlib.util.find_spec("torch.export.passes") is None:
        advice = "Run: pip install --upgrade torch"
        return f"PyTorch {torch.__version__} cannot move a program to the GPU, 2.7 can. {advice}"
    return None


def open(model: Path, settings: SessionSettings) -> Session:
    """Load the program beside a model. Spinning, arena, graph optimisation and batch are ignored."""
    reason = unavailable(settings.provider)
    if reason is not None:
        raise MeasurementError(f"runtime 'pytorch' asked for, but {reason}")
    if settings.precision != "float32":
        raise MeasurementError(
            f"precision {settings.precision!r} asked for, but the runtime pytorch is used in float32. "
            "Use 'float32'."
        )
    program = model.with_name(PROGRAM)
    where = shown(str(program))
    if not program.is_file():
        raise MeasurementError(
            f"{where}: no such file. Bundles hold none, only run directories of recipes with "
            "device.runtime = \"pytorch\" do: use the runtime 'onnxruntime'."
        )
    import torch

    torch.set_num_threads(settings.threads)
    used = torch.get_num_threads()
    if used != settings.threads:
        raise MeasurementError(
            f"threads = {settings.threads} asked for, but PyTorch uses {used} here. Ask for {used}."
        )
    try:
        exported = torch.export.load(program)
        if settings.provider == "cuda":
            from torch.export.passes import move_to_device_pass

            # Otherwise convolutions are computed in TF32, and the figures are not those of float32.
            torch.backends.cudnn.allow_tf32 = False
            exported = move_to_device_pass(exported, "cuda")
        return Session(exported.module(), settings.provider)
    except Exception as error:
        message = one_line(str(error).replace(str(program), PROGRAM))
        raise MeasurementError(
            f"{where}: PyTorch cannot load this program ({type(error).__name__}: {message})."
        ) from None


def signature(session: Session) -> Signature:
    """Raise an error: bundles hold no program for PyTorch, so nothing is held against a manifest."""
    raise MeasurementError("the runtime pytorch runs no bundles. Use 'onnxruntime'.")


def run(session: Session, tensor: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the logits of a tensor."""
    logits: NDArray[np.float32] = _inference(session, tensor)().numpy()
    return logits


def run_all(session: Session, tensor: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
    """Return the logits alone: a program has no other output."""
    return (run(session, tensor),)


def bind(session: Session, tensor: NDArray[np.float32]) -> Callable[[], object]:
    """Return a function that runs one inference on a fixed tensor.

    It includes the copies to the GPU and back, as in onnxruntime: images come from the host.
    """
    return _inference(session, tensor)


def _inference(session: Session, tensor: NDArray[np.float32]) -> Callable[[], Any]:
    """Return a function that runs one inference and returns the logits as a tensor of PyTorch."""
    import torch

    host_tensor = torch.from_numpy(tensor)

    def call() -> Any:
        with torch.inference_mode():
            logits = session.module(host_tensor.to(session.device)).cpu()
        if session.device == "cuda":
            torch.cuda.synchronize()
        return logits

    return call


def threads_on(cores: int, threads: int) -> int:
    """Return all threads, on any number of cores."""
    return threads


def trial_settings(settings: SessionSettings) -> tuple[SessionSettings, ...]:
    """Return no settings: autotuning compares ONNX files, and PyTorch does not read them."""
    return ()


def option_grid(settings: SessionSettings) -> tuple[SessionSettings, ...]:
    """Return no settings, see `trial_settings`."""
    return ()


def provider_used(session: Session) -> str:
    """Return the device on which the weights are."""
    return f"pytorch {session.device}"
