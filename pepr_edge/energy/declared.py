"""Declared energy: watts that a person gave, times CPU seconds (processor) or wall seconds (GPU)."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

import psutil

from pepr_edge.energy.source import MeterSettings, OpenSource, Part


@dataclass(frozen=True)
class Watts:
    """What was declared for one part."""

    part: Part
    watts: float


def unavailable(settings: MeterSettings, part: Part) -> str | None:
    """Why nothing can be computed; None if watts were declared."""
    name, watts = _declared(settings, part)
    if watts is None:
        return f"{name} is not given"
    return None if watts > 0 else f"{name} = {watts:g}, expected more than 0"


def start(settings: MeterSettings, part: Part) -> OpenSource:
    """Remember the watts."""
    watts = _declared(settings, part)[1] or 0.0
    if part == "gpu":
        return OpenSource("declared", f"{watts:g} W for the GPU x wall seconds", None, Watts(part, watts))
    return OpenSource(
        "declared",
        f"{watts:g} W per core x CPU seconds of this process and its children",
        None,
        Watts(part, watts),
    )


def read(handle: Watts) -> float | None:
    """Seconds that the watts are multiplied with, from any origin."""
    return cpu_seconds() if handle.part == "cpu" else time.perf_counter()


def joules(handle: Watts, before: float, now: float) -> float | None:
    """Watts times seconds. None where CPU time went back: outside Linux and macOS, a child that ends takes its own along."""
    return handle.watts * (now - before) if now >= before else None


def stop(handle: Watts) -> None:
    """Nothing is held open."""


def cpu_seconds() -> float:
    """CPU time so far of this process, of its children, and of those that ended and were waited for. Seconds.

    Looks at every process of the machine: for epochs, not for single inferences. On Windows, ended children are not counted.
    """
    living_s = ended_s = 0.0
    for _ in range(5):
        ended_s, living_s = _ended_s(), _living_s()
        if ended_s == _ended_s():
            # No child moved from the living to the ended meanwhile, to be counted twice or not at all.
            break
    return time.process_time() + ended_s + living_s


def _ended_s() -> float:
    times = os.times()
    return times.children_user + times.children_system


def _living_s() -> float:
    total_s = 0.0
    try:
        children = psutil.Process().children(recursive=True)
    except psutil.Error:
        return total_s
    for child in children:
        try:
            times = child.cpu_times()
        except psutil.Error:
            continue
        total_s += times.user + times.system + times.children_user + times.children_system
    return total_s


def _declared(settings: MeterSettings, part: Part) -> tuple[str, float | None]:
    return ("watts_per_core", settings.watts_per_core) if part == "cpu" else ("gpu_watts", settings.gpu_watts)
