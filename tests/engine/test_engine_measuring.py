from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import made_records
import pytest
from made_records import entry, results

from pepr_edge.engine import measuring, this_machine
from pepr_edge.engine.measurement_host import MeasurementHost
from pepr_edge.errors import MeasurementError
from pepr_edge.measure.interleaved_profiles import Standing, Subject, Watch
from pepr_edge.records import DeviceProfile, ProfileRequest, Validity
from pepr_edge.run_dir.keys import profile_key
from pepr_edge.run_dir.reader import Results
from pepr_edge.run_dir.store import read_record

NAMES = ("a", "b", "c")
MACHINE = made_records.profile("a").device.machine


class View:
    """A view that keeps the labels of the bars and their last state."""

    def __init__(self) -> None:
        self.states: dict[str, tuple[int, int, str]] = {}

    def say(self, text: str) -> None:
        raise AssertionError(text)

    @contextmanager
    def bar(self, label: str) -> Any:
        states = self.states

        class Bar:
            def update(self, done: int, total: int, note: str = "") -> None:
                assert 0 <= done <= total
                states[label] = (done, total, note)

        yield Bar()


def waiting(folder: Path, rules: str = "adaptive") -> Results:
    made = results(folder, *(entry(folder, name) for name in NAMES), more=f'[profile]\nrules = "{rules}"\n')
    return replace(made, entries=tuple(replace(each, profile=None) for each in made.entries))


def profiled(request: ProfileRequest, valid: bool = True) -> DeviceProfile:
    judged = Validity(valid=valid, reasons=() if valid else ("drift: 1 ms",))
    changes = {"artifact_sha256": request.sha256, "rules": request.rules, "validity": judged}
    return made_records.profile("a").replace(**changes)


class Host:
    """Measures nothing: the outcome of the n-th measurement of a model is `outcomes[n]`, VALID by default."""

    def __init__(self, outcomes: Mapping[str, Sequence[bool | str]] | None = None) -> None:
        self.outcomes = outcomes or {}
        self.calls: list[str] = []
        self.stopped: list[set[int]] = []

    def name(self, request: ProfileRequest) -> str:
        return next(name for name in NAMES if made_records.artifact(name).sha256 == request.sha256)

    def outcome(self, request: ProfileRequest) -> DeviceProfile | MeasurementError:
        name = self.name(request)
        planned = self.outcomes.get(name, ())
        done = self.calls.count(name)
        self.calls.append(name)
        result = planned[done] if done < len(planned) else True
        return MeasurementError(result) if isinstance(result, str) else profiled(request, result)

    def profile(
        self, model: Path, request: ProfileRequest, progress: Callable[[float, float], None] | None = None
    ) -> DeviceProfile:
        assert progress is not None
        progress(0.5, 0.001)
        outcome = self.outcome(request)
        if isinstance(outcome, MeasurementError):
            raise outcome
        return outcome

    def profile_interleaved(self, subjects: Sequence[Subject], watch: Watch) -> None:
        known: dict[int, Standing] = {}
        for number, subject in enumerate(subjects):
            watch.on_progress(number, 0.1, None)
            known[number] = Standing((0.01, 0.011), 100)
            self.stopped.append(set(watch.may_stop(known)))
            watch.on_progress(number, 0.5, 0.001)
            watch.on_done(number, self.outcome(subject.request))

    def host(self, interleaved: bool = True) -> MeasurementHost:
        return MeasurementHost(
            MACHINE,
            self.profile,
            this_machine.engine(1),
            profile_interleaved=self.profile_interleaved if interleaved else None,
        )


def never(results: Results) -> Callable[[Mapping[int, Standing]], set[int]]:
    return lambda standings: set()


def rules_of(made: Results) -> list[str | None]:
    return [None if each.profile is None else each.profile.rules for each in made.entries]


