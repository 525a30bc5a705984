"""What measures, in a process of its own that was freshly exec'd: `python -m pepr_edge.field.child`, a job in JSON on stdin.

Two passes, each in its own process: "latency" takes times, "memory" high-water marks; never both at once. On stdout, one JSON object a
line: {"progress": ...} now and then, {"result": ...} at the end. Only the standard library is imported before the clock runs.
"""

import json
import os
import sys
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TextIO

TELL_EVERY_S = 0.5
MEMORY_RUNS = 20
LATEST = 200  # latencies that the running median is of


def main() -> None:
    """Keep stdout for the lines alone: whatever a library prints goes to stderr."""
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    job = json.load(sys.stdin)
    _tell(out, {"result": PASSES[job["pass"]](job, lambda progress: _tell(out, {"progress": progress}))})


def _tell(out: TextIO, line: dict[str, Any]) -> None:
    out.write(json.dumps(line) + "\n")
    out.flush()


def _prepare(job: dict[str, Any], mark: Callable[[str], None]) -> tuple[Any, Any, Callable[[], object]]:
    """Import, load, and bind one inference; `mark` is called after import and after load."""
    import numpy as np

    if job["runtime"] == "onnxruntime":
        import onnxruntime  # noqa: F401 - its import is part of what is measured
    else:
        import openvino  # noqa: F401
    mark("import")
    from pepr_edge.field.runtimes import RUNTIMES

    runtime = RUNTIMES[job["runtime"]]
    session = runtime.open(Path(job["model"]), SimpleNamespace(**job["settings"]))  # type: ignore[arg-type]
    mark("load")
    tensor = np.random.default_rng(0).standard_normal(job["input_shape"], dtype=np.float32)
    return runtime, session, runtime.bind(session, tensor)


def latency_pass(job: dict[str, Any], tell: Callable[[dict[str, float]], None]) -> dict[str, Any]:
    """Import, load and first inference apart; warm-up; then every latency, raw."""
    clock, marks = time.perf_counter, {"start": time.perf_counter()}
    runtime, session, infer = _prepare(job, lambda name: marks.update({name: clock()}))
    begin = clock()
    infer()
    first_s = clock() - begin
    rules, pace_s = job["rules"], job["paced_s"]
    warmup_runs = _warm_up(infer, rules)
    latencies, elapsed_s, cpu_s = (_paced if pace_s else _back_to_back)(infer, rules, pace_s, tell)
    return {
        "import_s": marks["import"] - marks["start"],
        "load_s": marks["load"] - marks["import"],
        "first_s": first_s,
        "warmup_runs": warmup_runs,
        "latencies_s": list(latencies),
        "duration_s": elapsed_s,
        "cpu_s_per_inference": cpu_s / len(latencies),
        "provider_used": runtime.provider_used(session),
    }


def _warm_up(infer: Callable[[], object], rules: dict[str, float]) -> int:
    begin, runs = time.perf_counter(), 0
    while runs < rules["warmup_runs"] or time.perf_counter() - begin < rules["warmup_s"]:
        infer()
        runs += 1
    return runs


def _back_to_back(
    infer: Callable[[], object], rules: dict[str, float], pace_s: None, tell: Callable[[dict[str, float]], None]
) -> tuple["array[float]", float, float]:
    """Single stream: the next query starts when the one before has ended."""
    clock, latencies = time.perf_counter, array("d")
    keep, queries, duration_s, cap_s = latencies.append, rules["queries"], rules["duration_s"], rules["cap_s"]
    cpu, begin = time.process_time(), clock()
    next_word = begin + TELL_EVERY_S
    while True:
        start = clock()
        infer()
        end = clock()
        keep(end - start)
        elapsed = end - begin
        if elapsed >= duration_s and (len(latencies) >= queries or elapsed >= cap_s):
            return latencies, elapsed, time.process_time() - cpu
        if end >= next_word:
            tell(_progress(latencies, elapsed, rules))
            next_word = end + TELL_EVERY_S


def _paced(
    infer: Callable[[], object], rules: dict[str, float], pace_s: float, tell: Callable[[dict[str, float]], None]
) -> tuple["array[float]", float, float]:
    """One image every pace_s seconds, as in a clinic; asleep in between. A query that is late starts at once."""
    clock, latencies = time.perf_counter, array("d")
    cpu, begin = time.process_time(), clock()
    next_word = begin + TELL_EVERY_S
    while True:
        wait = begin + len(latencies) * pace_s - clock()
        if wait > 0:
            time.sleep(wait)
        start = clock()
        infer()
        end = clock()
        latencies.append(end - start)
        elapsed = end - begin
        if elapsed >= rules["duration_s"] and (len(latencies) >= rules["queries"] or elapsed >= rules["cap_s"]):
            return latencies, elapsed, time.process_time() - cpu
        if end >= next_word:
            tell(_progress(latencies, elapsed, rules))
            next_word = end + TELL_EVERY_S


def _progress(latencies: "array[float]", elapsed_s: float, rules: dict[str, float]) -> dict[str, float]:
    latest = sorted(latencies[-LATEST:])
    share = min(1.0, elapsed_s / rules["duration_s"], len(latencies) / rules["queries"])
    return {"share": share, "median_s": latest[len(latest) // 2]}


def memory_pass(job: dict[str, Any], tell: Callable[[dict[str, float]], None]) -> dict[str, Any]:
    """High-water marks after import, after load, after the first inference, and at the end."""
    from pepr_edge.field.memory import peak_memory_bytes

    stages: dict[str, int | None] = {}
    _, _, infer = _prepare(job, lambda name: stages.update({name: peak_memory_bytes()}))
    infer()
    stages["first"] = peak_memory_bytes()
    for _ in range(MEMORY_RUNS):
        infer()
    stages["end"] = peak_memory_bytes()
    return {"memory_stages_bytes": stages}


PASSES: dict[str, Callable[..., dict[str, Any]]] = {"latency": latency_pass, "memory": memory_pass}

if __name__ == "__main__":
    main()
