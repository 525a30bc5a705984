"""A device whose model processes have a given speed, memory and decisions, for tests of autotuning."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import made_records
import numpy as np
import tiny_nets

from pepr_edge.errors import ExportError, MeasurementError
from pepr_edge.export.artifact import ExportSource
from pepr_edge.export.autotune import AutotuneResult
from pepr_edge.export.convert import Converted
from pepr_edge.measure.interleaved_timing import ParticipantLatencies
from pepr_edge.recipe import Recipe
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


def by_name(result: AutotuneResult) -> dict[str, VariantTrial]:
    return {trial.variant: trial for trial in result.trials}


def ratios(trial: VariantTrial) -> list[float]:
    found = [timing.ratio_to_float32 for timing in trial.trials]
    return [ratio for ratio in found if ratio is not None]
