"""Artifact -> DeviceProfile: measure one ONNX file on this device, in processes of its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from pepr_edge.device.facts import facts
from pepr_edge.errors import MeasurementError
from pepr_edge.measure.interleaved_profiles import profile_alone
from pepr_edge.measure.job import MEMORY_STAGES, LatencyRun, MeasurementRules
from pepr_edge.measure.process import measure_latency
from pepr_edge.measure.profile_record import (
    MEMORY_PASSES,
    MemoryUse,
    check_model,
    latency_job,
    memory_use,
    profile_record,
)
from pepr_edge.measure.rules import QUICK, RULES, cut_short, validity
from pepr_edge.records import DeviceFacts, DeviceProfile, ProfileRequest, Quantity

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


def profile(
    model: Path,
    request: ProfileRequest,
    progress: Progress | None = None,
    *,
    on_partial: OnPartial | None = None,
    counter: EnergyCounter | None = None,
) -> DeviceProfile:
    """Measure latency and cold start, then peak memory in passes of its own.

    Args:
        model: the ONNX file.
        request: its checksum, and how to measure it. With "adaptive" rules neither `on_partial` nor `counter`
            is used, nor a pace.
        progress: called with the share done, in [0, 1], and the median of the latest latencies in seconds.
        on_partial: called about twice a second, from the first latencies on.
        counter: measures the energy; preferred to declared watts.
    Raises:
        MeasurementError: the file is missing or has another checksum, the runtime or provider is not
            available, or the measurement process died.
    """
    if request.rules == "adaptive":
        return profile_alone(model, request, progress)
    rules = RULES[request.rules]
    check_model(model, request)
    _check_pace(request.paced_s, rules)
    readings = _CounterReadings(counter)
    device = facts()
    job = latency_job(model, request)._replace(rules=rules, paced_s=request.paced_s)

    def on_block(run: LatencyRun, median_s: float) -> None:
        readings.update()
        if on_partial is not None:
            on_partial(partial(_partial_profile, request, device, run, readings))
        if progress is not None:
            progress(share_done(rules, len(run.latencies_s), run.duration_s), median_s)

    run = measure_latency(job, on_block, readings.start)
    memory = memory_use(job, 1 if request.rules == "look" else MEMORY_PASSES)
    judged = validity(run.latencies_s, run.duration_s, rules, request.paced_s, run.blocks)
    counted = readings.per_inference(len(run.latencies_s))
    return profile_record(request, device, run, judged, memory, counted)


def _partial_profile(
    request: ProfileRequest, device: DeviceFacts, run: LatencyRun, readings: _CounterReadings
) -> DeviceProfile:
    n = len(run.latencies_s)
    judged = cut_short(n, run.duration_s, RULES[request.rules])
    unknown = MemoryUse(dict.fromkeys(MEMORY_STAGES))
    return profile_record(request, device, run, judged, unknown, readings.per_inference(n))


def _check_pace(paced_s: float | None, rules: MeasurementRules) -> None:
    """Raise a MeasurementError if the pace leaves too few images."""
    if paced_s is None or paced_s * rules.queries <= rules.cap_s:
        return
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
