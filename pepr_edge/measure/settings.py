"""How a bundle is to be run on this device: as it was at home, as far as that is possible here."""

from __future__ import annotations

from pepr_edge.device.cpu import isa, usable_cores
from pepr_edge.measure.runtimes import RUNTIMES
from pepr_edge.records import Provider, SessionSettings

# Without one of these a CPU computes bfloat16 more slowly than float32, if at all.
BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}


def as_at_home(
    home: SessionSettings,
    *,
    runtime: str | None = None,
    provider: Provider | None = None,
    threads: int | None = None,
) -> tuple[SessionSettings, str]:
    """The settings that a bundle was measured with at home, and what of them this device cannot do replaced.

    Args:
        home: `Manifest.profile.settings`.
        runtime, provider, threads: what the user asks for, instead of as at home. It is never replaced: if it cannot be used, the runtime
            says so when the model is opened.
    Returns:
        The settings, and what was replaced and why, on one line; empty where nothing was. Threads are at most the cores that may be used.
    """
    said = []
    chosen, precision = runtime or home.runtime, home.precision
    if runtime is None and (reason := _no_runtime(chosen)) is not None:
        chosen, precision = "onnxruntime", "float32"
        said.append(
            f"runs with onnxruntime in float32, not with {home.runtime} in {home.precision} as at home: {reason}"
        )
    elif precision == "bfloat16" and (reason := _no_bfloat16(chosen)) is not None:
        precision = "float32"
        said.append(f"computes in float32, not in bfloat16 as at home: {reason}")
    if (
        provider is None
        and home.provider != "cpu"
        and (reason := RUNTIMES[chosen].unavailable(home.provider)) is not None
    ):
        provider = "cpu"
        said.append(f"runs on the CPU, not with {home.provider} as at home: {reason}")
    changes = {
        "runtime": chosen,
        "precision": precision,
        "provider": provider or home.provider,
        "threads": threads or min(home.threads, usable_cores()),
        # In the field images come one at a time.
        "batch": 1 if home.batch == 1 else None,
    }
    return home.model_copy(update=changes), " ".join(said)


def of_fallback(home: SessionSettings, threads: int | None = None) -> SessionSettings:
    """How the float32 file beside a model is run: with the least that can go wrong, on as many threads as the model at home."""
    return SessionSettings(threads=threads or min(home.threads, usable_cores()))


def _no_runtime(name: str) -> str | None:
    if name == "pytorch":
        return "a bundle holds no program for PyTorch."
    return RUNTIMES[name].unavailable() if name in RUNTIMES else f"this pepr_edge does not know {name!r:.40}."


def _no_bfloat16(runtime: str) -> str | None:
    if runtime != "openvino":
        return f"{runtime} computes in what the file has."
    return None if BFLOAT16 & set(isa()) else "this CPU has no bfloat16."
