"""Artifact -> DeviceProfile: measure one ONNX file on this device, in child processes of its own."""

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
from pepr_edge.records import DeviceFacts, DeviceProfile, Quantity, RulesName, SessionSettings, Validity
from pepr_edge.run_dir.store import sha256_file

# Told what makes a profile of what was measured so far, to be called before the next such; INVALID, as it was cut short there.
Keep = Callable[[Callable[[], DeviceProfile]], None]


class EnergyCounter(NamedTuple):
    """The processor's energy counter: what it is, and its joules from any moment on; None where it cannot be read just now."""

    source: str
    joules: Callable[[], float | None]


class _Energy:
    """What the counter, if there is one, said at the start of the timed loop and after its latest block."""

    def __init__(self, counter: EnergyCounter | None) -> None:
        self._counter = counter
        self._first_j: float | None = None
        self._last_j: float | None = None

    def start(self) -> None:
        self._first_j = None if self._counter is None else self._counter.joules()

    def go_on(self) -> None:
        self._last_j = None if self._counter is None else self._counter.joules()

    def per_inference(self, n: int) -> Quantity | None:
        """Of the whole processor, whatever else it did; None where nothing was counted."""
        if (
            self._counter is None
            or self._first_j is None
            or self._last_j is None
            or self._last_j <= self._first_j
        ):
            return None
        return Quantity(
            value=(self._last_j - self._first_j) / n, method="measured", source=self._counter.source
        )


class _Measurement(NamedTuple):
    """What is measured, how, and on what."""

    sha256: str
    settings: SessionSettings
    rules: RulesName
    input_shape: tuple[int, ...]
    watts_per_core: float | None
    paced_s: float | None
    device: DeviceFacts
    energy: _Energy


def profile(
    model: Path,
    sha256: str,
    settings: SessionSettings,
    *,
    rules: RulesName,
    input_shape: tuple[int, ...],
    watts_per_core: float | None = None,
    paced_s: float | None = None,
    progress: Callable[[float, float], None] | None = None,
    keep: Keep | None = None,
    counter: EnergyCounter | None = None,
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
        keep: called about twice a second, from the first latencies on.
        counter: measures the energy, before any watts are declared.
    Raises:
        MeasurementError: the file is missing or another one, the runtime or provider is not there, or the measuring child died.
    """
    measurement_rules = RULES[rules]
    _check(model, sha256, measurement_rules, paced_s)
    task = _Measurement(
        sha256, settings, rules, input_shape, watts_per_core, paced_s, facts(), _Energy(counter)
    )
    job = MeasurementJob(
        "latency", str(model.absolute()), settings.model_dump(), input_shape, measurement_rules, paced_s
    )

    def on_block(run: LatencyRun, median_s: float) -> None:
        task.energy.go_on()
        if keep is not None:
            keep(partial(_cut_short, task, run))
        if progress is not None:
            progress(share_done(measurement_rules, len(run.latencies_s), run.duration_s), median_s)

    run = measure_latency(job, on_block, task.energy.start)
    stages = measure_memory(job._replace(kind="memory")).stages_bytes
    return _record(task, run, validity(run.latencies_s, run.duration_s, measurement_rules, paced_s), stages)


def _cut_short(task: _Measurement, run: LatencyRun) -> DeviceProfile:
    measurement_rules = RULES[task.rules]
    return _record(
        task,
        run,
        cut_short(len(run.latencies_s), run.duration_s, measurement_rules),
        dict.fromkeys(MEMORY_STAGES),
    )


def _record(
    task: _Measurement, run: LatencyRun, judged: Validity, stages: dict[str, int | None]
) -> DeviceProfile:
    cpu_s, start = run.cpu_s / len(run.latencies_s), run.start
    return DeviceProfile(
        artifact_sha256=task.sha256,
        settings=task.settings,
        provider_used=start.provider_used,
        scenario="single_stream" if task.paced_s is None else "paced",
        paced_s=task.paced_s,
        rules=task.rules,
        input_shape=task.input_shape,
        validity=judged,
        latencies_s=tuple(run.latencies_s),
        warmup_runs=start.warmup_runs,
        import_s=start.import_s,
        load_s=start.load_s,
        first_s=start.first_s,
        peak_memory_bytes=stages["end"],
        memory_stages_bytes=stages,
        cpu_s_per_inference=cpu_s,
        energy_j_per_inference=_energy(task, len(run.latencies_s), cpu_s),
        load_before=start.load_before,
        load_after=run.load_after,
        steal_s=run.steal_s,
        device=task.device,
    )


def _check(model: Path, sha256: str, measurement_rules: MeasurementRules, paced_s: float | None) -> None:
    if not model.is_file():
        raise MeasurementError(f"{model}: no such file, expected an ONNX model.")
    found = sha256_file(model)
    if found != sha256:
        raise MeasurementError(
            f"{model}: sha256 {found[:12]}..., expected {sha256[:12]}...: the file was altered. Copy it again."
        )
    if paced_s is not None and paced_s * measurement_rules.queries > measurement_rules.cap_s:
        greatest = measurement_rules.cap_s / measurement_rules.queries
        raise MeasurementError(
            f"--paced {paced_s * 1e3:g}: {measurement_rules.queries} images would take more than {measurement_rules.cap_s:g} s. "
            f"Give at most {greatest * 1e3:.0f} ms{', or use --quick' if measurement_rules.queries > QUICK.queries else ''}."
        )


def share_done(measurement_rules: MeasurementRules, queries: int, elapsed_s: float) -> float:
    """How far a measurement is, in [0, 1]: both minima have to be met, unless time runs out first."""
    needed = min(
        queries / measurement_rules.queries,
        elapsed_s / measurement_rules.duration_s if measurement_rules.duration_s else 1.0,
    )
    return min(1.0, max(needed, elapsed_s / measurement_rules.cap_s))


def _energy(task: _Measurement, n: int, cpu_s: float) -> Quantity:
    """Energy of one inference: counted, else declared."""
    if task.settings.provider != "cpu":
        return Quantity(value=None, method="unavailable", source="the GPU's share was not measured")
    if (counted := task.energy.per_inference(n)) is not None:
        return counted
    watts = task.watts_per_core
    if watts is None:
        return Quantity(
            value=None, method="unavailable", source="no counter was read and no watts were declared"
        )
    return Quantity(value=watts * cpu_s, method="declared", source=f"{watts:g} W per core x CPU seconds")