def events(made: Results) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (made.folder / "events.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("interleaved", [True, False])
def test_each_result_is_written_at_once(tmp_path: Path, interleaved: bool) -> None:
    made = waiting(tmp_path)
    host = Host({"b": ["no such operator"]})
    view = View()
    measured = measuring.measure(made, host.host(interleaved), view, never)
    assert host.calls == ["a", "b", "c"]
    assert rules_of(measured) == ["adaptive", None, "adaptive"]
    failure = measured.entries[1].failure
    assert failure is not None
    assert (failure.stage, failure.reason) == ("profile", "no such operator")
    written = read_record(made.entries[0].folder / "profile.json", DeviceProfile)
    assert written == measured.entries[0].profile
    artifact = made.entries[0].artifact
    assert artifact is not None
    assert written.key == profile_key(artifact, made.recipe)
    assert set(view.states) == {"artifacts measured", "queries"}
    assert view.states["artifacts measured"][1] == 3
    assert [event["candidate"] for event in events(measured)] == ["a@64", "b@64", "c@64"]


def test_what_was_measured_before_a_kill_stays(tmp_path: Path) -> None:
    made = waiting(tmp_path)
    host = Host({"c": [True]})

    def killed(subjects: Sequence[Subject], watch: Watch) -> None:
        watch.on_done(1, profiled(subjects[1].request))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measuring.measure(made, replace(host.host(), profile_interleaved=killed), View(), never)
    profile = read_record(made.entries[1].folder / "profile.json", DeviceProfile)
    entries = (made.entries[0], replace(made.entries[1], profile=profile), made.entries[2])
    measuring.measure(replace(made, entries=entries), host.host(), View(), never)
    assert host.calls == ["a", "c"]


def test_a_disturbed_measurement_is_repeated_once(tmp_path: Path) -> None:
    host = Host({"a": [False, False], "c": [False]})
    measured = measuring.measure(waiting(tmp_path), host.host(), View(), never)
    assert host.calls == ["a", "b", "c", "a"]
    profiles = [each.profile for each in measured.entries]
    assert [profile is not None and profile.validity.valid for profile in profiles] == [False, True, False]


def test_places_are_asked_by_entry_and_without_the_disturbed_measurement(tmp_path: Path) -> None:
    made = waiting(tmp_path)
    entries = (replace(made.entries[0], profile=made_records.profile("a")), *made.entries[1:])
    asked: list[list[bool]] = []

    def may_stop(results: Results) -> Callable[[Mapping[int, Standing]], set[int]]:
        asked.append([each.profile is not None for each in results.entries])
        return lambda standings: {0, 2} & ({0} | set(standings))

    host = Host({"c": [False]})
    measuring.measure(replace(made, entries=entries), host.host(), View(), may_stop)
    assert host.calls == ["b", "c", "c"]
    assert asked == [[True, False, False], [True, True, False]]
    assert host.stopped == [set(), {1}, {0}]


@pytest.mark.parametrize("rules", ["full", "quick"])
def test_other_rules_measure_one_after_the_other(tmp_path: Path, rules: str) -> None:
    host = Host()
    measured = measuring.measure(waiting(tmp_path, rules), host.host(), View(), never)
    assert rules_of(measured) == [rules] * 3
    assert host.stopped == []


def test_models_of_bundles_are_measured_by_the_full_rules_too(tmp_path: Path) -> None:
    host = Host({"b": [True, "it crashed"], "c": [True, False, True]})
    measured = measuring.measure(waiting(tmp_path), host.host(), View(), never)
    view = View()
    measured = measuring.measure_fully(measured, [1, 2], host.host(), view)
    assert host.calls == ["a", "b", "c", "b", "c", "c"]
    assert rules_of(measured) == ["adaptive"] * 3
    first, second, third = measured.entries
    assert (first.full_profile, second.full_profile) == (None, None)
    assert third.full_profile is not None
    assert (third.full_profile.rules, third.full_profile.validity.valid) == ("full", True)
    assert third.artifact is not None
    written = read_record(third.folder / "profile-full.json", DeviceProfile)
    assert written.key == profile_key(third.artifact, measured.recipe, rules="full")
    assert "models of bundles measured" in view.states
    again = Host()
    assert measuring.measure_fully(measured, [2], again.host(), View()) == measured
    assert again.calls == []


def test_a_full_profile_of_another_machine_is_made_again(tmp_path: Path) -> None:
    host = Host()
    measured = measuring.measure_fully(
        measuring.measure(waiting(tmp_path), host.host(), View(), never), [0], host.host(), View()
    )
    full = measured.entries[0].full_profile
    assert full is not None
    device = full.device.model_copy(update={"cpu": "another"})
    other = replace(measured.entries[0], full_profile=full.model_copy(update={"device": device}))
    measuring.measure_fully(replace(measured, entries=(other,)), [0], host.host(), View())
    assert host.calls[-1] == "a"
    assert len(host.calls) == 5
