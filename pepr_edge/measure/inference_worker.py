"""The process that runs the models of bundles: `python -m pepr_edge.measure.inference_worker`.

It answers each line of JSON on its stdin, an object with one key:
    {"import": "onnxruntime"}           {"import": "onnxruntime"}
    {"open": {"model": path, "settings": {...}, "input_shape": [1, 3, 224, 224], "classes": 2,
              "novelty": false, "memory_bytes": 600000000 or null}}
                                        {"open": "CPUExecutionProvider"}, or {"error": message}, with
                                        "library": true if no bundle is to blame
    {"run": [1, 3, 224, 224]}           {"run": [[0.1, 0.9]]}, or {"no_answer": message}; with the second
                                        output {"run": [[0.1, 0.9]], "novelty": [[1.2]]}
After the line "run" follow the bytes of the float32 tensor. It may open one model after the other.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from pepr_edge.errors import LibraryError, MeasurementError
from pepr_edge.measure.memory_limit import limit_memory
from pepr_edge.measure.model_check import answer_fault, model_fault, novelty_fault
from pepr_edge.measure.runtimes import RUNTIMES, Runtime
from pepr_edge.measure.worker import own_stdout
from pepr_edge.untrusted.shown import MESSAGE_CHARACTERS, one_line, shown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FLOAT32_BYTES = 4


class _Opened(NamedTuple):
    """A loaded model."""

    runtime: Runtime
    session: Any
    classes: int
    novelty: bool


class _Server:
    """Answers the commands of the parent."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._opened: _Opened | None = None

    def import_(self, runtime: str) -> dict[str, Any]:
        """Import the library of a runtime. What is missing is reported when a model is opened."""
        with suppress(Exception):  # libraries that do not fit each other can raise anything
            RUNTIMES[runtime].import_library()
        return {"import": runtime}

    def open(self, argument: dict[str, Any]) -> dict[str, Any]:
        """Load a model in place of the one before, and hold it against its manifest."""
        self._opened = None
        settings: Any = SimpleNamespace(**argument["settings"])
        runtime = RUNTIMES[settings.runtime]
        model = Path(argument["model"])
        name = shown(str(model))
        limit_memory(argument["memory_bytes"])
        try:
            session = runtime.open(model, settings)
            fault = model_fault(
                runtime.signature(session),
                argument["input_shape"],
                argument["classes"],
                argument["novelty"],
            )
        except LibraryError as error:
            return {"error": str(error), "library": True}
        except MeasurementError as error:
            return {"error": str(error)}
        except Exception as error:  # a broken model can make a runtime raise anything
            return {"error": f"{name}: {settings.runtime} cannot load this model ({one_line(error)})."}
        if fault is not None:
            return {"error": f"{name}: {fault}. Do not use this bundle."}
        self._opened = _Opened(runtime, session, argument["classes"], argument["novelty"])
        return {"open": runtime.provider_used(session)}

    def run(self, shape: Sequence[int]) -> dict[str, Any]:
        """Return the logits of a tensor, and the novelty if the model has it."""
        tensor = self._tensor(shape)
        opened = self._opened
        assert opened is not None
        try:
            logits, *others = opened.runtime.run_all(opened.session, tensor)
        except Exception as error:
            return {"no_answer": one_line(error, MESSAGE_CHARACTERS)}
        fault = answer_fault(logits, shape[0], opened.classes)
        if fault is None and opened.novelty:
            fault = novelty_fault(others[0] if others else None, shape[0])
        if fault is not None:
            return {"no_answer": fault}
        answer = {"run": logits.tolist()}
        return answer | {"novelty": others[0].tolist()} if opened.novelty else answer

    def _tensor(self, shape: Sequence[int]) -> NDArray[np.float32]:
        import numpy as np

        content = self._source.read(FLOAT32_BYTES * math.prod(shape))
        return np.frombuffer(content, np.float32).reshape(tuple(shape))


def main() -> int:
    """Answer until stdin ends."""
    out = own_stdout()
    server = _Server(sys.stdin.buffer)
    commands: dict[str, Callable[[Any], dict[str, Any]]] = {
        "import": server.import_,
        "open": server.open,
        "run": server.run,
    }
    for line in iter(sys.stdin.buffer.readline, b""):
        ((command, argument),) = json.loads(line).items()
        out.write(json.dumps(commands[command](argument)) + "\n")
        out.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
