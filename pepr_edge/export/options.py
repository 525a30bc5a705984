"""How a file can be run on a device: the runtimes, their precision, and the small grid of session options that is searched."""

from __future__ import annotations

from itertools import product

from pepr_edge.measure.runtimes import RUNTIMES
from pepr_edge.recipe import Device
from pepr_edge.records import SessionSettings

# A model in the field answers one image at a time, and may be compiled for just that.
BATCH = 1
# Beside onnxruntime, which is always there.
SECOND = "openvino"


def runtimes(device: Device) -> tuple[str, ...]:
    """The runtimes that a ladder compares: the recipe's, or with "auto" all that are installed here."""
    if device.runtime != "auto":
        return (device.runtime,)
    second = device.provider == "cpu" and RUNTIMES[SECOND].unavailable() is None
    return ("onnxruntime", SECOND) if second else ("onnxruntime",)


def starts(device: Device) -> tuple[SessionSettings, ...]:
    """The settings with which each file is tried: by runtime and number of threads, and in bfloat16 where the recipe allows it.

    Threads belong here and not to the grid: a small network is often faster on one, and then it need not be the same network that wins.
    """
    plain, found = device.settings(), []
    for name, threads in product(runtimes(device), sorted({plain.threads, 1}, reverse=True)):
        settings = plain.model_copy(update={"runtime": name, "threads": threads, "batch": BATCH})
        found.append(settings)
        if device.allow_bf16 and name == SECOND:
            found.append(settings.model_copy(update={"precision": "bfloat16"}))
    return tuple(found)


def grid(start: SessionSettings) -> tuple[SessionSettings, ...]:
    """The other options to be tried with the file that came out first; what a runtime does not know is not varied."""
    if start.runtime != "onnxruntime":
        return ()
    spins = (False, True) if start.threads > 1 else (False,)
    all_of_them = [
        start.model_copy(update={"spinning": spinning, "arena": arena, "graph_optimisation": level})
        for spinning, arena, level in product(spins, (True, False), ("all", "extended"))
    ]
    return tuple(settings for settings in all_of_them if settings != start)


def words(settings: SessionSettings) -> str:
    """Settings as a person reads them; what is usual is left out."""
    parts = [settings.runtime, *([settings.provider] if settings.provider != "cpu" else [])]
    parts += ["bfloat16"] if settings.precision == "bfloat16" else []
    parts += [f"{settings.threads} thread{'s' * (settings.threads > 1)}"]
    parts += ["spinning"] if settings.spinning else []
    parts += ["no arena"] if not settings.arena else []
    parts += [f"optimisation {settings.graph_optimisation}"] if settings.graph_optimisation != "all" else []
    return ", ".join(parts)
