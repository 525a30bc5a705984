"""A bundle for tests of the field commands: a model of a few hundred parameters, made with onnx alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from pepr_edge.field import bench
from pepr_edge.measure import interleaved_profiles, rules, secondary_metrics, selftest
from pepr_edge.measure import profile as profile_module
from pepr_edge.measure.job import MeasurementRules
from pepr_edge.measure.profile import EnergyCounter, OnPartial, Progress
from pepr_edge.measure.runtimes import RUNTIMES
from pepr_edge.records import (
    Bound,
    DeviceFacts,
    DeviceProfile,
    Estimate,
    Fallback,
    Manifest,
    Preprocess,
    ProfileRequest,
    Quantity,
    SelfTestSpec,
    SessionSettings,
    TensorSpec,
    TrainCost,
    Validity,
)
from pepr_edge.run_dir.store import sha256_file, write_record

# Tests do not judge the machine that they run on: brief and disturbed measurements are VALID.
UNDISTURBED = {"MAX_DRIFT": math.inf, "MAX_LATE_SHARE": 1.0}

PX = 16
LABELS = ("normal", "pneumonia")
# As brief as possible: 70 latencies support a p90.
FAST = MeasurementRules(warmup_runs=2, warmup_s=0.0, queries=70, duration_s=0.05, cap_s=5.0)


def model(channels: int = 1, px: int = PX, classes: int = len(LABELS), seed: int = 0) -> onnx.ModelProto:
    """Return a model of Conv, global average pool and Gemm, with a dynamic batch."""
    rng = np.random.default_rng(seed)
    weights = {
        "conv_weight": rng.normal(size=(8, channels, 3, 3)).astype(np.float32),
        "gemm_weight": rng.normal(size=(classes, 8)).astype(np.float32),
        "gemm_bias": rng.normal(size=classes).astype(np.float32),
    }
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["pixel_values", "conv_weight"], ["features"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["features"], ["active"]),
            helper.make_node("GlobalAveragePool", ["active"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["flat"]),
            helper.make_node("Gemm", ["flat", "gemm_weight", "gemm_bias"], ["logits"], transB=1),
        ],
        "tiny",
        [helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["batch", channels, px, px])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", classes])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def profile(sha256: str, channels: int = 1, threads: int = 1) -> DeviceProfile:
    """Return the profile at home."""
    return DeviceProfile(
        artifact_sha256=sha256,
        settings=SessionSettings(threads=threads),
        provider_used="CPUExecutionProvider",
        rules="quick",
        input_shape=(1, channels, PX, PX),
        validity=Validity(valid=True),
        latencies_s=(0.001,) * 128,
        warmup_runs=100,
        import_s=0.2,
        load_s=0.01,
        first_s=0.001,
        peak_memory_bytes=60_000_000,
        memory_stages_bytes={
            "import": 40_000_000,
            "load": 50_000_000,
            "first": 55_000_000,
            "end": 60_000_000,
        },
        cpu_s_per_inference=0.001,
        energy_j_per_inference=Quantity(value=None, method="unavailable"),
        load_before=0.1,
        load_after=0.2,
        steal_s=0.0,
        device=DeviceFacts(
            cpu="AMD EPYC",
            architecture="x86_64",
            isa=("avx2",),
            cores=2,
            memory_bytes=4 << 30,
            os="Linux 6.1",
            python="3.11.7",
            versions={"onnxruntime": "1.32.0"},
        ),
    )


def manifest(folder: Path, spec: Preprocess, test: SelfTestSpec, **changes: Any) -> Manifest:
    """Return the manifest of the files in a folder."""
    measured = Quantity(value=1.0, method="measured")
    values = {
        "architecture": "tiny",
        "variant": "fp32",
        "image_size_px": spec.image_size_px,
        "num_params": 98,
        "labels": LABELS,
        "preprocess": spec,
        "input": TensorSpec(
            name="pixel_values", shape=(-1, spec.channels, spec.image_size_px, spec.image_size_px)
        ),
        "output": TensorSpec(name="logits", shape=(-1, len(LABELS))),
        "performance": {"accuracy": Estimate(value=0.9, ci=(0.85, 0.95), split="test", n=100)},
        "performance_metric": "accuracy",
        "train_cost": TrainCost(**dict.fromkeys(TrainCost.model_fields, measured)),
        "profile": profile(sha256_file(folder / "model.onnx"), spec.channels),
        "pepr": {"E": 0.5, "edge": 0.5},
        "rank": 1,
        "bounds": {"train_energy": Bound(lo=0.0, hi=1.0, unit="J")},
        "set_id": "0123",
        "selftest": test,
        "provenance": {"seed": 0, "versions": {"pepr_edge": "0.1.0"}},
        "files": {
            path.name: sha256_file(path) for path in sorted(folder.iterdir()) if path.name != "manifest.json"
        },
    }
    return Manifest.model_validate({**values, **changes})


def write(
    folder: Path, *, channels: int = 1, tolerance: float = 1e-3, seed: int = 0, fallback: bool = False
) -> Path:
    """Write a bundle that passes its self-test, with or without a fallback that passes too."""
    folder.mkdir(parents=True)
    onnx.save(model(channels, seed=seed), folder / "model.onnx")
    spec = Preprocess(channels=channels, image_size_px=PX, mean=(0.5,) * channels, std=(0.25,) * channels)
    pixels = np.random.default_rng(seed).integers(0, 256, (4, PX, PX, channels), dtype=np.uint8)
    arrays = {"logits": logits_of(folder / "model.onnx", pixels, spec)}
    changes: dict[str, Any] = {}
    test = SelfTestSpec(n=4, tolerance=tolerance)
    if fallback:
        onnx.save(model(channels, seed=seed + 1), folder / "fallback.onnx")
        arrays["fallback_logits"] = logits_of(folder / "fallback.onnx", pixels, spec)
        changes = {
            "fallback": Fallback(file="fallback.onnx", variant="fp32", selftest=test),
            "variant": "int8_static",
        }
    np.savez_compressed(folder / "selftest.npz", pixels=pixels, **arrays)  # type: ignore[arg-type]
    (folder / "MODEL_CARD.md").write_text("A model card.\n", encoding="utf-8")
    write_record(folder / "manifest.json", manifest(folder, spec, test, **changes))
    return folder


def logits_of(path: Path, pixels: NDArray[np.uint8], spec: Preprocess) -> NDArray[np.float32]:
    """Return the logits of a file on this machine."""
    runtime = RUNTIMES["onnxruntime"]
    session = runtime.open(path, SessionSettings())
    return selftest.session_answers(runtime, session, pixels, spec).logits


def spoil(folder: Path, name: str) -> None:
    """Replace a model as if this device computed other logits, with correct checksums."""
    onnx.save(model(seed=7), folder / name)
    rewrite_manifest(folder, lambda made: made)


def measured_with(folder: Path, **settings: Any) -> None:
    """Change the settings with which a bundle was measured at home."""

    def change(made: Manifest) -> Manifest:
        home = made.profile.settings.model_copy(update=settings)
        return made.model_copy(update={"profile": made.profile.model_copy(update={"settings": home})})

    rewrite_manifest(folder, change)


def rewrite_manifest(folder: Path, change: Callable[[Manifest], Manifest]) -> None:
    """Change a bundle's manifest, and update its checksums, so that it does not look altered."""
    read = Manifest.model_validate_json((folder / "manifest.json").read_bytes())
    files = {name: sha256_file(folder / name) for name in read.files}
    profiled = read.profile.model_copy(update={"artifact_sha256": files["model.onnx"]})
    write_record(
        folder / "manifest.json", change(read.model_copy(update={"files": files, "profile": profiled}))
    )


