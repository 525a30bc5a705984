"""Declared energy: watts given by the user, times CPU seconds (processor) or wall seconds (GPU)."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

import psutil

from pepr_edge.energy.source import MeterSettings, OpenSource, Part


@dataclass(frozen=True)
class Watts:
    """The declared watts of one part."""

    part: Part
    watts: float


def unavailable(settings: MeterSettings, part: Part) -> str | None:
    """Return why nothing can be computed; None if watts were declared."""
    name, watts = _declared(settings, part)
    if watts is None:
        return f"{name} is not given"
    return None if watts > 0 else f"{name} = {watts:g}, expected more than 0"


def start(settings: MeterSettings, part: Part) -> OpenSource:
    """Return a source that holds the watts."""
    _, declared_watts = _declared(settings, part)
    watts = declared_watts or 0.0
    if part == "gpu":
        source = f"{watts:g} W for the GPU x wall seconds"
    else:
        source = f"{watts:g} W per core x CPU seconds of this process and its children"
    return OpenSource("declared", source, None, Watts(part, watts))


def read(handle: Watts) -> float | None:
    """Return the seconds that are multiplied by the watts, from an arbitrary origin."""
    return cpu_seconds() if handle.part == "cpu" else time.perf_counter()


def joules(handle: Watts, before: float, now: float) -> float | None:
    """Return watts times seconds; None if CPU time decreased.

    That happens outside Linux and macOS, where the time of a child is lost when the child ends.
    """
    return handle.watts * (now - before) if now >= before else None


def stop(handle: Watts) -> None:
    """Do nothing: nothing is open."""


def cpu_seconds() -> float:
    """Return the CPU time of this process, its children, and ended children that were waited for, seconds.

    Reads every process of the machine, so it suits epochs, not single inferences. On Windows ended children
    are not counted.
    """
    running_s = ended_s = 0.0
    for _ in range(5):
        ended_s = _ended_children_s()
        running_s = _running_children_s()
        if ended_s == _ended_children_s():
            # No child ended between the two readings, so none was counted twice or missed.
            break
    return time.process_time() + ended_s + running_s


def _ended_children_s() -> float:
    times = os.times()
    return times.children_user + times.children_system


def _running_children_s() -> float:
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
    if part == "cpu":
        return "watts_per_core", settings.watts_per_core
    return "gpu_watts", settings.gpu_watts
