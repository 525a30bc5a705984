"""The measurement process: `python -m pepr_edge.measure.worker`.

The protocol is in `job` and `model_process`. It is a freshly exec'd process, so that its peak memory and its
cold start are its own. Until the timed import it imports only the standard library. It imports pydantic only
to preprocess images, since that memory is not needed on a device that only classifies.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from pepr_edge.device.load import load_average, steal_s
from pepr_edge.errors import MeasurementError
from pepr_edge.measure.job import (
    Block,
    MeasurementJob,
    MeasurementRules,
    MemoryRun,
    Started,
    TimedBlock,
)
from pepr_edge.measure.memory import peak_memory_bytes
from pepr_edge.measure.runtimes import RUNTIMES, Runtime

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Call = Callable[[], object]
Emit = Callable[[dict[str, Any]], None]

# Between two reports only inferences and the clock run.
REPORT_EVERY_S = 0.5
MEMORY_RUNS = 20
SEED = 0


def main(runtime: Runtime | None = None) -> int:
    """Do the job that stdin holds.

    Args:
        runtime: another module with the functions of a runtime, for a program of your own; None: the runtime
            that the settings name.
    Returns:
        The exit status: 1 if the job failed, after an "error" line, or if the parent process was killed.
    """
    out = own_stdout()

    def emit(message: dict[str, Any]) -> None:
        out.write(json.dumps(message) + "\n")
        out.flush()

    try:
        job = parse_job(sys.stdin.readline())
        JOBS[job.kind](job, runtime or RUNTIMES[str(job.settings["runtime"])], emit)
    except MeasurementError as error:
        # An error without text would be a row without a reason.
        emit({"error": str(error) or f"the runtime raised {type(error).__name__} without a reason."})
        return 1
    except BrokenPipeError:
        return 1  # The parent was killed: nobody reads the results.
    return 0


def parse_job(line: str) -> MeasurementJob:
    """Return the job that one line of JSON describes."""
    job = MeasurementJob(**json.loads(line))
    return job if job.rules is None else job._replace(rules=MeasurementRules(*job.rules))


def own_stdout() -> TextIO:
    """Return a stream to stdout for our lines only: output of the libraries goes to stderr from now on."""
    ours = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return ours


def latency(job: MeasurementJob, runtime: Runtime, emit: Emit) -> None:
    """Measure the cold start, warm up, then run the timed loop.

    All results are sent as soon as they are there.
    """
    assert job.rules is not None
    model = open_model(job, runtime)
    load_before = load_average()
    warm_s = warm_up(model.call, job.rules)
    provider = runtime.provider_used(model.session)
    started = Started(provider, model.import_s, model.load_s, model.first_s, len(warm_s), load_before)
    emit({"started": started._asdict()})
    timed(model.call, job.rules, job.paced_s, median(warm_s), emit)
    emit({"result": {}})


def memory(job: MeasurementJob, runtime: Runtime, emit: Emit) -> None:
    """Read the high-water marks, in a pass in which nothing is timed."""
    stages: dict[str, int | None] = {}
    runtime.import_library()
    stages["import"] = peak_memory_bytes()
    session = runtime.open(Path(job.model), _settings(job))
    stages["load"] = peak_memory_bytes()
    call = runtime.bind(session, noise(job.input_shape))
    call()
    stages["first"] = peak_memory_bytes()
    for _ in range(MEMORY_RUNS):
        call()
    stages["end"] = peak_memory_bytes()
    emit({"result": MemoryRun(stages)._asdict()})


def serve(job: MeasurementJob, runtime: Runtime, emit: Emit) -> None:
    """Open the model, then answer each command on stdin with a line, until stdin ends."""
    model = open_model(job, runtime)
    provider = runtime.provider_used(model.session)
    cold_start = {"import_s": model.import_s, "load_s": model.load_s, "first_s": model.first_s}
    emit({"ready": {**cold_start, "provider_used": provider}})
    for line in iter(sys.stdin.readline, ""):
        ((command, argument),) = json.loads(line).items()
        emit({command: COMMANDS[command](model, argument)})


JOBS: dict[str, Callable[[MeasurementJob, Runtime, Emit], None]] = {
    "latency": latency,
    "memory": memory,
    "serve": serve,
}


class OpenModel(NamedTuple):
    """A model held open, its inference bound to noise, and the three parts of its cold start."""

    runtime: Runtime
    session: Any
    call: Call
    import_s: float
    load_s: float
    first_s: float


def open_model(job: MeasurementJob, runtime: Runtime) -> OpenModel:
    """Import the runtime's library, load the model and run it once, each of them timed."""
    clock = time.perf_counter
    settings = _settings(job)
    begin = clock()
    runtime.import_library()
    import_s = clock() - begin
    tensor = noise(job.input_shape)
    begin = clock()
    session = runtime.open(Path(job.model), settings)
    load_s = clock() - begin
    begin = clock()
    call = runtime.bind(session, tensor)
    call()
    first_s = clock() - begin
    return OpenModel(runtime, session, call, import_s, load_s, first_s)


