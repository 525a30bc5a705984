"""Autotuning with fake model processes of given speed, memory and decisions, and once with real ones."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import made_records
import numpy as np
import onnx
import pytest
import tiny_nets

from pepr_edge.errors import ExportError, MeasurementError
from pepr_edge.export import autotune as autotune_module
from pepr_edge.export import variant_race
from pepr_edge.export.artifact import ExportSource
from pepr_edge.export.autotune import AutotuneResult, autotune
from pepr_edge.export.convert import Converted
from pepr_edge.measure import interleaved_timing
from pepr_edge.measure.interleaved_timing import ParticipantLatencies
from pepr_edge.measure.runtimes import RUNTIMES
from pepr_edge.recipe import Budgets, Recipe
from pepr_edge.recipe.variants import load
from pepr_edge.records import Preprocess, SessionSettings, VariantTrial

LABELS = np.arange(40) % 2
RIGHT = np.eye(2, dtype=np.float32)[LABELS]
SPEC = Preprocess(channels=1, image_size_px=tiny_nets.PX, mean=(0.5,), std=(0.5,))
PIXELS = np.random.default_rng(0).integers(0, 256, (len(LABELS), tiny_nets.PX, tiny_nets.PX, 1), np.uint8)
MIB = 2**20


class Device:
    """A fake device: latency in ms, number of flipped decisions and memory, by "variant runtime"."""

    def __init__(
        self,
        latencies_ms: Mapping[str, float],
        flipped: Mapping[str, int] | None = None,
        mib: Mapping[str, int] | None = None,
    ):
        self.latencies_ms = latencies_ms
        self.flipped = flipped or {}
        self.mib = mib or {}
        self.made: list[str] = []
        # The participants of each race. By participant, the races (from 1) in which it dies or is disturbed.
        self.races: list[list[str]] = []
        self.dying: dict[str, Sequence[int]] = {}
        self.disturbed: dict[str, Sequence[int]] = {}

    def convert(
        self, variant: Any, base: Any, path: Path, images: Any, accept: Callable[[Path], bool]
    ) -> Converted:
        self.made.append(variant.name)
        if variant.name == "int8_dynamic":
            raise ExportError("onnxruntime cannot quantise this graph.")
        path.write_bytes(b"x" * 10)
        return Converted("as asked", ())

    def model_process(self, model: Path, settings: SessionSettings, shape: Any) -> FakeProcess:
        return FakeProcess(self, model.stem, settings)

    def time_interleaved(
        self, processes: Mapping[str, FakeProcess], rules: Any
    ) -> dict[str, ParticipantLatencies]:
        self.races.append([process.name for process in processes.values()])
        results = {}
        for name, process in processes.items():
            if len(self.races) in self.dying.get(process.name, ()):
                results[name] = ParticipantLatencies([], "it died", {})
                continue
            latency_s = process.latency_s
            if len(self.races) in self.disturbed.get(process.name, ()):
                latency_s *= 3
            results[name] = ParticipantLatencies([latency_s] * 30, "", dict.fromkeys(range(5), latency_s))
        return results


class FakeProcess:
    """A variant under a runtime on the fake device."""

    load_s = first_s = 0.01

    def __init__(self, device: Device, variant: str, settings: SessionSettings) -> None:
        name = f"{variant} {settings.runtime}"
        if name not in device.latencies_ms:
            raise MeasurementError(f"{name}: was ended by SIGSEGV.")
        self.device = device
        self.name = name
        self.settings = settings
        # Slower with two threads, and a little faster without the arena.
        factor = (1.5 if settings.threads > 1 else 1.0) * (1.0 if settings.arena else 0.95)
        self.latency_s = device.latencies_ms[name] * 1e-3 * factor

    def __enter__(self) -> FakeProcess:
        return self

    def __exit__(self, *fault: object) -> None:
        return None

    def peak_memory_bytes(self) -> int:
        return self.device.mib.get(self.name, 50) * MIB

    def logits(self, pixels: Any, spec: Any) -> Any:
        flipped = np.arange(len(LABELS)) < self.device.flipped.get(self.name, 0)
        return np.where(flipped[:, None], 1 - RIGHT, RIGHT)


def recipe(**device: Any) -> Recipe:
    values = {
        "name": "t",
        "device": {"name": "d", "threads": 2, **device},
        "candidates": {"architectures": ["resnet18"]},
    }
    return Recipe.model_validate({**values, "export": {"variants": "auto", "time_budget_s": 60}})


def source(
    wanted: Recipe, spec: Preprocess = SPEC, labels: Any = LABELS, before: Any = RIGHT
) -> ExportSource:
    """A candidate with only what autotuning uses; its training images are those of validation."""
    trained = SimpleNamespace(preprocess=spec, seed=0, performance_metric="accuracy")
    data = SimpleNamespace(
        info=made_records.info("small").data, splits={"train": (PIXELS, labels), "val": (PIXELS, labels)}
    )
    return ExportSource(trained, {"val": before}, data, wanted)  # type: ignore[arg-type]


VARIANTS = ("fp32", "int8_static", "int8_inputs", "int8_dynamic", "int8_mixed")
FP32 = {"fp32 onnxruntime": 4.0, "fp32 openvino": 3.0}


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, two_runtimes: None) -> Callable[..., AutotuneResult]:
    """Run autotuning on a fake device with onnxruntime and OpenVINO."""

    def run(
        device: Device, wanted: Recipe | None = None, variants: tuple[str, ...] = VARIANTS
    ) -> AutotuneResult:
        monkeypatch.setattr(autotune_module, "convert", device.convert)
        monkeypatch.setattr(variant_race, "time_interleaved", device.time_interleaved)
        monkeypatch.setattr(autotune_module, "ModelProcess", device.model_process)
        base = tmp_path / "base.onnx"
        onnx.save(tiny_nets.convolutions(), str(base))
        return autotune(
            source(wanted or recipe()),
            base,
            tuple(map(load, variants)),
            tmp_path,
            lambda done, total, note: None,
        )

    return run


def by_name(result: AutotuneResult) -> dict[str, VariantTrial]:
    return {trial.variant: trial for trial in result.trials}


def ratios(trial: VariantTrial) -> list[float]:
    found = [timing.ratio_to_float32 for timing in trial.trials]
    return [ratio for ratio in found if ratio is not None]


def test_the_fastest_file_that_keeps_quality_is_chosen_with_its_settings(
    on: Callable[..., AutotuneResult],
) -> None:
    result = on(
        Device(
            {**FP32, "int8_static onnxruntime": 2.0, "int8_static openvino": 5.0, "int8_inputs openvino": 6.0}
        )
    )
    assert result.variant == "int8_static"
    assert (
        result.settings.runtime,
        result.settings.threads,
        result.settings.arena,
        result.settings.batch,
    ) == ("onnxruntime", 1, False, 1)
    trials = by_name(result)
    assert tuple(trials) == VARIANTS
    assert trials["int8_static"].outcome == "chosen"
    assert "1.9 ms with onnxruntime, 1 thread, no arena, 1.58 times" in trials["int8_static"].reason
    assert trials["fp32"].outcome == "slower"
    assert re.search(r"1\.58 times as long as the chosen", trials["fp32"].reason)
    assert min(ratios(trials["fp32"])) == 1.0
    assert trials["int8_dynamic"].outcome == "failed"
    assert "cannot quantise" in trials["int8_dynamic"].reason
    assert result.path.is_file()


def test_a_variant_that_loses_quality_is_rejected_and_fallbacks_are_tried(
    on: Callable[..., AutotuneResult],
) -> None:
    fast = {"int8_static onnxruntime": 1.0, "int8_inputs openvino": 2.0, "int8_mixed openvino": 1.5}
    result = on(Device({**FP32, **fast}, flipped={"int8_static onnxruntime": 9}))
    trials = by_name(result)
    assert result.variant == "int8_mixed"
    assert trials["int8_static"].outcome == "quality"
    assert "accuracy is 77.5%" in trials["int8_static"].reason
    assert trials["int8_static"].quality is not None
    assert trials["int8_static"].quality.flips.count == 9
    assert trials["int8_inputs"].outcome == "slower"


def test_a_fallback_is_not_tried_if_no_variant_lost_quality(on: Callable[..., AutotuneResult]) -> None:
    device = Device(
        {**FP32, "int8_static openvino": 1.0, "int8_inputs openvino": 2.0, "int8_mixed openvino": 0.1}
    )
    trials = by_name(on(device))
    assert "int8_mixed" not in device.made
    assert trials["int8_mixed"].outcome == "not tried"
    assert trials["int8_mixed"].trials == ()


def test_the_second_fastest_settings_are_judged_if_the_fastest_lose_quality(
    on: Callable[..., AutotuneResult],
) -> None:
    latencies = {"int8_static openvino": 1.0, "int8_static onnxruntime": 1.5}
    result = on(Device({**FP32, **latencies}, flipped={"int8_static openvino": 20}))
    assert (result.variant, result.settings.runtime) == ("int8_static", "onnxruntime")
    quality = by_name(result)["int8_static"].quality
    assert quality is not None
    assert quality.passed
    assert quality.settings.runtime == "onnxruntime"


def test_a_crash_fails_only_its_own_trial_and_is_recorded(on: Callable[..., AutotuneResult]) -> None:
    result = on(Device({"fp32 onnxruntime": 4.0, "int8_static onnxruntime": 2.0}))
    assert result.variant == "int8_static"
    crashed = [trial for trial in by_name(result)["int8_static"].trials if trial.latency_s is None]
    assert {trial.reason for trial in crashed} == {"int8_static openvino: was ended by SIGSEGV."}
    assert by_name(result)["int8_inputs"].outcome == "failed"


def test_a_variant_over_the_memory_budget_is_rejected(on: Callable[..., AutotuneResult]) -> None:
    device = Device(
        {**FP32, "int8_static openvino": 1.0}, mib={"int8_static openvino": 300, "fp32 openvino": 300}
    )
    result = on(device, recipe(memory_mib=200))
    assert (result.variant, result.settings.runtime) == ("fp32", "onnxruntime")
    assert by_name(result)["int8_static"].outcome == "memory"
    assert "300 MiB, budget 200 MiB" in by_name(result)["int8_static"].reason


def test_a_variant_over_the_size_budget_is_not_timed(on: Callable[..., AutotuneResult]) -> None:
    # 5 bytes; every file here has 10.
    wanted = recipe().model_copy(update={"budgets": Budgets(size_mib=5e-6)})
    with pytest.raises(ExportError, match="fp32: file of "):
        on(Device(FP32), wanted)


def test_without_the_best_and_float32_nothing_can_be_compared(on: Callable[..., AutotuneResult]) -> None:
    device = Device({**FP32, "int8_static onnxruntime": 1.0})
    device.dying = {"fp32 openvino": range(2, 10)}
    result = on(device)
    assert result.variant == "fp32"
    trial = by_name(result)["int8_static"]
    assert trial.outcome == "slower"
    assert trial.trials[0].ratio_to_float32 is None
    assert "not shown" in trial.reason


def test_if_the_best_dies_float32_is_the_comparison(on: Callable[..., AutotuneResult]) -> None:
    device = Device({**FP32, "int8_static openvino": 2.0, "int8_inputs openvino": 1.5})
    device.dying = {"int8_static openvino": [3]}
    result = on(device, variants=("fp32", "int8_static", "int8_inputs"))
    assert "int8_static openvino" in device.races[2]
    assert "fp32 openvino" in device.races[3]
    assert result.variant == "int8_inputs"
    assert min(ratios(by_name(result)["int8_inputs"])) == pytest.approx(0.5)


def test_a_variant_that_was_faster_by_chance_loses_the_final_race(on: Callable[..., AutotuneResult]) -> None:
    device = Device({**FP32, "int8_static openvino": 4.0})
    device.disturbed = {"fp32 openvino": [2]}
    result = on(device)
    assert (result.variant, result.settings.runtime) == ("fp32", "openvino")
    trials = by_name(result)
    assert min(ratios(trials["int8_static"])) < 1
    assert trials["int8_static"].outcome == "slower"
    assert "1.33 times as long" in trials["int8_static"].reason
    assert "no variant that passed is shown to be faster" in trials["fp32"].reason
    assert trials["fp32"].final is not None
    assert trials["fp32"].final.ratio_to_float32 == 1.0


def test_the_second_best_can_win_the_final_race_with_its_own_quality(
    on: Callable[..., AutotuneResult],
) -> None:
    device = Device({**FP32, "int8_static openvino": 2.0, "int8_inputs openvino": 2.2})
    device.disturbed = {"int8_static openvino": [3]}
    result = on(device, variants=("fp32", "int8_static", "int8_inputs"))
    assert result.variant == "int8_static"
    assert result.path.is_file()
    trials = by_name(result)
    assert trials["int8_static"].quality is not None
    assert trials["int8_static"].quality.settings == result.settings
    assert "1.5 times as fast as float32" in trials["int8_static"].reason


def test_files_of_at_most_three_finalists_are_kept(
    on: Callable[..., AutotuneResult], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    latencies = {"int8_static openvino": 2.0, "int8_inputs openvino": 1.9, "int8_mixed openvino": 1.8}
    device = Device({**FP32, **latencies})
    convert = device.convert
    held: list[int] = []

    def counted(*arguments: Any) -> Converted:
        held.append(len([path for path in tmp_path.glob("*.onnx") if path.name != "base.onnx"]))
        return convert(*arguments)

    variants = ("fp32", "int8_static", "int8_inputs", "int8_static_per_tensor", "int8_mixed")
    monkeypatch.setattr(device, "convert", counted)
    on(device, variants=variants)
    assert held == [0, 1, 2, 3]
    assert len(device.races[-1]) == 3


class Clock:
    """A simulated time, which measuring moves on, and a machine whose speed depends on it."""

    def __init__(self, slowness: Callable[[float], float]) -> None:
        self.now_s = 0.0
        self.slowness = slowness
        self.noise = np.random.default_rng(0)

    def perf_counter(self) -> float:
        return self.now_s

    def sleep(self, duration_s: float) -> None:
        self.now_s += duration_s

    def run(self, latency_s: float) -> float:
        duration_s = latency_s * self.slowness(self.now_s) * self.noise.lognormal(0.0, 0.03)
        self.now_s += duration_s
        return duration_s


class DriftingProcess(FakeProcess):
    """A fake process on the simulated machine."""

    clock: Clock
    reason = ""

    def time(self, count: int) -> list[float]:
        return [self.clock.run(self.latency_s) for _ in range(count)]


def slower_from(start_s: float) -> Callable[[float], float]:
    return lambda now_s: 3.0 if now_s >= start_s else 1.0


def slower_in_turns(period_s: float) -> Callable[[float], float]:
    return lambda now_s: 3.0 if now_s % period_s > period_s / 2 else 1.0


DRIFTS = {
    **{f"slower from {start_s} s": slower_from(start_s) for start_s in (1, 3, 5, 7, 9, 11)},
    "faster from 5 s": lambda now_s: 1.0 if now_s >= 5 else 3.0,
    "slower in turns": slower_in_turns(4.0),
    "ever slower": lambda now_s: 1.0 + 0.2 * now_s,
}


@pytest.mark.parametrize("name", DRIFTS)
def test_the_speed_of_the_machine_does_not_choose_the_variant(
    on: Callable[..., AutotuneResult], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    clock = Clock(DRIFTS[name])
    monkeypatch.setattr(interleaved_timing, "time", clock)
    monkeypatch.setattr("pepr_edge.export.autotune.time", clock)
    monkeypatch.setattr(DriftingProcess, "clock", clock, raising=False)
    device = Device({**FP32, "int8_static openvino": 2.0, "int8_inputs openvino": 2.6})
    monkeypatch.setattr(device, "time_interleaved", interleaved_timing.time_interleaved)
    monkeypatch.setattr(
        device, "model_process", lambda model, settings, shape: DriftingProcess(device, model.stem, settings)
    )
    result = on(device, variants=("fp32", "int8_static", "int8_inputs"))
    assert (result.variant, result.settings.runtime) == ("int8_static", "openvino")
    trials = by_name(result)
    final = trials["int8_static"].final
    assert final is not None
    assert final.ratio_to_float32 == pytest.approx(2.0 / 3.0, rel=0.06)
    assert min(ratios(trials["int8_inputs"])) == pytest.approx(2.6 / 3.0, rel=0.06)
    assert clock.now_s < 60


def test_a_slower_variant_that_loses_quality_triggers_no_fallback(on: Callable[..., AutotuneResult]) -> None:
    device = Device({**FP32, "int8_static onnxruntime": 30.0}, flipped={"int8_static onnxruntime": 9})
    trial = by_name(on(device))["int8_static"]
    assert trial.outcome == "slower"
    assert re.search(r"10 times as long.*; and accuracy is 77\.5%", trial.reason)
    assert "int8_mixed" not in device.made


def test_a_full_disk_fails_one_variant(
    on: Callable[..., AutotuneResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    device = Device({**FP32, "int8_inputs onnxruntime": 1.0})
    convert = device.convert

    def full(variant: Any, *rest: Any) -> Converted:
        if variant.name == "int8_static":
            raise OSError(28, "No space left on device")
        return convert(variant, *rest)

    monkeypatch.setattr(device, "convert", full)
    result = on(device)
    assert result.variant == "int8_inputs"
    assert by_name(result)["int8_static"].outcome == "failed"


def test_float32_remains_if_all_other_variants_are_slower(on: Callable[..., AutotuneResult]) -> None:
    result = on(Device({**FP32, "int8_static onnxruntime": 30.0, "int8_inputs onnxruntime": 30.0}))
    assert (result.variant, result.settings.runtime) == ("fp32", "openvino")
    assert by_name(result)["fp32"].outcome == "chosen"


def test_a_speed_up_below_one_per_cent_does_not_replace_the_best(on: Callable[..., AutotuneResult]) -> None:
    assert on(Device({"fp32 onnxruntime": 4.0, "int8_static onnxruntime": 3.97})).variant == "fp32"


def test_after_the_time_budget_float32_remains(
    on: Callable[..., AutotuneResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter(range(0, 10_000, 40))
    monkeypatch.setattr(autotune_module.time, "perf_counter", lambda: float(next(now)))
    result = on(Device({**FP32, "int8_static openvino": 1.0}))
    assert result.variant == "fp32"
    assert {trial.outcome for trial in result.trials} == {"chosen", "not tried"}
    assert "time budget of 60 s" in by_name(result)["int8_static"].reason


def test_if_nothing_runs_each_reason_is_named(on: Callable[..., AutotuneResult]) -> None:
    with pytest.raises(ExportError, match=r"fp32: fp32 onnxruntime: was ended by SIGSEGV"):
        on(Device({}), variants=("fp32", "int8_static"))


def test_a_runtime_without_trial_settings_is_refused_before_a_file_is_made(
    on: Callable[..., AutotuneResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RUNTIMES, "another", SimpleNamespace(trial_settings=lambda settings: ()))
    wanted = recipe()
    another = wanted.device.model_copy(update={"runtime": "another"})
    device = Device(FP32)
    with pytest.raises(ExportError, match="no settings for autotuning"):
        on(device, wanted.model_copy(update={"device": another}))
    assert device.made == []


def test_a_failure_without_text_has_its_type_as_reason(
    on: Callable[..., AutotuneResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any) -> Converted:
        raise OSError

    device = Device(FP32)
    monkeypatch.setattr(device, "convert", fail)
    with pytest.raises(ExportError, match="fp32: OSError; int8_static: OSError"):
        on(device, variants=("fp32", "int8_static"))


@pytest.mark.slow
def test_a_network_ruined_by_int8_ends_as_mixed_or_float32(tmp_path: Path) -> None:
    """The range of one channel is a thousand times that of the others, which int8 then rounds to 0."""
    base = tmp_path / "base.onnx"
    onnx.save(tiny_nets.convolutions(times=1000.0), str(base))
    spec = SPEC.model_copy(update={"mean": (0.5,), "std": (0.29,)})
    from pepr_edge.images.preprocess import to_tensor

    before = tiny_nets.logits(base, to_tensor(PIXELS, spec))
    labels = before.argmax(axis=1)
    wanted = recipe(runtime="onnxruntime", threads=1)
    variants = tuple(map(load, ("fp32", "int8_static_per_tensor", "int8_mixed")))
    result = autotune(source(wanted, spec, labels, before), base, variants, tmp_path, lambda *_: None)
    assert result.variant in ("fp32", "int8_mixed")
    quality = by_name(result)[result.variant].quality
    assert quality is not None
    assert quality.passed
    assert quality.flips.count == 0
    assert by_name(result)["int8_static_per_tensor"].quality is not None
    assert not by_name(result)["int8_static_per_tensor"].quality.passed  # type: ignore[union-attr]
