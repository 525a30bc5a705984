"""The ladder with contestants whose speed, memory and answers are given, and once with real ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import tiny_nets

from pepr_edge.errors import ExportError, MeasurementError
from pepr_edge.export import autotune as autotune_module
from pepr_edge.export import options
from pepr_edge.export.artifact import ExportSource
from pepr_edge.export.autotune import AutotuneResult, autotune
from pepr_edge.export.convert import Converted
from pepr_edge.measure.interleaved_timing import ParticipantLatencies
from pepr_edge.recipe import Budgets, Recipe
from pepr_edge.recipe.variants import load
from pepr_edge.records import Preprocess, SessionSettings, VariantTrial

LABELS = np.arange(40) % 2
RIGHT = np.eye(2, dtype=np.float32)[LABELS]
SPEC = Preprocess(channels=1, image_size_px=tiny_nets.PX, mean=(0.5,), std=(0.5,))
PIXELS = np.random.default_rng(0).integers(0, 256, (len(LABELS), tiny_nets.PX, tiny_nets.PX, 1), np.uint8)
MIB = 2**20


class Device:
    """What each variant does on a made-up device: latency in ms by "variant runtime", how many decisions it turns, and its memory."""

    def __init__(
        self,
        latencies_ms: Mapping[str, float],
        turned: Mapping[str, int] | None = None,
        mib: Mapping[str, int] | None = None,
    ):
        self.latencies_ms, self.turned, self.mib = latencies_ms, turned or {}, mib or {}
        self.made: list[str] = []
        self.dying: set[str] = set()

    def make(
        self, variant: Any, base: Any, path: Path, images: Any, accept: Callable[[Path], bool]
    ) -> Converted:
        self.made.append(variant.name)
        if variant.name == "int8_dynamic":
            raise ExportError("onnxruntime cannot quantise this graph.")
        path.write_bytes(b"x" * 10)
        return Converted("as asked", ())

    def contestant(self, model: Path, settings: SessionSettings, shape: Any) -> Contestant:
        return Contestant(self, model.stem, settings)

    def race(self, contestants: Mapping[str, Contestant], rules: Any) -> dict[str, ParticipantLatencies]:
        return {
            name: ParticipantLatencies([] if name in self.dying else [one.latency_s] * 30, "it died")
            for name, one in contestants.items()
        }


class Contestant:
    """A variant under a runtime on the made-up device."""

    load_s = first_s = 0.01

    def __init__(self, device: Device, variant: str, settings: SessionSettings) -> None:
        way = f"{variant} {settings.runtime}"
        if way not in device.latencies_ms:
            raise MeasurementError(f"{way}: was ended by SIGSEGV.")
        self.device, self.way, self.settings = device, way, settings
        # Two threads are of no use to it, and without its arena it is a little faster.
        factor = (1.5 if settings.threads > 1 else 1.0) * (1.0 if settings.arena else 0.95)
        self.latency_s = device.latencies_ms[way] * 1e-3 * factor

    def __enter__(self) -> Contestant:
        return self

    def __exit__(self, *fault: object) -> None:
        return None

    def peak_memory_bytes(self) -> int:
        return self.device.mib.get(self.way, 50) * MIB

    def logits(self, pixels: Any, spec: Any) -> Any:
        turned = np.arange(len(LABELS)) < self.device.turned.get(self.way, 0)
        return np.where(turned[:, None], 1 - RIGHT, RIGHT)


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
    """A candidate of which no more is known than a ladder asks for; its training images are those of validation."""
    trained = SimpleNamespace(preprocess=spec, seed=0, performance_metric="accuracy")
    data = SimpleNamespace(splits={"train": (PIXELS, labels), "val": (PIXELS, labels)})
    return ExportSource(trained, {"val": before}, data, wanted)  # type: ignore[arg-type]


VARIANTS = ("fp32", "int8_static", "int8_inputs", "int8_dynamic", "int8_mixed")
FP32 = {"fp32 onnxruntime": 4.0, "fp32 openvino": 3.0}


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., AutotuneResult]:
    """Climb a ladder on a made-up device."""

    def climbed(
        device: Device, wanted: Recipe | None = None, variants: tuple[str, ...] = VARIANTS
    ) -> AutotuneResult:
        monkeypatch.setattr(options.RUNTIMES["openvino"], "unavailable", lambda provider="cpu": None)
        for name, method in {"convert": "make", "time_interleaved": "race"}.items():
            monkeypatch.setattr(autotune_module, name, getattr(device, method))
        monkeypatch.setattr(autotune_module, "ModelProcess", device.contestant)
        base = tmp_path / "base.onnx"
        onnx.save(tiny_nets.convolutions(), str(base))
        return autotune(
            source(wanted or recipe()),
            base,
            tuple(map(load, variants)),
            tmp_path,
            lambda done, total, note: None,
        )

    return climbed


def by_name(choice: AutotuneResult) -> dict[str, VariantTrial]:
    return {rung.variant: rung for rung in choice.rungs}


def test_the_fastest_that_keeps_its_quality_is_chosen_with_its_runtime_and_options(
    on: Callable[..., AutotuneResult],
) -> None:
    choice = on(
        Device(
            {**FP32, "int8_static onnxruntime": 2.0, "int8_static openvino": 5.0, "int8_inputs openvino": 6.0}
        )
    )
    assert choice.variant == "int8_static"
    assert (
        choice.settings.runtime,
        choice.settings.threads,
        choice.settings.arena,
        choice.settings.batch,
    ) == ("onnxruntime", 1, False, 1)
    rungs = by_name(choice)
    assert tuple(rungs) == VARIANTS
    assert rungs["int8_static"].outcome == "chosen"
    assert rungs["int8_static"].reason == (
        "the fastest that passed: 1.9 ms with onnxruntime, 1 thread, no arena, about 1.6 times as fast as float32 with openvino, 1 thread"
    )
    assert rungs["fp32"].outcome == "slower"
    assert rungs["fp32"].reason == "3 ms, the chosen one 1.9 ms"
    assert rungs["int8_dynamic"].outcome == "failed"
    assert "cannot quantise" in rungs["int8_dynamic"].reason
    assert choice.path.is_file()


def test_one_that_loses_quality_is_passed_over_and_remedies_are_tried(
    on: Callable[..., AutotuneResult],
) -> None:
    fast = {"int8_static onnxruntime": 1.0, "int8_inputs openvino": 2.0, "int8_mixed openvino": 1.5}
    choice = on(Device({**FP32, **fast}, turned={"int8_static onnxruntime": 9}))
    rungs = by_name(choice)
    assert choice.variant == "int8_mixed"
    assert rungs["int8_static"].outcome == "quality"
    assert "accuracy is 77.5% of float32's" in rungs["int8_static"].reason
    assert rungs["int8_static"].quality is not None
    assert rungs["int8_static"].quality.flips.count == 9
    assert rungs["int8_inputs"].outcome == "slower"


def test_a_remedy_is_not_tried_where_nothing_lost_quality(on: Callable[..., AutotuneResult]) -> None:
    device = Device(
        {**FP32, "int8_static openvino": 1.0, "int8_inputs openvino": 2.0, "int8_mixed openvino": 0.1}
    )
    rungs = by_name(on(device))
    assert "int8_mixed" not in device.made
    assert rungs["int8_mixed"].outcome == "not tried"
    assert rungs["int8_mixed"].trials == ()


def test_the_second_fastest_way_of_a_file_is_judged_where_the_fastest_loses_quality(
    on: Callable[..., AutotuneResult],
) -> None:
    ways = {"int8_static openvino": 1.0, "int8_static onnxruntime": 1.5}
    choice = on(Device({**FP32, **ways}, turned={"int8_static openvino": 20}))
    assert (choice.variant, choice.settings.runtime) == ("int8_static", "onnxruntime")
    quality = by_name(choice)["int8_static"].quality
    assert quality is not None
    assert quality.passed
    assert quality.settings.runtime == "onnxruntime"


def test_a_crash_loses_only_itself_and_is_written_down(on: Callable[..., AutotuneResult]) -> None:
    choice = on(Device({"fp32 onnxruntime": 4.0, "int8_static onnxruntime": 2.0}))
    assert choice.variant == "int8_static"
    crashed = [trial for trial in by_name(choice)["int8_static"].trials if trial.latency_s is None]
    assert {trial.reason for trial in crashed} == {"int8_static openvino: was ended by SIGSEGV."}
    assert by_name(choice)["int8_inputs"].outcome == "failed"


def test_one_that_breaks_the_memory_budget_is_passed_over(on: Callable[..., AutotuneResult]) -> None:
    device = Device(
        {**FP32, "int8_static openvino": 1.0}, mib={"int8_static openvino": 300, "fp32 openvino": 300}
    )
    choice = on(device, recipe(memory_mib=200))
    assert (choice.variant, choice.settings.runtime) == ("fp32", "onnxruntime")
    assert by_name(choice)["int8_static"].outcome == "memory"
    assert by_name(choice)["int8_static"].reason == "peak memory 300 MiB, budget 200 MiB"


def test_one_that_breaks_the_size_budget_is_not_raced(on: Callable[..., AutotuneResult]) -> None:
    wanted = recipe().model_copy(
        update={"budgets": Budgets(size_mib=5e-6)}
    )  # 5 bytes; every file here has 10
    with pytest.raises(ExportError, match="no variant runs here within the budgets: fp32: file of "):
        on(Device(FP32), wanted)


def test_where_the_best_dies_in_a_race_what_it_reached_before_is_the_mark(
    on: Callable[..., AutotuneResult],
) -> None:
    device = Device({**FP32, "int8_static onnxruntime": 30.0})
    device.dying = {"best"}
    choice = on(device)
    assert choice.variant == "fp32"
    assert by_name(choice)["int8_static"].outcome == "slower"


def test_one_that_is_slower_and_worse_calls_for_no_remedy(on: Callable[..., AutotuneResult]) -> None:
    device = Device({**FP32, "int8_static onnxruntime": 30.0}, turned={"int8_static onnxruntime": 9})
    rung = by_name(on(device))["int8_static"]
    assert rung.outcome == "slower"
    assert rung.reason.startswith("30 ms, the chosen one 3 ms; and accuracy is 77.5% of float32's")
    assert "int8_mixed" not in device.made


def test_a_full_disk_fails_one_rung(
    on: Callable[..., AutotuneResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    device = Device({**FP32, "int8_inputs onnxruntime": 1.0})
    make = device.make

    def full(variant: Any, *rest: Any) -> Converted:
        if variant.name == "int8_static":
            raise OSError(28, "No space left on device")
        return make(variant, *rest)

    monkeypatch.setattr(device, "make", full)
    choice = on(device)
    assert choice.variant == "int8_inputs"
    assert by_name(choice)["int8_static"].outcome == "failed"


def test_float32_is_left_where_all_else_is_worse(on: Callable[..., AutotuneResult]) -> None:
    choice = on(Device({**FP32, "int8_static onnxruntime": 30.0, "int8_inputs onnxruntime": 30.0}))
    assert (choice.variant, choice.settings.runtime) == ("fp32", "openvino")
    assert by_name(choice)["fp32"].outcome == "chosen"


def test_what_is_within_a_per_cent_of_the_best_does_not_replace_it(on: Callable[..., AutotuneResult]) -> None:
    assert on(Device({"fp32 onnxruntime": 4.0, "int8_static onnxruntime": 3.97})).variant == "fp32"


def test_the_time_budget_ends_it_and_leaves_float32(
    on: Callable[..., AutotuneResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter(range(0, 10_000, 40))
    monkeypatch.setattr(autotune_module.time, "perf_counter", lambda: float(next(now)))
    choice = on(Device({**FP32, "int8_static openvino": 1.0}))
    assert choice.variant == "fp32"
    assert {rung.outcome for rung in choice.rungs} == {"chosen", "not tried"}
    assert by_name(choice)["int8_static"].reason == "the time budget of 60 s was over"


def test_where_nothing_runs_it_says_why_of_each(on: Callable[..., AutotuneResult]) -> None:
    with pytest.raises(
        ExportError,
        match=r"no variant runs here within the budgets: fp32: fp32 onnxruntime: was ended by SIGSEGV",
    ):
        on(Device({}), variants=("fp32", "int8_static"))


@pytest.mark.slow
def test_a_network_that_int8_ruins_ends_in_mixed_or_float32_and_says_why(tmp_path: Path) -> None:
    """One channel with a range a thousand times the others: as int8 it drowns them."""
    base = tmp_path / "base.onnx"
    onnx.save(tiny_nets.convolutions(times=1000.0), str(base))
    spec = SPEC.model_copy(update={"mean": (0.5,), "std": (0.29,)})
    from pepr_edge.images.preprocess import to_tensor

    before = tiny_nets.logits(base, to_tensor(PIXELS, spec))
    labels = before.argmax(axis=1)
    wanted = recipe(runtime="onnxruntime", threads=1)
    variants = tuple(map(load, ("fp32", "int8_static_per_tensor", "int8_mixed")))
    choice = autotune(source(wanted, spec, labels, before), base, variants, tmp_path, lambda *_: None)
    assert choice.variant in ("fp32", "int8_mixed")
    quality = by_name(choice)[choice.variant].quality
    assert quality is not None
    assert quality.passed
    assert quality.flips.count == 0
    assert by_name(choice)["int8_static_per_tensor"].quality is not None
    assert not by_name(choice)["int8_static_per_tensor"].quality.passed  # type: ignore[union-attr]
