"""What the parent and the measuring child say to each other, as JSON. Standard library only: the child times its own imports."""

from __future__ import annotations

from typing import Literal, NamedTuple

# When the memory pass reads the high-water mark.
MEMORY_STAGES = ("import", "load", "first", "end")


class MeasurementRules(NamedTuple):
    """Warm-up of so many runs AND seconds, then so many queries AND seconds; `cap_s` ends it whatever was reached."""

    warmup_runs: int
    warmup_s: float
    queries: int
    duration_s: float
    cap_s: float


class MeasurementJob(NamedTuple):
    """One pass over one model, for a child of its own. `settings` are the fields of SessionSettings."""

    kind: Literal["latency", "memory"]
    model: str
    settings: dict[str, str | int | bool | None]
    input_shape: tuple[int, ...]
    rules: MeasurementRules
    paced_s: float | None


class Started(NamedTuple):
    """What the latency pass found before its timed loop."""

    provider_used: str
    import_s: float
    load_s: float
    first_s: float
    warmup_runs: int
    load_before: float | None


class Block(NamedTuple):
    """The latencies since the last block and their median; the duration, the CPU seconds and the steal of the timed loop so far."""

    latencies_s: list[float]
    median_s: float
    duration_s: float
    cpu_s: float
    steal_s: float | None
    load_after: float | None


class LatencyRun(NamedTuple):
    """What the latency pass found so far; of the timed loop all latencies, and else as in its latest block."""

    start: Started
    latencies_s: list[float]
    duration_s: float = 0.0
    cpu_s: float = 0.0
    steal_s: float | None = None
    load_after: float | None = None


class MemoryRun(NamedTuple):
    """High-water marks after import, load, first run and at the end; None where they cannot be measured."""

    stages_bytes: dict[str, int | None]
