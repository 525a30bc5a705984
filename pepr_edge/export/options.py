"""Session settings that autotuning tries on a device: runtime, threads, precision and session options."""

from __future__ import annotations

from pepr_edge.measure.runtimes import RUNTIMES
from pepr_edge.measure.settings import threads_here
from pepr_edge.recipe import FLOAT32, Device
from pepr_edge.records import SessionSettings
from pepr_edge.text.units import plural

# The device classifies one image at a time, and a model may be compiled for that batch size.
BATCH = 1


def runtimes(device: Device) -> tuple[str, ...]:
    """Return the runtimes that autotuning compares: the recipe's, or with "auto" all that run models here."""
    if device.runtime != "auto":
        return (device.runtime,)
    default = device.settings()
    return tuple(
        name
        for name, runtime in RUNTIMES.items()
        if name == default.runtime
        or (runtime.trial_settings(default) and runtime.unavailable(device.provider) is None)
    )


def trial_settings(device: Device) -> tuple[SessionSettings, ...]:
    """Return the settings with which every file is tried: each runtime with one thread and with all
    threads of the device that it starts on this machine.

    Other precisions than float32 are included if the recipe allows them. The number of threads is varied here
    and not in the option grid: a small network is often faster with one thread, so threads can change which
    network wins. Empty: the recipe's runtime takes no part in autotuning, see `autotuning_fault`.
    """
    default = device.settings()
    found: list[SessionSettings] = []
    for name in runtimes(device):
        for threads in sorted({threads_here(name, default.threads), 1}, reverse=True):
            settings = default.model_copy(update={"runtime": name, "threads": threads, "batch": BATCH})
            found += RUNTIMES[name].trial_settings(settings)
    return tuple(settings for settings in found if device.allow_bf16 or settings.precision == "float32")


def autotuning_fault(device: Device) -> str | None:
    """Return why autotuning has nothing to try under the recipe's runtime and how to fix it, else None."""
    if trial_settings(device):
        return None
    return (
        f'device.runtime = "{device.runtime}" with export.variants = "auto", but this runtime offers no '
        'settings for autotuning. Set device.runtime = "auto", or name the variants: '
        f'export.variants = ["{FLOAT32}"].'
    )


def option_grid(settings: SessionSettings) -> tuple[SessionSettings, ...]:
    """Return the other settings to try with the best file, under the runtime of `settings`."""
    return RUNTIMES[settings.runtime].option_grid(settings)


def settings_text(settings: SessionSettings) -> str:
    """Return settings as text without the defaults, such as "onnxruntime, 2 threads"."""
    parts = [settings.runtime]
    if settings.provider != "cpu":
        parts.append(settings.provider)
    if settings.precision != "float32":
        parts.append(settings.precision)
    parts.append(plural(settings.threads, "thread"))
    if settings.spinning:
        parts.append("spinning")
    if not settings.arena:
        parts.append("no arena")
    if settings.graph_optimisation != "all":
        parts.append(f"optimisation {settings.graph_optimisation}")
    return ", ".join(parts)
