"""Autotuning with fake model processes of given speed, memory and decisions, and once with real ones."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import pytest
import tiny_nets
from fake_device import FP32, PIXELS, SPEC, VARIANTS, Device, by_name, ratios, recipe, source

from pepr_edge.errors import ExportError
from pepr_edge.export import autotune as autotune_module
from pepr_edge.export.autotune import AutotuneResult, autotune
from pepr_edge.export.convert import Converted
from pepr_edge.measure.runtimes import RUNTIMES
from pepr_edge.recipe import Budgets
from pepr_edge.recipe.variants import load


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
    assert "accuracy is 77.5 %" in trials["int8_static"].reason
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


def test_a_slower_variant_that_loses_quality_triggers_no_fallback(on: Callable[..., AutotuneResult]) -> None:
    device = Device({**FP32, "int8_static onnxruntime": 30.0}, flipped={"int8_static onnxruntime": 9})
    trial = by_name(on(device))["int8_static"]
    assert trial.outcome == "slower"
    assert re.search(r"10 times as long.*; and accuracy is 77\.5 %", trial.reason)
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
    another_runtime = SimpleNamespace(
        trial_settings=lambda settings: (), threads_on=lambda cores, threads: threads
    )
    monkeypatch.setitem(RUNTIMES, "another", another_runtime)
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
