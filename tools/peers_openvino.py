"""OpenVINO with its own defaults except for the threads, as a process that tools/peers.py measures.

    python tools/peers_openvino.py

Uses the protocol of pepr_edge.measure.model_process. pepr_edge's own runtime always sets the precision; by
default OpenVINO uses bfloat16 if the processor has it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from pepr_edge.errors import MeasurementError
from pepr_edge.measure import worker
from pepr_edge.measure.runtimes import openvino

if TYPE_CHECKING:
    from pepr_edge.records import SessionSettings


def open(model: Path, settings: SessionSettings) -> Any:
    """Load a model."""
    from openvino import Core

    try:
        return Core().compile_model(str(model), "CPU", {"INFERENCE_NUM_THREADS": settings.threads})
    except RuntimeError as fault:
        raise MeasurementError(
            f"{model.name}: openvino cannot load this model ({' '.join(str(fault).split())})."
        ) from None


def provider_used(session: Any) -> str:
    """Return the device and the precision in use."""
    precision = session.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    return f"{openvino.provider_used(session)}, {precision}"


def runtime() -> Any:
    """Return pepr_edge's module of OpenVINO, with the two functions above in place of its own."""
    return SimpleNamespace(**{**vars(openvino), "open": open, "provider_used": provider_used})


def main() -> int:
    """Answer the parent's requests."""
    return worker.main(runtime())


if __name__ == "__main__":
    sys.exit(main())
