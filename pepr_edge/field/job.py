"""What the parent and the measuring child say to each other, as JSON. Standard library only: the child times its own imports."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Rules(NamedTuple):
    """Warm-up of so many runs AND seconds, then so many queries AND seconds; `cap_s` ends it whatever was reached."""

    warmup_runs: int
    warmup_s: float
    queries: int
    duration_s: float
    cap_s: float


class Job(NamedTuple):
    """One pass over one model, for a child of its own. `settings` are the fields of SessionSettings."""

    kind: Literal["latency", "memory"]
    model: str
    settings: dict[str, str | int | bool | None]
    input_shape: tuple[int, ...]
    rules: Rules
    paced_s: float | None


class LatencyRun(NamedTuple):
    """What the latency pass found. `duration_s` is that of the timed loop, in which the CPU seconds were spent."""

    provider_used: str
    import_s: float
    load_s: float
    first_s: float
    warmup_runs: int
    latencies_s: list[float]
    duration_s: float
    cpu_s: float
    steal_s: float | None
    load_before: float | None
    load_after: float | None


class MemoryRun(NamedTuple):
    """High-water marks after import, load, first run and at the end; None where they cannot be measured."""

    stages_bytes: dict[str, int | None]
