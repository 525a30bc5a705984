"""Artifact -> DeviceProfile: measure the artifacts of a run on its host, while nothing else runs there.

By the adaptive rules they are measured in turns. The other rules, and a host that cannot hold several models
open, measure one after the other. What is measured is written at once, so a run goes on where it was stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from pepr_edge.engine.measurement_host import MeasurementHost
from pepr_edge.errors import MeasurementError
from pepr_edge.measure.interleaved_profiles import MayStop, Standing, Subject, Watch
from pepr_edge.progress import ProgressBar, ProgressView
from pepr_edge.records import Artifact, DeviceProfile, Failure, ProfileRequest, RulesName
from pepr_edge.run_dir.keys import profile_key
from pepr_edge.run_dir.layout import FAILURE, FULL_PROFILE, MODEL, PROFILE
from pepr_edge.run_dir.reader import Results, VariantState
from pepr_edge.run_dir.store import log_event, write_record

# At most this share of the measurements is repeated: waiting does not help on a machine that is never quiet.
MAX_REPEATED_SHARE = 1 / 8

# Given the results so far: which entries, by number, need no further measurement.
MayStopOf = Callable[[Results], MayStop]


def measure(results: Results, host: MeasurementHost, view: ProgressView, may_stop: MayStopOf) -> Results:
    """Measure the artifacts that have no profile of this host, and return the results with their profiles.

    Some of the INVALID measurements, as on a machine that was disturbed, are repeated at the end.
    """
    entries = list(results.entries)
    waiting = [number for number, entry in enumerate(entries) if _needs_profile(entry, host)]
    with view.bar("artifacts measured") as outer, view.bar("queries") as inner:
        stage = _Stage(results, entries, host, outer, inner, may_stop)
        stage.measure(waiting)
        disturbed = [number for number in waiting if _is_invalid(entries[number].profile)]
        stage.measure(disturbed[: _repeats(waiting)], ", again")
    return replace(results, entries=tuple(entries))


def measure_fully(
    results: Results, numbers: Sequence[int], host: MeasurementHost, view: ProgressView
) -> Results:
    """Measure entries by the full rules too, if they were measured by the adaptive ones.

    The ranking stays as it is: its latencies were measured in turns, which these are not.
    """
    entries = list(results.entries)
    waiting = [number for number in numbers if _needs_full_profile(entries[number], host)]
    if not waiting:
        return results
    with view.bar("models of bundles measured") as outer, view.bar("queries") as inner:
        stage = _Stage(results, entries, host, outer, inner, lambda results: lambda standings: ())
        stage.measure_fully(waiting)
        disturbed = [number for number in waiting if _is_invalid(entries[number].full_profile)]
        stage.measure_fully(disturbed[: _repeats(waiting)], ", again")
    return replace(results, entries=tuple(entries))


def _repeats(waiting: Sequence[int]) -> int:
    return max(1, int(len(waiting) * MAX_REPEATED_SHARE))


def _needs_profile(entry: VariantState, host: MeasurementHost) -> bool:
    """True if an artifact has no profile of this host: one ranking holds latencies of one processor."""
    if entry.artifact is None:
        return False
    return entry.profile is None or entry.profile.device.machine != host.machine


def _needs_full_profile(entry: VariantState, host: MeasurementHost) -> bool:
    if entry.profile is None or entry.profile.rules != "adaptive":
        return False
    return entry.full_profile is None or entry.full_profile.device.machine != host.machine


def _is_invalid(profile: DeviceProfile | None) -> bool:
    return profile is not None and not profile.validity.valid


def _name(entry: VariantState) -> str:
    return f"{entry.candidate.id} {entry.variant}"


@dataclass
class _Stage:
    """A measuring stage: `entries` gets each result as soon as it is there."""

    results: Results
    entries: list[VariantState]
    host: MeasurementHost
    outer: ProgressBar
    inner: ProgressBar
    may_stop: MayStopOf

    def measure(self, numbers: Sequence[int], note: str = "") -> None:
        """Measure some entries by the recipe's rules."""
        rules = self.results.recipe.profile.rules
        if rules == "adaptive" and numbers and self.host.profile_interleaved is not None:
            self._measure_interleaved(numbers, note)
            return
        for done, number in enumerate(numbers):
            self.outer.update(done, len(numbers), _name(self.entries[number]) + note)
            try:
                outcome: DeviceProfile | MeasurementError = self._profile(number, rules)
            except MeasurementError as error:
                outcome = error
            self._keep(number, outcome)

    def measure_fully(self, numbers: Sequence[int], note: str = "") -> None:
        """Measure some entries by the full rules, one after the other."""
        for done, number in enumerate(numbers):
            entry = self.entries[number]
            self.outer.update(done, len(numbers), _name(entry) + note)
            try:
                profile = self._profile(number, "full")
            except MeasurementError as error:
                # The entry keeps its place, and its bundle the adaptive measurement.
                self._log(entry, rules="full", failed=str(error))
                continue
            key = profile_key(_artifact(entry), self.results.recipe, rules="full")
            profile = profile.replace(key=key)
            write_record(entry.folder / FULL_PROFILE, profile)
            validity = profile.validity
            self._log(entry, rules="full", valid=validity.valid, reasons=validity.reasons)
            self.entries[number] = replace(entry, full_profile=profile)

    def _measure_interleaved(self, numbers: Sequence[int], note: str) -> None:
        """Measure some entries in turns."""
        assert self.host.profile_interleaved is not None
        done: set[int] = set()
        # An earlier profile of an entry that is measured again does not count.
        fresh = [
            replace(entry, profile=None) if number in numbers else entry
            for number, entry in enumerate(self.entries)
        ]
        may_stop = self.may_stop(replace(self.results, entries=tuple(fresh)))

        def certain(standings: Mapping[int, Standing]) -> set[int]:
            known = {numbers[subject]: standing for subject, standing in standings.items()}
            stopped = may_stop(known)
            return {subject for subject, number in enumerate(numbers) if number in stopped}

        def on_done(subject: int, outcome: DeviceProfile | MeasurementError) -> None:
            self._keep(numbers[subject], outcome)
            done.add(subject)

        def on_progress(subject: int, share: float, median_s: float | None) -> None:
            name = _name(self.entries[numbers[subject]])
            figure = "peak memory" if median_s is None else f"p50 {median_s * 1e3:.2f} ms"
            self.outer.update(len(done), len(numbers), name + note)
            self.inner.update(round(100 * share), 100, figure)

        self.outer.update(0, len(numbers), note.removeprefix(", "))
        subjects = [
            Subject(self.entries[number].folder / MODEL, self._request(number, "adaptive"))
            for number in numbers
        ]
        self.host.profile_interleaved(subjects, Watch(on_done, on_progress, certain))

    def _profile(self, number: int, rules: RulesName) -> DeviceProfile:
        """Measure one artifact alone."""
        entry = self.entries[number]

        def on_progress(share: float, median_s: float) -> None:
            self.inner.update(round(100 * share), 100, f"p50 {median_s * 1e3:.2f} ms")

        return self.host.profile(entry.folder / MODEL, self._request(number, rules), on_progress)

    def _request(self, number: int, rules: RulesName) -> ProfileRequest:
        entry = self.entries[number]
        artifact = _artifact(entry)
        device = self.results.recipe.device
        px = entry.candidate.image_size_px
        return ProfileRequest(
            sha256=artifact.sha256,
            settings=artifact.settings or device.settings(),
            rules=rules,
            input_shape=(1, entry.candidate.in_channels, px, px),
            watts_per_core=device.watts_per_core,
        )

    def _keep(self, number: int, outcome: DeviceProfile | MeasurementError) -> None:
        """Write a profile or the failure, and put it into the entry."""
        entry = self.entries[number]
        key = profile_key(_artifact(entry), self.results.recipe)
        if isinstance(outcome, MeasurementError):
            failure = Failure(
                key=key,
                candidate=entry.candidate,
                variant=entry.variant,
                stage="profile",
                reason=str(outcome),
            )
            write_record(entry.folder / FAILURE, failure)
            (entry.folder / PROFILE).unlink(missing_ok=True)  # of another machine, if there is one
            self._log(entry, failed=str(outcome))
            self.entries[number] = replace(entry, profile=None, failure=failure)
            return
        profile = outcome.replace(key=key)
        write_record(entry.folder / PROFILE, profile)
        (entry.folder / FAILURE).unlink(missing_ok=True)
        validity = profile.validity
        self._log(entry, valid=validity.valid, reasons=validity.reasons, ended_by=profile.ended_by)
        self.entries[number] = replace(entry, profile=profile, failure=None)

    def _log(self, entry: VariantState, **event: object) -> None:
        names = {"candidate": entry.candidate.id, "variant": entry.variant}
        log_event(self.results.folder, "measured", **names, **event)


def _artifact(entry: VariantState) -> Artifact:
    assert entry.artifact is not None, "only artifacts are measured"
    return entry.artifact
