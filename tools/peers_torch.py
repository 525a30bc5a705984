"""A trained module in PyTorch, eager or compiled, as a process that tools/peers.py measures.

    python tools/peers_torch.py eager|compile CANDIDATE

Uses the protocol of pepr_edge.measure.model_process.
CANDIDATE: pepr_edge.records.Candidate as JSON. The model file of the protocol is the candidate's checkpoint.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pepr_edge.errors import MeasurementError
from pepr_edge.measure import worker

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pepr_edge.records import SessionSettings

Module = Callable[[Any], Any]


def import_library() -> None:
    """Import the libraries."""
    # Without a pool of compiler processes beside the measured process.
    os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
    import timm  # noqa: F401
    import torch  # noqa: F401


def unavailable(provider: str = "cpu") -> str | None:
    """Return None: PyTorch is always available here."""
    return None


def open(model: Path, settings: SessionSettings) -> Module:
    """Return the module after one run: compilation is part of loading."""
    import torch

    from pepr_edge.records import Candidate
    from pepr_edge.train.models import restore

    torch.set_num_threads(settings.threads)
    torch.set_num_interop_threads(1)
    candidate = Candidate.model_validate_json(sys.argv[2])
    module = restore(candidate, model).eval()
    prepared = MODES[sys.argv[1]](module)
    # Made outside of inference mode, as the timed tensor is: torch.compile compiles again for the other kind.
    example = torch.zeros(1, candidate.in_channels, candidate.image_size_px, candidate.image_size_px)
    with torch.inference_mode():
        prepared(example)
    return prepared


def _eager(module: Any) -> Module:
    eager: Module = module
    return eager


def _compile(module: Any) -> Module:
    if shutil.which(os.environ.get("CXX", "g++")) is None:
        raise MeasurementError("torch.compile needs a C++ compiler, and there is no g++ here. Install it.")
    import torch

    compiled: Module = torch.compile(module)
    return compiled


MODES: dict[str, Callable[[Any], Module]] = {"eager": _eager, "compile": _compile}


def run(session: Module, tensor: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the logits of a tensor."""
    import torch

    with torch.inference_mode():
        logits: NDArray[np.float32] = session(torch.from_numpy(tensor)).numpy()
    return logits


def run_all(session: Module, tensor: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
    """Return the logits alone: a module has no second output."""
    return (run(session, tensor),)


def bind(session: Module, tensor: NDArray[np.float32]) -> Callable[[], object]:
    """Return a function that runs one inference on a fixed tensor."""
    import torch

    copy = torch.tensor(tensor)

    def call() -> object:
        with torch.inference_mode():
            return session(copy)

    return call


def provider_used(session: Module) -> str:
    """Return the library and the mode."""
    return f"torch {sys.argv[1]}"


def main() -> int:
    """Answer the parent's requests."""
    try:
        return worker.main(sys.modules[__name__])
    except Exception as fault:  # each pass of the compiler has its own exceptions
        lines = [line.strip() for line in str(fault).splitlines() if line.strip()]
        print(f"{type(fault).__name__}: {lines[0] if lines else ''}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
