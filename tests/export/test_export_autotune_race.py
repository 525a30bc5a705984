"""Autotuning: the final race, and a machine whose speed changes meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_device import FP32, Device, FakeProcess, by_name, ratios

from pepr_edge.export.autotune import AutotuneResult
from pepr_edge.export.convert import Converted
from pepr_edge.measure import interleaved_timing


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


def test_a_speed_up_below_one_per_cent_does_not_replace_the_best(on: Callable[..., AutotuneResult]) -> None:
    assert on(Device({"fp32 onnxruntime": 4.0, "int8_static onnxruntime": 3.97})).variant == "fp32"
