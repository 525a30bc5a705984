from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnxruntime as ort
import pytest
import tiny_bundle

from pepr_edge.errors import MeasurementError
from pepr_edge.field.runtimes import RUNTIMES, onnxruntime
from pepr_edge.records import SessionSettings

TENSOR = np.zeros((3, 1, tiny_bundle.PX, tiny_bundle.PX), np.float32)


def test_telemetry_is_off() -> None:
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"


def test_onnxruntime_runs_any_batch(bundle: Path) -> None:
    runtime = RUNTIMES["onnxruntime"]
    session = runtime.open(bundle / "model.onnx", SessionSettings())
    logits = runtime.run(session, TENSOR)
    assert logits.shape == (3, 2)
    assert logits.dtype == np.float32
    assert runtime.provider_used(session) == "CPUExecutionProvider"
    assert np.array_equal(runtime.bind(session, TENSOR)()[0], logits)  # type: ignore[index]


@pytest.mark.parametrize("spinning", [False, True])
def test_settings_reach_the_session(bundle: Path, spinning: bool) -> None:
    settings = SessionSettings(threads=2, spinning=spinning, arena=False, graph_optimisation="basic")
    options = RUNTIMES["onnxruntime"].open(bundle / "model.onnx", settings).get_session_options()
    assert options.intra_op_num_threads == 2
    assert options.enable_cpu_mem_arena is False
    assert options.graph_optimization_level == ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == str(int(spinning))


def test_a_provider_that_is_not_there_is_a_reason() -> None:
    assert RUNTIMES["onnxruntime"].unavailable("cpu") is None
    reason = RUNTIMES["onnxruntime"].unavailable("cuda")
    assert reason is not None
    assert reason.startswith("onnxruntime has no CUDAExecutionProvider here, only ")


def test_a_silent_fallback_is_a_fault(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "unavailable", lambda provider="cpu": None)
    real = ort.InferenceSession
    monkeypatch.setattr(ort, "InferenceSession", lambda model, options, providers: real(model, options, providers=providers[-1:]))
    with pytest.raises(MeasurementError, match="'cuda' asked for, but onnxruntime fell back to CPUExecutionProvider"):
        RUNTIMES["onnxruntime"].open(bundle / "model.onnx", SessionSettings(provider="cuda"))


@pytest.mark.parametrize("name", RUNTIMES)
def test_a_missing_library_is_a_reason(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    assert str(RUNTIMES[name].unavailable("cpu")).startswith(f"{name} cannot be imported")
    with pytest.raises(MeasurementError, match=f"{name} cannot be imported"):
        RUNTIMES[name].open(Path("model.onnx"), SessionSettings(runtime=name))


def test_a_missing_file_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(MeasurementError, match=r"model\.onnx: no such file"):
        RUNTIMES["onnxruntime"].open(tmp_path / "model.onnx", SessionSettings())


def test_openvino_computes_in_float32_on_the_cpu(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    core = SimpleNamespace(compile_model=lambda *words: asked.append(words))
    monkeypatch.setitem(sys.modules, "openvino", SimpleNamespace(Core=lambda: core))
    RUNTIMES["openvino"].open(bundle / "model.onnx", SessionSettings(runtime="openvino", threads=3))
    assert asked[0][1:] == ("CPU", {"INFERENCE_NUM_THREADS": 3, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"})
    assert RUNTIMES["openvino"].unavailable("cuda") is not None


def test_openvino_agrees_with_onnxruntime(bundle: Path) -> None:
    pytest.importorskip("openvino")
    runtime = RUNTIMES["openvino"]
    session = runtime.open(bundle / "model.onnx", SessionSettings(runtime="openvino"))
    expected = RUNTIMES["onnxruntime"].run(RUNTIMES["onnxruntime"].open(bundle / "model.onnx", SessionSettings()), TENSOR)
    assert np.allclose(runtime.run(session, TENSOR), expected, atol=1e-4)
    assert runtime.provider_used(session).startswith("openvino CPU")
    runtime.bind(session, TENSOR)()
