"""A contestant's process: `python -m pepr_edge.measure.model_process_main`. The protocol is in `pepr_edge.measure.model_process`.

Like `worker`, it imports nothing but the standard library until it is told which runtime to use, and pydantic only for images.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from pepr_edge.errors import MeasurementError
from pepr_edge.measure.memory import peak_memory_bytes
from pepr_edge.measure.runtimes import RUNTIMES, Runtime
from pepr_edge.measure.worker import noise, own_stdout, single_stream

if TYPE_CHECKING:
    from pepr_edge.records import Preprocess, SessionSettings


class OpenModel(NamedTuple):
    """A model held open, and its inference bound to noise."""

    runtime: Runtime
    session: Any
    call: Callable[[], object]


def main() -> int:
    """Serve with the runtime that the settings name."""
    return serve()


def serve(runtime: Runtime | None = None) -> int:
    """Open the model of the first line of stdin, then answer a line with a line until stdin ends.

    Args:
        runtime: another module with a runtime's functions, for a program of one's own; None: the one that the settings name.
    Returns:
        The exit status: 1, after an "error" line, where the model cannot be used.
    """
    out = own_stdout()

    def answer(message: dict[str, Any]) -> None:
        out.write(json.dumps(message) + "\n")
        out.flush()

    try:
        opened, ready = _open(json.loads(sys.stdin.readline()), runtime)
        answer({"ready": ready})
        for line in iter(sys.stdin.readline, ""):
            ((word, given),) = json.loads(line).items()
            answer({word: COMMANDS[word](opened, given)})
    except MeasurementError as fault:
        answer({"error": str(fault)})
        return 1
    return 0


def _open(job: dict[str, Any], runtime: Runtime | None) -> tuple[OpenModel, dict[str, Any]]:
    clock = time.perf_counter
    settings = cast("SessionSettings", SimpleNamespace(**job["settings"]))
    runtime = RUNTIMES[settings.runtime] if runtime is None else runtime
    runtime.import_library()
    tensor = noise(job["input_shape"])
    begin = clock()
    session = runtime.open(Path(job["model"]), settings)
    load_s = clock() - begin
    begin = clock()
    call = runtime.bind(session, tensor)
    call()
    first_s = clock() - begin
    return OpenModel(runtime, session, call), {
        "load_s": load_s,
        "first_s": first_s,
        "provider_used": runtime.provider_used(session),
    }


def _time(opened: OpenModel, count: int) -> list[float]:
    return single_stream(opened.call, count)


def _memory(opened: OpenModel, given: None) -> int | None:
    return peak_memory_bytes()


def _logits(opened: OpenModel, given: dict[str, Any]) -> str:
    import numpy as np

    from pepr_edge.images.preprocess import to_tensor

    spec = cast("Preprocess", SimpleNamespace(**given["preprocess"]))
    pixels = np.load(given["pixels"], mmap_mode="r")
    found = [
        opened.runtime.run(opened.session, to_tensor(pixels[index : index + 1], spec))
        for index in range(len(pixels))
    ]
    np.save(given["logits"], np.concatenate(found))
    return str(given["logits"])


COMMANDS: dict[str, Callable[[OpenModel, Any], object]] = {
    "time": _time,
    "memory": _memory,
    "logits": _logits,
}

if __name__ == "__main__":
    sys.exit(main())
