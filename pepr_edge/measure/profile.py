"""Artifact -> DeviceProfile: measure one ONNX file on this device, in processes of its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from pepr_edge.device.facts import facts
from pepr_edge.errors import MeasurementError
from pepr_edge.measure.job import MEMORY_STAGES, LatencyRun, MeasurementJob, MeasurementRules
from pepr_edge.measure.process import measure_latency, measure_memory
from pepr_edge.measure.rules import QUICK, RULES, cut_short, validity
from pepr_edge.records import DeviceFacts, DeviceProfile, ProfileRequest, Quantity, Validity
from pepr_edge.run_dir.store import sha256_file

# Called with a function that makes a profile of what was measured so far, INVALID because it is cut short.
# The function may be called until the next one is given.
OnPartial = Callable[[Callable[[], DeviceProfile]], None]
# Called with the share done, in [0, 1], and the median of the latest latencies in seconds.
Progress = Callable[[float, float], None]


class EnergyCounter(NamedTuple):
    """The processor's energy counter: its name, and a function that returns its joules.

    They count from any moment on; None if the counter cannot be read now.
    """

    source: str
    joules: Callable[[], float | None]


class _CounterReadings:
    """Readings of the energy counter, if any: at the start of the timed loop and after its latest block."""

    def __init__(self, counter: EnergyCounter | None) -> None:
        self._counter = counter
        self._first_j: float | None = None
        self._last_j: float | None = None

    def start(self) -> None:
        self._first_j = self._read()

    def update(self) -> None:
        self._last_j = self._read()

    def per_inference(self, n: int) -> Quantity | None:
        """Return the energy of one inference, that of the whole processor; None if nothing was counted."""
        if self._counter is None or self._first_j is None or self._last_j is None:
            return None
        energy_j = self._last_j - self._first_j
        if energy_j <= 0:
            return None
        return Quantity(value=energy_j / n, method="measured", source=self._counter.source)

    def _read(self) -> float | None:
        return None if self._counter is None else self._counter.joules()


class _Measurement(NamedTuple):
    """One measurement: its request, the device and the readings of its counter."""

    request: ProfileRequest
    device: DeviceFacts
    readings: _CounterReadings


def profile(
    model: Path,
    request: ProfileRequest,
    progress: Progress | None = None,
    *,
    on_partial: OnPartial | None = None,
    counter: EnergyCounter | None = None,
) -> DeviceProfile:
    """Measure latency and cold start, then peak memory in a pass of its own.

    Args:
        model: the ONNX file.
        request: its checksum, and how to measure it.
        progress: called with the share done, in [0, 1], and the median of the latest latencies in seconds.
        on_partial: called about twice a second, from the first latencies on.
        counter: measures the energy; preferred to declared watts.
    Raises:
        MeasurementError: the file is missing or has another checksum, the runtime or provider is not
            available, or the measurement process died.
    """
    rules = RULES[request.rules]
    _check(model, request, rules)
    readings = _CounterReadings(counter)
    measurement = _Measurement(request, facts(), readings)
    settings = request.settings.model_dump()
    job = MeasurementJob(
        "latency", str(model.absolute()), settings, request.input_shape, rules, request.paced_s
    )

    def on_block(run: LatencyRun, median_s: float) -> None:
        readings.update()
        if on_partial is not None:
            on_partial(partial(_partial_profile, measurement, run))
        if progress is not None:
            progress(share_done(rules, len(run.latencies_s), run.duration_s), median_s)

    run = measure_latency(job, on_block, readings.start)
    stages = measure_memory(job._replace(kind="memory")).stages_bytes
    judged = validity(run.latencies_s, run.duration_s, rules, request.paced_s)
    return _record(measurement, run, judged, stages)


def _partial_profile(measurement: _Measurement, run: LatencyRun) -> DeviceProfile:
    judged = cut_short(len(run.latencies_s), run.duration_s, RULES[measurement.request.rules])
    return _record(measurement, run, judged, dict.fromkeys(MEMORY_STAGES))


def _record(
    measurement: _Measurement, run: LatencyRun, judged: Validity, stages: dict[str, int | None]
) -> DeviceProfile:
    n = len(run.latencies_s)
    cpu_s = run.cpu_s / n
    request = measurement.request
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
        warmup_runs=run.start.warmup_runs,
        import_s=run.start.import_s,
        load_s=run.start.load_s,
        first_s=run.start.first_s,
        peak_memory_bytes=stages["end"],
        memory_stages_bytes=stages,
        cpu_s_per_inference=cpu_s,
        energy_j_per_inference=_energy(measurement, n, cpu_s),
        load_before=run.start.load_before,
        load_after=run.load_after,
        steal_s=run.steal_s,
        device=measurement.device,
    )


def _check(model: Path, request: ProfileRequest, rules: MeasurementRules) -> None:
    """Raise a MeasurementError if the file is not the expected one, or the pace leaves too few images."""
    if not model.is_file():
        raise MeasurementError(f"{model}: no such file, expected an ONNX model.")
    actual = sha256_file(model)
    if actual != request.sha256:
        raise MeasurementError(
            f"{model}: sha256 {actual[:12]}..., expected {request.sha256[:12]}...: the file was altered. "
            "Copy it again."
        )
    paced_s = request.paced_s
    if paced_s is not None and paced_s * rules.queries > rules.cap_s:
        max_paced_s = rules.cap_s / rules.queries
        advice = ", or use --quick" if rules.queries > QUICK.queries else ""
        raise MeasurementError(
            f"--paced {paced_s * 1e3:g}: {rules.queries} images would take more than {rules.cap_s:g} s. "
            f"Give at most {max_paced_s * 1e3:.0f} ms{advice}."
        )


def share_done(rules: MeasurementRules, queries: int, elapsed_s: float) -> float:
    """Return the share that is done, in [0, 1]: both minima are needed, or the time runs out."""
    queries_share = queries / rules.queries
    time_share = elapsed_s / rules.duration_s if rules.duration_s else 1.0
    return min(1.0, max(min(queries_share, time_share), elapsed_s / rules.cap_s))


def _energy(measurement: _Measurement, n: int, cpu_s: float) -> Quantity:
    """Return the energy of one inference: measured if a counter was read, else from the declared watts."""
    if measurement.request.settings.provider != "cpu":
        return Quantity(value=None, method="unavailable", source="the GPU's share was not measured")
    measured = measurement.readings.per_inference(n)
    if measured is not None:
        return measured
    watts = measurement.request.watts_per_core
    if watts is None:
        source = "no counter was read and no watts were declared"
        return Quantity(value=None, method="unavailable", source=source)
    return Quantity(value=watts * cpu_s, method="declared", source=f"{watts:g} W per core x CPU seconds")
