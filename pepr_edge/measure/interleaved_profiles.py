"""Artifacts -> DeviceProfiles by the adaptive rules: measured in turns, each only as long as it matters.

All models are open at once, each in a process of its own. In each round every model runs for one block, in
random order, so that disturbances affect all alike, and latencies are comparable. Models that do not fit into
memory together are measured in groups. The first model runs in each group again: if its latency changed, the
machine did, and the group is INVALID.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import NamedTuple

import psutil

from pepr_edge.device.facts import facts
from pepr_edge.device.load import load_average
from pepr_edge.errors import MeasurementError
from pepr_edge.measure.interleaved_timing import rest_s
from pepr_edge.measure.job import LatencyRun, Started
from pepr_edge.measure.model_process import ModelProcess
from pepr_edge.measure.process import SILENCE_S
from pepr_edge.measure.profile_record import MemoryUse, check_model, latency_job, memory_use, profile_record
from pepr_edge.measure.rules import RULES, ended_by, reference_drift, share_measured, validity
from pepr_edge.records import DeviceFacts, DeviceProfile, ProfileRequest, Validity
from pepr_edge.scoring.percentiles import early_stopping_percentile, p90_interval

BLOCK_S = 0.5
# After a turn of another model the caches hold its data: each block begins with inferences that do not count,
# at most this many, and at most this share of the block.
BLOCK_WARMUP_RUNS = 5
BLOCK_WARMUP_SHARE = 0.05
# Share of the free memory that open models may take, and what one counts for if its memory is not known.
MEMORY_SHARE = 0.5
UNKNOWN_BYTES = 512 << 20
# The memory that a model takes on a GPU is not measured: few are open at once.
MAX_ON_GPU = 4
# The memory passes count as this share of the work on an artifact, for the progress bar.
MEMORY_PART = 0.1
SEED = 0


class Subject(NamedTuple):
    """An artifact to be measured."""

    model: Path
    request: ProfileRequest


class Standing(NamedTuple):
    """What is known of an artifact: the ends between which its latency at p90 lies, and its peak memory."""

    p90_s: tuple[float, float]
    peak_memory_bytes: int | None


# Given what is known of the subjects, by number: those whose further latencies would change nothing.
MayStop = Callable[[Mapping[int, Standing]], Collection[int]]


class Watch(NamedTuple):
    """Receives each result as soon as it is there.

    `on_done` gets the number of a subject and its profile, or the reason why there is none. `on_progress`
    gets the number of the subject that ran, the share of the whole work that is done, in [0, 1], and the
    median of its latest latencies in seconds (None: its memory was measured).
    """

    on_done: Callable[[int, DeviceProfile | MeasurementError], None]
    on_progress: Callable[[int, float, float | None], None]
    may_stop: MayStop


def profile_interleaved(subjects: Sequence[Subject], watch: Watch, free_bytes: int | None = None) -> None:
    """Measure artifacts in turns, by the adaptive rules.

    Args:
        subjects: the artifacts.
        watch: receives results and progress.
        free_bytes: memory of this machine that is free; None: as the system says.
    """
    session = _Session(subjects, watch)
    session.measure_memory()
    limit_bytes = MEMORY_SHARE * (_free_bytes() if free_bytes is None else free_bytes)
    for group in groups(session.open_bytes(), limit_bytes, session.largest_group()):
        session.measure_group(group)


def profile_alone(
    model: Path, request: ProfileRequest, progress: Callable[[float, float], None] | None = None
) -> DeviceProfile:
    """Measure a single artifact by the adaptive rules, until its interval is narrow enough.

    Args:
        model, request, progress: see `profile.profile`.
    Raises:
        MeasurementError: see `profile.profile`.
    """
    outcomes: list[DeviceProfile | MeasurementError] = []

    def on_progress(number: int, share: float, median_s: float | None) -> None:
        if progress is not None and median_s is not None:
            progress(share, median_s)

    def on_done(number: int, outcome: DeviceProfile | MeasurementError) -> None:
        outcomes.append(outcome)

    profile_interleaved([Subject(model, request)], Watch(on_done, on_progress, lambda standings: ()))
    (outcome,) = outcomes
    if isinstance(outcome, MeasurementError):
        raise outcome
    return outcome


def standing(
    latencies_s: Sequence[float], blocks: Sequence[int], peak_memory_bytes: int | None
) -> Standing | None:
    """Return what latencies say of an artifact; None if they are too few.

    The ends are those of the 95 % interval of the p90. MLPerf's estimate, by which models are ranked, is
    above the p90 until there are many latencies, so it belongs to the range too.
    """
    interval = p90_interval(latencies_s, blocks)
    estimate_s = early_stopping_percentile(latencies_s, 0.9)
    if interval is None or estimate_s is None:
        return None
    low_s, high_s = interval
    return Standing((low_s, max(high_s, estimate_s)), peak_memory_bytes)


def groups(sizes_bytes: Mapping[int, int], limit_bytes: float, largest: int) -> list[list[int]]:
    """Return groups of models that may be open together. The first of all is the first of each group.

    Args:
        sizes_bytes: of each model, by number.
        limit_bytes: what a group may take. A group of two may take more.
        largest: models in a group, at most.
    """
    if not sizes_bytes:
        return []
    reference, *others = sizes_bytes
    made = [[reference]]
    used_bytes = sizes_bytes[reference]
    for number in others:
        is_full = used_bytes + sizes_bytes[number] > limit_bytes or len(made[-1]) >= largest
        if is_full and len(made[-1]) > 1:
            made.append([reference])
            used_bytes = sizes_bytes[reference]
        made[-1].append(number)
        used_bytes += sizes_bytes[number]
    return made


def _free_bytes() -> int:
    available = int(psutil.virtual_memory().available)
    limit = facts().cgroup_memory_bytes
    return available if limit is None else min(available, limit)


@dataclass
class _Participant:
    """A model that is held open, and its latencies so far."""

    number: int
    process: ModelProcess
    run: LatencyRun
    typical_s: float

    def warm_up(self) -> None:
        """Run inferences that do not count, as many and as long as the rules ask for."""
        rules = RULES["adaptive"]
        begin = time.perf_counter()
        runs = 0
        while runs < rules.warmup_runs or time.perf_counter() - begin < rules.warmup_s:
            count = max(1, min(rules.warmup_runs, round(BLOCK_S / max(self.typical_s, 1e-6))))
            self.typical_s = median(self.process.block(count, 0).latencies_s)
            runs += count
        self.run = self.run._replace(start=self.run.start._replace(warmup_runs=runs))

    def measure_block(self) -> None:
        """Run one block. The threads of the process are at rest on return."""
        runs = max(1, round(BLOCK_S / max(self.typical_s, 1e-6)))
        block = self.process.block(runs, min(BLOCK_WARMUP_RUNS, int(BLOCK_WARMUP_SHARE * runs)))
        self.run.latencies_s.extend(block.latencies_s)
        self.run.blocks.append(runs)
        self.typical_s = median(block.latencies_s)
        steal_s = None
        if block.steal_s is not None:
            steal_s = (self.run.steal_s or 0.0) + block.steal_s
        self.run = self.run._replace(
            duration_s=self.run.duration_s + sum(block.latencies_s),
            cpu_s=self.run.cpu_s + block.cpu_s,
            steal_s=steal_s,
        )
        time.sleep(rest_s(self.process.settings))

    def share_done(self) -> float:
        return share_measured(self.run.latencies_s, self.run.blocks, self.run.duration_s)


@dataclass
class _Session:
    """The measurement of some subjects. A subject that is done is reported and closed at once."""

    subjects: Sequence[Subject]
    watch: Watch
    memory: dict[int, MemoryUse] = field(default_factory=dict)
    standings: dict[int, Standing] = field(default_factory=dict)
    over: set[int] = field(default_factory=set)
    shares: dict[int, float] = field(default_factory=dict)
    reference_s: float | None = None
    order: random.Random = field(default_factory=lambda: random.Random(SEED))

    def measure_memory(self) -> None:
        """Check the files, and run the memory passes while no model is held open."""
        for number, subject in enumerate(self.subjects):
            try:
                check_model(subject.model, subject.request)
                self.memory[number] = memory_use(latency_job(subject.model, subject.request))
            except MeasurementError as error:
                self._end(number, error)
            else:
                self._progress(number, MEMORY_PART)

    def open_bytes(self) -> dict[int, int]:
        """Return what each model takes while it is open."""
        return {number: memory.peak_bytes or UNKNOWN_BYTES for number, memory in self.memory.items()}

    def largest_group(self) -> int:
        providers = {subject.request.settings.provider for subject in self.subjects}
        return len(self.subjects) if providers <= {"cpu"} else MAX_ON_GPU

    def measure_group(self, group: Sequence[int]) -> None:
        """Measure models that are open together. The first was measured before, except in the first group."""
        device = facts()
        with ExitStack() as stack:
            opened = [self._open(number, stack) for number in group]
            running = [participant for participant in opened if participant is not None]
            while any(participant.number not in self.over for participant in running):
                self.order.shuffle(running)
                running = [participant for participant in running if self._run_block(participant)]
                self._end_those_done(running, device, group[0])
                running = [each for each in running if each.process.reason == ""]

    def _open(self, number: int, stack: ExitStack) -> _Participant | None:
        """Open a model and warm it up; None if that fails."""
        subject = self.subjects[number]
        request = subject.request
        try:
            process = stack.enter_context(
                ModelProcess(subject.model, request.settings, request.input_shape, limit_s=SILENCE_S)
            )
            participant = _Participant(number, process, _empty_run(process), process.first_s)
            participant.warm_up()
        except MeasurementError as error:
            self._end(number, error)
            return None
        return participant

    def _run_block(self, participant: _Participant) -> bool:
        """Run a block of one model; False if its process died."""
        try:
            participant.measure_block()
        except MeasurementError as error:
            self._end(participant.number, error)
            return False
        number = participant.number
        share = 1.0 if number in self.over else MEMORY_PART + (1 - MEMORY_PART) * participant.share_done()
        self._progress(number, share, participant.typical_s)
        return True

    def _progress(self, number: int, share: float, median_s: float | None = None) -> None:
        self.shares[number] = share
        self.watch.on_progress(number, sum(self.shares.values()) / len(self.subjects), median_s)

    def _end_those_done(self, running: Sequence[_Participant], device: DeviceFacts, first: int) -> None:
        """Report each model that needs no further block, and close its process."""
        waiting = [participant for participant in running if participant.number not in self.over]
        for participant in waiting:
            peak_bytes = self.memory[participant.number].peak_bytes
            known = standing(participant.run.latencies_s, participant.run.blocks, peak_bytes)
            if known is not None:
                self.standings[participant.number] = known
        certain = self.watch.may_stop(self.standings)
        drift = self._reference_drift(running, first)
        for participant in waiting:
            run = participant.run
            number = participant.number
            end = ended_by(run.latencies_s, run.blocks, run.duration_s, number in certain)
            if end is None:
                continue
            if number == first:
                self.reference_s = median(run.latencies_s)
            record = self._record(participant, device, drift)
            participant.process.close()
            self._end(number, record.replace(ended_by=end))

    def _record(self, participant: _Participant, device: DeviceFacts, drift: str | None) -> DeviceProfile:
        """Return the profile of a model that is done."""
        run = participant.run._replace(load_after=load_average())
        judged = validity(run.latencies_s, run.duration_s, RULES["adaptive"], blocks=run.blocks)
        if drift is not None:
            judged = Validity(valid=False, reasons=(*judged.reasons, drift))
        number = participant.number
        return profile_record(self.subjects[number].request, device, run, judged, self.memory[number])

    def _reference_drift(self, running: Sequence[_Participant], first: int) -> str | None:
        """Return why a later group cannot be compared with the first group; None if it can."""
        if self.reference_s is None or first not in self.over:
            return None
        for participant in running:
            if participant.number == first:
                return reference_drift(self.reference_s, median(participant.run.latencies_s))
        return None

    def _end(self, number: int, outcome: DeviceProfile | MeasurementError) -> None:
        """Report an outcome, unless the subject has one: the first model runs in several groups."""
        if number in self.over:
            return
        self.over.add(number)
        self.shares[number] = 1.0
        if isinstance(outcome, MeasurementError):
            self.standings.pop(number, None)
        self.watch.on_done(number, outcome)


def _empty_run(process: ModelProcess) -> LatencyRun:
    assert process.import_s is not None, "our own program reports it"
    start = Started(
        process.provider_used,
        process.import_s,
        process.load_s,
        process.first_s,
        warmup_runs=0,
        load_before=load_average(),
    )
    return LatencyRun(start, [], [])
