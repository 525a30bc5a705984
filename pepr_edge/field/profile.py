"""Artifact -> DeviceProfile: measure one ONNX file on this device, in child processes of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from pepr_edge.errors import MeasurementError
from pepr_edge.field.facts import facts
from pepr_edge.field.job import Job, Rules
from pepr_edge.field.process import measure_latency, measure_memory
from pepr_edge.field.rules import QUICK, RULES, validity
from pepr_edge.records import DeviceProfile, Quantity, SessionSettings
from pepr_edge.store import sha256_file


def profile(
    model: Path,
    sha256: str,
    settings: SessionSettings,
    *,
    rules: Literal["full", "quick"],
    input_shape: tuple[int, ...],
    watts_per_core: float | None = None,
    paced_s: float | None = None,
    progress: Callable[[float, float], None] | None = None,
) -> DeviceProfile:
    """Measure latency and cold start, then peak memory in a pass of its own.

    Args:
        model: the ONNX file.
        sha256: what the file's checksum must be.
        settings: how the runtime is to run.
        rules: how long to measure.
        input_shape: (1, channels, px, px).
        watts_per_core: declared power of a busy core, to state the energy of an inference; None: it is not stated.
        paced_s: one image every so many seconds, as in a clinic; None: each follows the last.
        progress: called with the share done, in [0, 1], and the median of the latest latencies in seconds.
    Raises:
        MeasurementError: the file is missing or another one, the runtime or provider is not there, or the measuring child died.
    """
    law = RULES[rules]
    _check(model, sha256, law, paced_s)
    device = facts()
    job = Job("latency", str(model.absolute()), settings.model_dump(), input_shape, law, paced_s)

    def on_progress(queries: int, elapsed_s: float, median_s: float) -> None:
        if progress is not None:
            progress(share_done(law, queries, elapsed_s), median_s)

    latency = measure_latency(job, on_progress)
    stages = measure_memory(job._replace(kind="memory")).stages_bytes
    cpu_s = latency.cpu_s / len(latency.latencies_s)
    return DeviceProfile(
        artifact_sha256=sha256,
        settings=settings,
        provider_used=latency.provider_used,
        scenario="single_stream" if paced_s is None else "paced",
        paced_s=paced_s,
        rules=rules,
        input_shape=input_shape,
        validity=validity(latency.latencies_s, latency.duration_s, law, paced_s),
        latencies_s=tuple(latency.latencies_s),
        warmup_runs=latency.warmup_runs,
        import_s=latency.import_s,
        load_s=latency.load_s,
        first_s=latency.first_s,
        peak_memory_bytes=stages["end"],
        memory_stages_bytes=stages,
        cpu_s_per_inference=cpu_s,
        energy_j_per_inference=_energy(settings, watts_per_core, cpu_s),
        load_before=latency.load_before,
        load_after=latency.load_after,
        steal_s=latency.steal_s,
        device=device,
    )


def _check(model: Path, sha256: str, law: Rules, paced_s: float | None) -> None:
    if not model.is_file():
        raise MeasurementError(f"{model}: no such file, expected an ONNX model.")
    found = sha256_file(model)
    if found != sha256:
        raise MeasurementError(f"{model}: sha256 {found[:12]}..., expected {sha256[:12]}...: the file was altered. Copy it again.")
    if paced_s is not None and paced_s * law.queries > law.cap_s:
        greatest = law.cap_s / law.queries
        raise MeasurementError(
            f"--paced {paced_s * 1e3:g}: {law.queries} images would take more than {law.cap_s:g} s. "
            f"Give at most {greatest * 1e3:.0f} ms{', or use --quick' if law.queries > QUICK.queries else ''}."
        )


def share_done(law: Rules, queries: int, elapsed_s: float) -> float:
    """How far a measurement is, in [0, 1]: both minima have to be met, unless time runs out first."""
    needed = min(queries / law.queries, elapsed_s / law.duration_s if law.duration_s else 1.0)
    return min(1.0, max(needed, elapsed_s / law.cap_s))


def _energy(settings: SessionSettings, watts_per_core: float | None, cpu_s: float) -> Quantity:
    if settings.provider != "cpu":
        return Quantity(value=None, method="unavailable", source="the GPU's share was not measured")
    if watts_per_core is None:
        return Quantity(value=None, method="unavailable", source="no counter was read and no watts were declared")
    return Quantity(value=watts_per_core * cpu_s, method="declared", source=f"{watts_per_core:g} W per core x CPU seconds")
