from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import cycle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tiny_bundle

from pepr_edge.errors import MeasurementError
from pepr_edge.measure import interleaved_profiles
from pepr_edge.measure.interleaved_profiles import (
    BLOCK_S,
    Standing,
    Subject,
    Watch,
    groups,
    profile_interleaved,
    standing,
)
from pepr_edge.measure.job import TimedBlock
from pepr_edge.measure.profile import profile
from pepr_edge.measure.profile_record import MemoryUse
from pepr_edge.records import DeviceProfile, Manifest, ProfileRequest, SessionSettings

SHAPE = (1, 1, tiny_bundle.PX, tiny_bundle.PX)
MIB = 1 << 20

Outcomes = dict[int, DeviceProfile | MeasurementError]


def request(sha256: str, **settings: Any) -> ProfileRequest:
    return ProfileRequest(
        sha256=sha256,
        settings=SessionSettings(**settings),
        rules="adaptive",
        input_shape=SHAPE,
        watts_per_core=10.0,
    )


class Models:
    """Models that take no time: `speeds` gives the latencies of each, one after the other."""

    def __init__(self, speeds: Mapping[str, Iterator[float]]) -> None:
        self.speeds = speeds
        self.turns: list[str] = []
        self.opened: list[str] = []
        self.open: set[str] = set()
        self.crash_after: dict[str, int] = {}

    def start(self, model: Path, settings: SessionSettings, shape: Any, limit_s: float) -> Any:
        name = model.name
        self.opened.append(name)
        self.open.add(name)
        process = SimpleNamespace(
            provider_used="fake", import_s=0.1, load_s=0.1, first_s=0.01, settings=settings, reason=""
        )

        def close() -> None:
            self.open.discard(name)
            process.reason = "ended"

        def block(runs: int, warmup_runs: int) -> TimedBlock:
            assert warmup_runs <= 5
            if runs > 10 or warmup_runs:
                self.turns.append(name)
            if self.turns.count(name) == self.crash_after.get(name):
                close()
                raise MeasurementError(f"{name} crashed")
            return TimedBlock([next(self.speeds[name]) for _ in range(runs)], 0.1, None)

        process.close = close
        process.block = block
        process.__enter__ = lambda: process
        return _Context(process)


class _Context:
    def __init__(self, process: Any) -> None:
        self.process = process

    def __enter__(self) -> Any:
        return self.process

    def __exit__(self, *_: object) -> None:
        self.process.close()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcomes]:
    """Measure fake models; `run.models` are they."""

    def measure(
        models: Models,
        may_stop: Callable[[Mapping[int, Standing]], Any] = lambda standings: (),
        free_mib: int = 10_000,
        peak_mib: int | None = 100,
        **settings: Any,
    ) -> Outcomes:
        peak = None if peak_mib is None else peak_mib * MIB
        use = MemoryUse(dict.fromkeys(("import", "load", "first", "end"), peak))
        monkeypatch.setattr(interleaved_profiles, "ModelProcess", models.start)
        monkeypatch.setattr(interleaved_profiles, "check_model", lambda model, request: None)
        monkeypatch.setattr(interleaved_profiles, "memory_use", lambda job: use)
        monkeypatch.setattr(interleaved_profiles, "rest_s", lambda settings: 0.0)
        rules = interleaved_profiles.RULES["adaptive"]._replace(warmup_s=0.0, warmup_runs=1)
        monkeypatch.setitem(interleaved_profiles.RULES, "adaptive", rules)
        outcomes: Outcomes = {}
        shares: list[float] = []

        def on_done(number: int, outcome: DeviceProfile | MeasurementError) -> None:
            assert number not in outcomes
            outcomes[number] = outcome

        def on_progress(number: int, share: float, median_s: float | None) -> None:
            shares.append(share)

        subjects = [Subject(Path(name), request("0" * 64, **settings)) for name in models.speeds]
        profile_interleaved(subjects, Watch(on_done, on_progress, may_stop), free_mib * MIB)
        assert not models.open
        assert all(0 <= share <= 1 for share in shares)
        return outcomes

    return measure


def steady(latency_s: float) -> Iterator[float]:
    return cycle([latency_s, latency_s * 1.001])