def measure_briefly(patch: pytest.MonkeyPatch) -> None:
    """Make measurements by any rules brief, and VALID."""
    for name in ("adaptive", "quick", "full", "look"):
        patch.setitem(rules.RULES, name, FAST)
    patch.setattr(interleaved_profiles, "BLOCK_S", 0.01)
    for name, limit in UNDISTURBED.items():
        patch.setattr(rules, name, limit)
    patch.setattr(profile_module, "MEMORY_PASSES", 1)
    patch.setattr(secondary_metrics, "BATCHES", ())
    patch.setattr(secondary_metrics, "SOURCE_PX", 64)


def fake_profile(patch: pytest.MonkeyPatch) -> None:
    """Let `bench` get the profile at home without measuring: half of the latencies first, then all."""

    def fake(
        model: Path,
        request: ProfileRequest,
        progress: Progress | None,
        *,
        on_partial: OnPartial,
        counter: EnergyCounter | None,
    ) -> DeviceProfile:
        changes = {"settings": request.settings, "paced_s": request.paced_s}
        whole = profile(request.sha256).model_copy(update=changes)
        half = {"latencies_s": whole.latencies_s[:64], "validity": Validity(valid=False)}
        on_partial(lambda: whole.model_copy(update=half))
        if progress is not None:
            progress(0.5, 0.001)
        return whole

    patch.setattr(bench, "profile", fake)


def image(path: Path, seed: int = 0, size: tuple[int, int] = (20, 30)) -> Path:
    """Write an image of noise."""
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)).save(path)
    return path
