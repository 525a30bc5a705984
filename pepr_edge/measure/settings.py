"""The runtime settings of a bundle on this device: as at home, as far as the device supports them.

"At home" is the machine on which the bundle was made and measured.
"""

from __future__ import annotations

from pepr_edge.device.cpu import isa, usable_cores
from pepr_edge.measure.runtimes import BUNDLE_RUNTIMES, RUNTIMES
from pepr_edge.records import ProfileRequest, Provider, SessionSettings
from pepr_edge.untrusted.shown import excerpt

# Used where the runtime of home is not there.
REPLACEMENT = "onnxruntime"
# Without one of these a CPU computes bfloat16 more slowly than float32, or not at all.
BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}


def device_settings(
    home: SessionSettings,
    *,
    runtime: str | None = None,
    provider: Provider | None = None,
    threads: int | None = None,
) -> tuple[SessionSettings, str]:
    """Return the settings of a bundle at home, with replacements for those that this device does not support.

    Args:
        home: `Manifest.profile.settings`.
        runtime, provider, threads: the user's choice, preferred to the value at home. It is never replaced:
            if it cannot be used, the runtime reports that when it opens the model.
    Returns:
        The settings, with at most as many threads as usable cores unless the user chose, and one line that
        says what was replaced and why; empty if nothing was.
    """
    notes = []
    chosen_runtime = runtime or home.runtime
    chosen_provider = provider or home.provider
    precision = home.precision

    reason = _no_runtime(home.runtime) if runtime is None else None
    if reason is not None:
        chosen_runtime = REPLACEMENT
        precision = "float32"
        replaced = f"{excerpt(home.runtime)} in {home.precision}"
        notes.append(f"runs with onnxruntime in float32, not with {replaced} as at home: {reason}")
    elif precision == "bfloat16":
        reason = _no_bfloat16(chosen_runtime)
        if reason is not None:
            precision = "float32"
            notes.append(f"computes in float32, not in bfloat16 as at home: {reason}")

    if provider is None and home.provider != "cpu":
        reason = RUNTIMES[chosen_runtime].unavailable(home.provider)
        if reason is not None:
            chosen_provider = "cpu"
            notes.append(f"runs on the CPU, not with {home.provider} as at home: {reason}")

    changes = {
        "runtime": chosen_runtime,
        "precision": precision,
        "provider": chosen_provider,
        "threads": threads or min(home.threads, usable_cores()),
        # In the field images come one at a time.
        "batch": 1 if home.batch == 1 else None,
    }
    return home.model_copy(update=changes), " ".join(notes)


def threads_here(runtime: str, threads: int) -> int:
    """Return how many of a device's threads a runtime starts on this machine, which may have fewer cores."""
    return RUNTIMES[runtime].threads_on(usable_cores(), threads)


def request_here(request: ProfileRequest) -> ProfileRequest:
    """Return a request for a device as this machine can measure it. The profile has the threads used."""
    threads = threads_here(request.settings.runtime, request.settings.threads)
    settings = request.settings.model_copy(update={"threads": threads})
    return request.model_copy(update={"settings": settings})


def fallback_settings(home: SessionSettings, threads: int | None = None) -> SessionSettings:
    """Return the settings of the float32 fallback: the defaults, with the threads of the model at home."""
    return SessionSettings(threads=threads or min(home.threads, usable_cores()))


def settings_of_file(home: SessionSettings, is_fallback: bool) -> tuple[SessionSettings, str]:
    """Return the settings of a bundle's model, or of its fallback, and what was replaced, as a line."""
    return (fallback_settings(home), "") if is_fallback else device_settings(home)


def _no_runtime(name: str) -> str | None:
    """Return why a runtime cannot be used here, or None if it can."""
    if name not in RUNTIMES:
        return f"this pepr_edge does not know {excerpt(name)!r}."
    if name not in BUNDLE_RUNTIMES:
        return f"a bundle holds no program for {name}."
    if name == REPLACEMENT:
        return None  # there is no other; the process that runs the model reports what it lacks
    return RUNTIMES[name].unavailable()


def _no_bfloat16(runtime: str) -> str | None:
    """Return why bfloat16 cannot be used here, or None if it can."""
    offered = RUNTIMES[runtime].trial_settings(SessionSettings(runtime=runtime))
    if not any(settings.precision == "bfloat16" for settings in offered):
        return f"{runtime} computes in the precision of the file."
    return None if BFLOAT16 & set(isa()) else "this CPU has no bfloat16."
