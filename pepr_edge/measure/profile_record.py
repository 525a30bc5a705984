"""What every way of measuring shares: the checks before it, the memory passes, and the record it makes."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from pepr_edge.errors import MeasurementError
from pepr_edge.measure.job import LatencyRun, MeasurementJob
from pepr_edge.measure.process import measure_memory
from pepr_edge.records import DeviceFacts, DeviceProfile, ProfileRequest, Quantity, Validity
from pepr_edge.run_dir.store import sha256_file

# The first process after an install, or after other files filled the cache, may count more of its libraries'
# pages. The median of three passes does not depend on it; the maximum would.
MEMORY_PASSES = 3


class MemoryUse(NamedTuple):
    """High-water marks of the memory passes: of the median pass by stage, and of each pass at its end."""

    stages_bytes: dict[str, int | None]
    samples_bytes: tuple[int, ...] = ()

    @property
    def peak_bytes(self) -> int | None:
        """The peak at the end of the median pass; None where it cannot be measured."""
        return self.stages_bytes["end"]


def memory_use(job: MeasurementJob, passes: int = MEMORY_PASSES) -> MemoryUse:
    """Run the memory passes, each in a process of its own; a single one where memory cannot be measured.

    Args:
        job: of any kind; its model and settings are used.
        passes: an odd number.
    Raises:
        MeasurementError: a process failed or died.
    """
    stages = []
    for _ in range(passes):
        stages.append(measure_memory(job._replace(kind="memory", rules=None)).stages_bytes)
        if stages[-1]["end"] is None:
            return MemoryUse(stages[-1])
    samples_bytes = tuple(each["end"] or 0 for each in stages)
    stages.sort(key=lambda each: each["end"] or 0)
    return MemoryUse(stages[passes // 2], samples_bytes)


def check_model(model: Path, request: ProfileRequest) -> None:
    """Raise a MeasurementError if the file is missing, or is not the expected one."""
    if not model.is_file():
        raise MeasurementError(f"{model}: no such file, expected an ONNX model.")
    actual = sha256_file(model)
    if actual != request.sha256:
        raise MeasurementError(
            f"{model}: sha256 {actual[:12]}..., expected {request.sha256[:12]}...: the file was altered. "
            "Copy it again."
        )


def latency_job(model: Path, request: ProfileRequest) -> MeasurementJob:
    """Return the job of the latency pass, without its rules."""
    settings = request.settings.model_dump()
    return MeasurementJob("latency", str(model.absolute()), settings, request.input_shape)


def profile_record(
    request: ProfileRequest,
    device: DeviceFacts,
    run: LatencyRun,
    judged: Validity,
    memory: MemoryUse,
    counted: Quantity | None = None,
) -> DeviceProfile:
    """Return the record of a measurement. `counted`: the energy of an inference, if a counter measured it."""
    cpu_s = run.cpu_s / len(run.latencies_s)
    return DeviceProfile(
        artifact_sha256=request.sha256,
        settings=request.settings,
        provider_used=run.start.provider_used,
        scenario="single_stream" if request.paced_s is None else "paced",
        paced_s=request.paced_s,
        rules=request.rules,
        input_shape=request.input_shape,
        validity=judged,
        latencies_s=tuple(run.latencies_s),
        blocks=tuple(run.blocks),
        warmup_runs=run.start.warmup_runs,
        import_s=run.start.import_s,
        load_s=run.start.load_s,
        first_s=run.start.first_s,
        peak_memory_bytes=memory.peak_bytes,
        peak_memory_samples_bytes=memory.samples_bytes,
        memory_stages_bytes=memory.stages_bytes,
        cpu_s_per_inference=cpu_s,
        energy_j_per_inference=_energy(request, cpu_s, counted),
        load_before=run.start.load_before,
        load_after=run.load_after,
        steal_s=run.steal_s,
        device=device,
    )


def _energy(request: ProfileRequest, cpu_s: float, counted: Quantity | None) -> Quantity:
    """Return the energy of one inference: measured if a counter was read, else from the declared watts."""
    if request.settings.provider != "cpu":
        return Quantity(value=None, method="unavailable", source="the GPU's share was not measured")
    if counted is not None:
        return counted
    watts = request.watts_per_core
    if watts is None:
        source = "no counter was read and no watts were declared"
        return Quantity(value=None, method="unavailable", source=source)
    return Quantity(value=watts * cpu_s, method="declared", source=f"{watts:g} W per core x CPU seconds")
