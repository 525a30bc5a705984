"""PyTorch, for workstations: on the CPU or an NVIDIA GPU. The one module of the field that imports it, and only when it is asked to.

It does not read the ONNX file but the exported program that lies beside it, as `torch.export.save` writes it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pepr_edge.errors import MeasurementError

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
    """Why a provider cannot be used here; None where it can."""
    if provider not in PROVIDERS:
        return f"the runtime pytorch is used with the providers 'cpu' and 'cuda' only, not with {provider!r}."
    try:
        import torch
    except ImportError as fault:
        return f"torch cannot be imported ({fault}). Run: pip install 'pepr_edge[train]'"
    if provider == "cuda" and not torch.cuda.is_available():
        return "this build of PyTorch finds no CUDA GPU. See https://pytorch.org/get-started/locally"
    if provider == "cuda" and importlib.util.find_spec("torch.export.passes") is None:
        return f"PyTorch {torch.__version__} cannot move a program to the GPU, 2.7 can. Run: pip install --upgrade torch"
    return None


def open(model: Path, settings: SessionSettings) -> Session:
    """Load the program beside a model. Spinning, arena and graph optimisation have no counterpart here; it takes any batch."""
    if (reason := unavailable(settings.provider)) is not None:
        raise MeasurementError(f"runtime 'pytorch' asked for, but {reason}")
    if settings.precision != "float32":
        raise MeasurementError(
            f"precision {settings.precision!r} asked for, but the runtime pytorch is used in float32. Use 'float32'."
        )
    program = model.with_name(PROGRAM)
    if not program.is_file():
        raise MeasurementError(
            f'{program}: no such file. Bundles hold none, only run directories of recipes with device.runtime = "pytorch" do: '
            "use the runtime 'onnxruntime'."
        )
    import torch

    torch.set_num_threads(settings.threads)
    try:
        exported = torch.export.load(program)
        if settings.provider == "cuda":
            from torch.export.passes import move_to_device_pass

            # Else convolutions are computed in TF32, and the figures would not be those of float32.
            torch.backends.cudnn.allow_tf32 = False
            exported = move_to_device_pass(exported, "cuda")
        return Session(exported.module(), settings.provider)
    except Exception as fault:
        words = " ".join(str(fault).replace(str(program), PROGRAM).split())
        raise MeasurementError(
            f"{program}: PyTorch cannot load this program ({type(fault).__name__}: {words})."
        ) from None


def run(session: Session, tensor: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logits of a tensor."""
    logits: NDArray[np.float32] = bind(session, tensor)().numpy()
    return logits


def bind(session: Session, tensor: NDArray[np.float32]) -> Callable[[], Any]:
    """One inference on a fixed tensor. The ways to the GPU and back are a part of it, as in onnxruntime: images come from the host."""
    import torch

    given = torch.from_numpy(tensor)

    def call() -> Any:
        with torch.inference_mode():
            logits = session.module(given.to(session.device)).cpu()
        if session.device == "cuda":
            torch.cuda.synchronize()
        return logits

    return call


def provider_used(session: Session) -> str:
    """The device that the weights are on."""
    return f"pytorch {session.device}"
