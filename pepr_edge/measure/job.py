"""Messages between a measurement process (`worker`) and its parent: one JSON document a line.

Standard library only, because the process times its own imports.

The parent starts the process and writes a MeasurementJob as the first line. The answers depend on its kind:
    "latency"  {"started": Started}, then {"block": Block} about twice a second, then {"result": {}}
    "memory"   {"result": MemoryRun}
    "serve"    {"ready": {...}}, then one answer to each command of the parent; see `model_process`
In place of any answer: {"error": message}.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

# When the memory pass reads the high-water mark.
MEMORY_STAGES = ("import", "load", "first", "end")


class MeasurementRules(NamedTuple):
    """How long to warm up and to measure.

    Both the number and the seconds are minima. `cap_s` ends the timed loop in any case.
    """

    warmup_runs: int
    warmup_s: float
    queries: int
    duration_s: float
    cap_s: float


class MeasurementJob(NamedTuple):
    """One model for one measurement process. `settings` are the fields of SessionSettings.

    Only the latency pass reads `rules`, which it needs, and `paced_s`.
    """

    kind: Literal["latency", "memory", "serve"]
    model: str
    settings: dict[str, str | int | bool | None]
    input_shape: tuple[int, ...]
    rules: MeasurementRules | None = None
    paced_s: float | None = None


class Started(NamedTuple):
    """Results of the latency pass before its timed loop."""

    provider_used: str
    import_s: float
    load_s: float
    first_s: float
    warmup_runs: int
    load_before: float | None


class Block(NamedTuple):
    """Latencies since the last block, and their median.

    The duration, the CPU seconds and the steal are of the whole timed loop so far.
    """

    latencies_s: list[float]
    median_s: float
    duration_s: float
    cpu_s: float
    steal_s: float | None
    load_after: float | None


class LatencyRun(NamedTuple):
    """Results of the latency pass so far: all latencies, block lengths, the latest figures."""

    start: Started
    latencies_s: list[float]
    blocks: list[int]
    duration_s: float = 0.0
    cpu_s: float = 0.0
    steal_s: float | None = None
    load_after: float | None = None


class TimedBlock(NamedTuple):
    """Answer of a process that is held open: the latencies of one block, its CPU seconds and the steal."""

    latencies_s: list[float]
    cpu_s: float
    steal_s: float | None


class MemoryRun(NamedTuple):
    """High-water marks after import, load, first run and at the end; None where they cannot be measured."""

    stages_bytes: dict[str, int | None]