def _settings(job: MeasurementJob) -> Any:
    """Return an object with the attributes of SessionSettings, without importing pydantic."""
    return SimpleNamespace(**job.settings)


def _time(model: OpenModel, count: int) -> list[float]:
    return single_stream(model.call, count)


def _block(model: OpenModel, argument: dict[str, int]) -> dict[str, Any]:
    """Warm up again after other models ran, then time a block."""
    single_stream(model.call, argument["warmup_runs"])
    steal_before = steal_s()
    begin = time.process_time()
    latencies_s = single_stream(model.call, argument["runs"])
    cpu_s = time.process_time() - begin
    return TimedBlock(rounded(latencies_s), cpu_s, _steal_since(steal_before))._asdict()


def _memory(model: OpenModel, argument: None) -> int | None:
    return peak_memory_bytes()


def _logits(model: OpenModel, argument: dict[str, Any]) -> str:
    import numpy as np

    from pepr_edge.measure.selftest import session_answers
    from pepr_edge.records import Preprocess

    pixels = np.load(argument["pixels"], mmap_mode="r")
    preprocess = Preprocess(**argument["preprocess"])
    answers = session_answers(model.runtime, model.session, pixels, preprocess)
    if answers.novelty is not None and "novelty" in argument:
        np.save(argument["novelty"], answers.novelty)
    np.save(argument["logits"], answers.logits)
    return str(argument["logits"])


COMMANDS: dict[str, Callable[[OpenModel, Any], object]] = {
    "time": _time,
    "block": _block,
    "memory": _memory,
    "logits": _logits,
}


def noise(shape: Sequence[int]) -> NDArray[np.float32]:
    """Return seeded normal noise.

    It is made without numpy.random, whose import would count as the model's memory.
    """
    import numpy as np

    generator = random.Random(SEED)
    count = 1
    for size in shape:
        count *= size
    values = array("f", (generator.gauss(0.0, 1.0) for _ in range(count)))
    return np.frombuffer(values, dtype=np.float32).reshape(tuple(shape))


def warm_up(call: Call, rules: MeasurementRules) -> list[float]:
    """Run inferences that do not count, and return their durations in seconds."""
    latencies_s: list[float] = []
    begin = time.perf_counter()
    while len(latencies_s) < rules.warmup_runs or time.perf_counter() - begin < rules.warmup_s:
        latencies_s += single_stream(call, 1)
    return latencies_s


def timed(call: Call, rules: MeasurementRules, paced_s: float | None, typical_s: float, emit: Emit) -> None:
    """Measure in blocks, until there are enough queries and enough time, or no time is left.

    Each block is sent as soon as it is done.
    """
    clock = time.perf_counter
    queries = 0
    cpu_s = 0.0
    steal_before = steal_s()
    begin = clock()
    while True:
        count = max(1, int(REPORT_EVERY_S / max(typical_s, paced_s or 0.0, 1e-6)))
        cpu_begin = time.process_time()
        if paced_s is None:
            latencies_s = single_stream(call, count)
        else:
            latencies_s = paced(call, count, paced_s, begin + queries * paced_s)
        cpu_s += time.process_time() - cpu_begin
        duration_s = clock() - begin
        queries += count
        typical_s = median(latencies_s)

        steal = _steal_since(steal_before)
        block = Block(rounded(latencies_s), typical_s, duration_s, cpu_s, steal, load_average())
        emit({"block": block._asdict()})
        if duration_s >= rules.cap_s or (queries >= rules.queries and duration_s >= rules.duration_s):
            return


def _steal_since(before_s: float | None) -> float | None:
    """Return the CPU seconds that a hypervisor took since an earlier reading; None where they are unknown."""
    now_s = steal_s()
    return None if before_s is None or now_s is None else max(0.0, now_s - before_s)


def rounded(latencies_s: Sequence[float]) -> list[float]:
    """Round to nanoseconds, which the clock counts: further digits are noise, and half of a report's size."""
    return [round(latency_s, 9) for latency_s in latencies_s]


def single_stream(call: Call, count: int) -> list[float]:
    """Return latencies, in seconds, of inferences that follow each other."""
    clock = time.perf_counter
    latencies_s = [0.0] * count
    for index in range(count):
        begin = clock()
        call()
        latencies_s[index] = clock() - begin
    return latencies_s


def paced(call: Call, count: int, paced_s: float, start: float) -> list[float]:
    """Return latencies, in seconds, of inferences on a schedule: one every `paced_s`, asleep in between.

    A late inference starts at once.
    """
    clock = time.perf_counter
    latencies_s = [0.0] * count
    for index in range(count):
        wait = start + index * paced_s - clock()
        if wait > 0:
            time.sleep(wait)
        begin = clock()
        call()
        latencies_s[index] = clock() - begin
    return latencies_s


if __name__ == "__main__":
    sys.exit(main())
