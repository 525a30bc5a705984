"""The profiling stage: Artifact -> DeviceProfile. This process waits while two children measure."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from pepr_edge.errors import MeasurementError
from pepr_edge.field.facts import facts, load_average, steal_s
from pepr_edge.field.rules import RULES, Rules, validity
from pepr_edge.field.runtimes import RUNTIMES
from pepr_edge.records import DeviceProfile, Quantity, SessionSettings

Progress = Callable[[float, float], None]  # share done, running median in seconds


def profile(
    model: Path,
    sha256: str,
    settings: SessionSettings,
    *,
    rules: Literal["full", "quick"],
    input_shape: tuple[int, ...],
    watts_per_core: float | None = None,
    paced_s: float | None = None,
    progress: Progress | None = None,
    limits: Rules | None = None,
) -> DeviceProfile:
    """Measure one ONNX file on this machine.

    Args:
        model: the file.
        sha256: of the file, for the record.
        settings: runtime, provider, threads and so on.
        rules: "full" or "quick".
        input_shape: (1, channels, px, px).
        watts_per_core: declared power of a busy core; None leaves the energy unmeasured.
        paced_s: one inference every so many seconds, instead of one after the other.
        progress: called about twice a second.
        limits: other times than those of `rules`, for tests.
    Raises:
        MeasurementError: the runtime is not there, or the child failed.
    """
    reason = RUNTIMES[settings.runtime].unavailable(settings.provider)
    if reason is not None:
        raise MeasurementError(reason)
    limits = limits or RULES[rules]
    job = {
        "model": str(model),
        "runtime": settings.runtime,
        "settings": settings.model_dump(mode="json"),
        "input_shape": list(input_shape),
        "rules": dataclasses.asdict(limits),
        "paced_s": paced_s,
    }
    before, stolen = load_average(), steal_s()
    timed = _child({**job, "pass": "latency"}, progress)
    after, stolen_after = load_average(), steal_s()
    stages = _child({**job, "pass": "memory"}, None)["memory_stages_bytes"]
    return DeviceProfile(
        artifact_sha256=sha256,
        settings=settings,
        provider_used=timed["provider_used"],
        scenario="paced" if paced_s else "single_stream",
        rules=rules,
        input_shape=input_shape,
        validity=validity(timed["latencies_s"], timed["duration_s"], limits),
        latencies_s=tuple(timed["latencies_s"]),
        warmup_runs=timed["warmup_runs"],
        import_s=timed["import_s"],
        load_s=timed["load_s"],
        first_s=timed["first_s"],
        peak_memory_bytes=stages["end"],
        memory_stages_bytes=stages,
        cpu_s_per_inference=timed["cpu_s_per_inference"],
        energy_j_per_inference=declared_energy(timed["cpu_s_per_inference"], watts_per_core),
        load_before=before,
        load_after=after,
        steal_s=None if stolen is None or stolen_after is None else stolen_after - stolen,
        device=facts(),
    )


def declared_energy(cpu_s: float, watts_per_core: float | None) -> Quantity:
    """Declared watts of a busy core x CPU seconds."""
    if watts_per_core is None:
        return Quantity(value=None, method="unavailable", source="device.watts_per_core is not declared")
    return Quantity(value=watts_per_core * cpu_s, method="declared", source=f"{watts_per_core:g} W per busy core x CPU seconds")


def _child(job: dict[str, Any], progress: Progress | None) -> dict[str, Any]:
    """Run one pass; blocked on its output, so that waiting costs the measurement nothing."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "pepr_edge.field.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            encoding="utf-8",
        )
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                process.stdin.write(json.dumps(job))
                process.stdin.close()
            except BrokenPipeError:
                pass  # it died before it read its job: its exit status says so below
            result = None
            for line in process.stdout:
                said = json.loads(line)
                result = said.get("result", result)
                if progress is not None and "progress" in said:
                    progress(said["progress"]["share"], said["progress"]["median_s"])
            status = process.wait()
        finally:
            process.kill()
            process.wait()
            process.stdout and process.stdout.close()
        errors.seek(0)
        last = errors.read().strip().splitlines()[-1:]
    if status != 0 or result is None:
        why = f"was killed by signal {-status}" if status < 0 else (last[0] if last else f"ended with status {status}")
        raise MeasurementError(f"{Path(job['model']).name}: the measuring process {why}".removesuffix(".") + ".")
    return dict(result)