def bursts(latency_s: float) -> Iterator[float]:
    """A fifth of the speed for about a tenth of the inferences, one after the other: p90 is hardly known."""
    calm = [latency_s] * round(3 / latency_s)
    return cycle(calm + [5 * latency_s] * round(0.34 / latency_s))


def of(outcomes: Outcomes, number: int) -> DeviceProfile:
    outcome = outcomes[number]
    assert isinstance(outcome, DeviceProfile)
    return outcome


def test_models_take_turns_until_each_interval_is_narrow(run: Any) -> None:
    models = Models({"a": steady(0.002), "b": steady(0.004), "slow": steady(0.02)})
    outcomes = run(models)
    assert [of(outcomes, number).ended_by for number in range(3)] == ["interval"] * 3
    # Eight blocks of half a second are the least; 1,024 queries of 20 ms take longer.
    assert [len(of(outcomes, number).blocks) for number in range(3)] == [8, 9, 41]
    assert of(outcomes, 0).blocks == (250,) * 8
    assert len(of(outcomes, 2).latencies_s) >= 1024
    assert {name: models.turns[:24].count(name) for name in models.speeds} == {"a": 8, "b": 8, "slow": 8}
    assert of(outcomes, 0).validity.valid
    assert of(outcomes, 1).cpu_s_per_inference == pytest.approx(0.9 / 1125)
    assert of(outcomes, 1).energy_j_per_inference.method == "declared"
    assert list(outcomes) == [0, 1, 2]


def test_the_order_of_turns_changes_from_round_to_round(run: Any) -> None:
    models = Models({"a": steady(0.002), "b": steady(0.002), "c": steady(0.002)})
    run(models)
    rounds = [tuple(models.turns[start : start + 3]) for start in range(0, 24, 3)]
    assert all(set(each) == {"a", "b", "c"} for each in rounds)
    assert len(set(rounds)) > 2


def test_a_disturbed_model_is_measured_for_as_long_as_by_the_full_rules(run: Any) -> None:
    outcomes = run(Models({"steady": steady(0.002), "bursts": bursts(0.002)}))
    noisy = of(outcomes, 1)
    assert noisy.ended_by == "time"
    assert 60 <= sum(noisy.latencies_s) < 60 + 6 * BLOCK_S
    assert of(outcomes, 0).ended_by == "interval"


def test_a_model_whose_place_is_certain_is_over_after_the_queries(run: Any) -> None:
    seen: list[Mapping[int, Standing]] = []

    def may_stop(standings: Mapping[int, Standing]) -> set[int]:
        seen.append(dict(standings))
        return {1}

    outcomes = run(Models({"steady": steady(0.002), "bursts": bursts(0.002)}), may_stop)
    assert of(outcomes, 1).ended_by == "place"
    assert len(of(outcomes, 1).latencies_s) >= 1024
    assert 8 <= len(of(outcomes, 1).blocks) < 12
    assert seen[0] == {}
    low_s, high_s = seen[-1][0].p90_s
    assert low_s == pytest.approx(0.002, rel=0.01)
    assert low_s <= high_s
    assert seen[-1][0].peak_memory_bytes == 100 * MIB


def test_a_slow_model_ends_at_the_cap_and_is_invalid(run: Any) -> None:
    outcomes = run(Models({"slow": steady(2.0)}))
    measured = of(outcomes, 0)
    assert (measured.ended_by, measured.validity.valid, len(measured.latencies_s)) == ("time", False, 300)
    assert measured.validity.reasons[0].startswith("minimum queries: 300")


def test_a_model_that_drifts_is_measured_on(run: Any) -> None:
    drifting = [0.002] * 1000 + [0.004] * 3000
    outcomes = run(Models({"drift": iter(drifting + [0.004] * 40_000)}))
    measured = of(outcomes, 0)
    assert len(measured.latencies_s) > 2000
    assert measured.validity.valid


def test_a_model_that_crashes_ends_alone(run: Any) -> None:
    models = Models({"a": steady(0.002), "crash": steady(0.002), "b": steady(0.002)})
    models.crash_after["crash"] = 3
    outcomes = run(models)
    assert str(outcomes[1]) == "crash crashed"
    assert of(outcomes, 0).validity.valid
    assert of(outcomes, 2).validity.valid


