"""The measuring child: `python -m pepr_edge.measure.worker`, a MeasurementJob as JSON on stdin, lines of JSON on stdout.

Freshly exec'd, so that its peak memory and its cold start are its own. Until the timed import it imports nothing but the standard
library, and never pydantic, whose memory a device that only classifies would not need.
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
from typing import TYPE_CHECKING, Any, TextIO, cast

from pepr_edge.device.load import load_average, steal_s
from pepr_edge.errors import MeasurementError
from pepr_edge.measure.job import Block, MeasurementJob, MeasurementRules, MemoryRun, Started
from pepr_edge.measure.memory import peak_memory_bytes
from pepr_edge.measure.runtimes import RUNTIMES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pepr_edge.records import SessionSettings

Call = Callable[[], object]
Emit = Callable[[dict[str, Any]], None]

# Between two reports nothing runs but inferences and the clock.
REPORT_EVERY_S = 0.5
MEMORY_RUNS = 20
SEED = 0


def main() -> int:
    """Do the job on stdin. Exit status 1 with an "error" line where it cannot be done, or where nobody listens any more."""
    out = own_stdout()

    def emit(message: dict[str, Any]) -> None:
        out.write(json.dumps(message) + "\n")
        out.flush()

    given = json.loads(sys.stdin.read())
    job = MeasurementJob(**{**given, "rules": MeasurementRules(*given["rules"])})
    try:
        emit({"result": JOBS[job.kind](job, emit)})
    except MeasurementError as fault:
        emit({"error": str(fault)})
        return 1
    except BrokenPipeError:
        return 1  # The parent was killed: what we measure on is of no use to anybody.
    return 0


def own_stdout() -> TextIO:
    """Keep stdout for our lines: what a library prints goes to stderr."""
    ours = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return ours


def latency(job: MeasurementJob, emit: Emit) -> dict[str, Any]:
    """Cold start in its three parts, warm-up, then the timed loop. All that it finds goes out at once; the result adds nothing."""
    clock = time.perf_counter
    runtime, settings = RUNTIMES[str(job.settings["runtime"])], _settings(job)
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

    load_before = load_average()
    warm = warm_up(call, job.rules)
    started = Started(runtime.provider_used(session), import_s, load_s, first_s, len(warm), load_before)
    emit({"started": started._asdict()})
    timed(call, job.rules, job.paced_s, median(warm), emit)
    return {}


def memory(job: MeasurementJob, emit: Emit) -> dict[str, Any]:
    """High-water marks, in a pass in which nothing is timed."""
    runtime, settings = RUNTIMES[str(job.settings["runtime"])], _settings(job)
    stages: dict[str, int | None] = {}
    runtime.import_library()
    stages["import"] = peak_memory_bytes()
    session = runtime.open(Path(job.model), settings)
    stages["load"] = peak_memory_bytes()
    call = runtime.bind(session, noise(job.input_shape))
    call()
    stages["first"] = peak_memory_bytes()
    for _ in range(MEMORY_RUNS):
        call()
    stages["end"] = peak_memory_bytes()
    return MemoryRun(stages)._asdict()


JOBS: dict[str, Callable[[MeasurementJob, Emit], dict[str, Any]]] = {"latency": latency, "memory": memory}


def _settings(job: MeasurementJob) -> SessionSettings:
    return cast("SessionSettings", SimpleNamespace(**job.settings))


def noise(shape: Sequence[int]) -> NDArray[np.float32]:
    """Seeded normal noise. Without numpy.random, whose import would count in the memory of the model."""
    import numpy as np

    draw, count = random.Random(SEED), 1
    for size in shape:
        count *= size
    values = array("f", (draw.gauss(0.0, 1.0) for _ in range(count)))
    return np.frombuffer(values, dtype=np.float32).reshape(tuple(shape))


def warm_up(call: Call, rules: MeasurementRules) -> list[float]:
    """Inferences that do not count; their durations, seconds."""
    taken: list[float] = []
    begin = time.perf_counter()
    while len(taken) < rules.warmup_runs or time.perf_counter() - begin < rules.warmup_s:
        taken += single_stream(call, 1)
    return taken


def timed(call: Call, rules: MeasurementRules, paced_s: float | None, typical_s: float, emit: Emit) -> None:
    """Measure in blocks, until there are enough queries and enough time, or no more time. Each block is told as soon as it is done."""
    clock, cpu_clock = time.perf_counter, time.process_time
    queries, cpu_s, steal_before = 0, 0.0, steal_s()
    begin = clock()
    while True:
        count = max(1, int(REPORT_EVERY_S / max(typical_s, paced_s or 0.0, 1e-6)))
        cpu_begin = cpu_clock()
        taken = (
            single_stream(call, count)
            if paced_s is None
            else paced(call, count, paced_s, begin + queries * paced_s)
        )
        cpu_s += cpu_clock() - cpu_begin
        duration_s, queries, typical_s = clock() - begin, queries + count, median(taken)
        # The clock counts nanoseconds: the digits behind them are float noise, and half of a report's size.
        latencies_s, steal_now = [round(latency_s, 9) for latency_s in taken], steal_s()
        steal = None if steal_before is None or steal_now is None else max(0.0, steal_now - steal_before)
        emit({"block": Block(latencies_s, typical_s, duration_s, cpu_s, steal, load_average())._asdict()})
        if duration_s >= rules.cap_s or (queries >= rules.queries and duration_s >= rules.duration_s):
            return


def single_stream(call: Call, count: int) -> list[float]:
    """Latencies of inferences that follow each other, seconds."""
    clock = time.perf_counter
    taken = [0.0] * count
    for index in range(count):
        begin = clock()
        call()
        taken[index] = clock() - begin
    return taken


def paced(call: Call, count: int, paced_s: float, start: float) -> list[float]:
    """Latencies of inferences that start by a schedule, one every `paced_s`, with sleep in between; a late one starts at once."""
    clock = time.perf_counter
    taken = [0.0] * count
    for index in range(count):
        wait = start + index * paced_s - clock()
        if wait > 0:
            time.sleep(wait)
        begin = clock()
        call()
        taken[index] = clock() - begin
    return taken


if __name__ == "__main__":
    sys.exit(main())