def test_a_model_that_cannot_be_checked_or_opened_is_reported(
    bundle: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_bundle.measure_briefly(monkeypatch)
    outcomes: Outcomes = {}
    subjects = [
        Subject(bundle / "model.onnx", request("0" * 64)),
        Subject(bundle / "model.onnx", request(manifest.files["model.onnx"])),
        Subject(bundle / "model.onnx", request(manifest.files["model.onnx"], provider="cuda")),
    ]
    watch = Watch(outcomes.__setitem__, lambda number, share, median_s: None, lambda standings: ())
    profile_interleaved(subjects, watch)
    assert "altered" in str(outcomes[0])
    assert "CUDAExecutionProvider" in str(outcomes[2])
    measured = of(outcomes, 1)
    assert DeviceProfile.model_validate_json(measured.model_dump_json()) == measured
    assert (measured.rules, measured.ended_by in ("interval", "time")) == ("adaptive", True)
    assert min(measured.import_s, measured.load_s, measured.first_s) > 0
    assert measured.warmup_runs >= tiny_bundle.FAST.warmup_runs
    assert measured.cpu_s_per_inference is not None
    assert measured.cpu_s_per_inference > 0


def test_profile_measures_alone_by_the_adaptive_rules(
    bundle: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_bundle.measure_briefly(monkeypatch)
    shares: list[float] = []
    wanted = request(manifest.files["model.onnx"])
    measured = profile(bundle / "model.onnx", wanted, lambda share, median_s: shares.append(share))
    assert measured.rules == "adaptive"
    assert sum(measured.blocks) == len(measured.latencies_s)
    assert shares == sorted(shares)
    with pytest.raises(MeasurementError, match="altered"):
        profile(bundle / "model.onnx", request("0" * 64))


def test_models_that_do_not_fit_together_are_measured_in_groups(run: Any) -> None:
    models = Models({name: steady(0.002) for name in "abcde"})
    outcomes = run(models, free_mib=600)  # half of it: three models
    assert models.opened == ["a", "b", "c", "a", "d", "e"]
    assert list(outcomes) == [0, 1, 2, 3, 4] or set(outcomes) == set(range(5))
    assert all(of(outcomes, number).validity.valid for number in range(5))
    assert len(of(outcomes, 0).blocks) == 8


def test_a_group_is_invalid_if_the_machine_changed_since_the_first(run: Any) -> None:
    first = [0.002] * 2200
    models = Models({"a": iter(first + [0.003] * 10_000), "b": steady(0.002), "c": steady(0.002)})
    outcomes = run(models, free_mib=400)
    assert models.opened == ["a", "b", "a", "c"]
    (reason,) = of(outcomes, 2).validity.reasons
    assert "2 ms with the first group of models and 3 ms with this one" in reason
    assert of(outcomes, 1).validity.valid


def test_few_models_are_open_at_once_on_a_gpu(run: Any) -> None:
    models = Models({name: steady(0.002) for name in "abcdef"})
    run(models, provider="cuda")
    assert models.opened == ["a", "b", "c", "d", "a", "e", "f"]


def test_groups_hold_the_first_and_at_least_one_other() -> None:
    assert groups({}, 100, 9) == []
    assert groups({4: 10}, 1, 9) == [[4]]
    assert groups({0: 10, 1: 10, 2: 10}, 30, 9) == [[0, 1, 2]]
    assert groups({0: 10, 1: 10, 2: 10, 3: 10}, 20, 9) == [[0, 1], [0, 2], [0, 3]]
    assert groups({0: 50, 1: 50, 2: 50}, 1, 9) == [[0, 1], [0, 2]]
    assert groups({0: 1, 1: 1, 2: 1, 3: 1, 4: 1}, 100, 3) == [[0, 1, 2], [0, 3, 4]]


def test_a_standing_includes_the_estimate_that_ranks() -> None:
    latencies_s = [number / 1e5 for number in range(1, 1001)] * 2
    known = standing(latencies_s, (200,) * 10, 7)
    assert known is not None
    assert known.p90_s[0] < 0.009
    assert known.p90_s[1] > 0.0091
    assert known.peak_memory_bytes == 7
    assert standing([0.1] * 20, (5,) * 4, None) is None
