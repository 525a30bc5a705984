from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import tiny_bundle
from numpy.typing import NDArray

from pepr_edge.device.cpu import isa, usable_cores
from pepr_edge.errors import MeasurementError
from pepr_edge.measure.runtimes import RUNTIMES, onnxruntime
from pepr_edge.records import Provider, SessionSettings

# Not importorskip: only our module imports OpenVINO without a report over the network.
needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="openvino is not installed"
)
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


def test_onnxruntime_takes_only_the_batch_of_the_settings(bundle: Path, tmp_path: Path) -> None:
    runtime = RUNTIMES["onnxruntime"]
    session = runtime.open(bundle / "model.onnx", SessionSettings(batch=3))
    assert session.get_inputs()[0].shape[0] == 3
    assert np.array_equal(
        runtime.run(session, TENSOR),
        runtime.run(runtime.open(bundle / "model.onnx", SessionSettings()), TENSOR),
    )
    other = tiny_bundle.model()
    other.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "images"
    onnx.save(other, tmp_path / "other.onnx")
    assert runtime.run(runtime.open(tmp_path / "other.onnx", SessionSettings(batch=1)), TENSOR).shape == (
        3,
        2,
    )


def test_settings_unsupported_by_onnxruntime_are_one_clear_line(bundle: Path) -> None:
    with pytest.raises(MeasurementError, match=r"^precision 'bfloat16' .* 'float32'\.$"):
        RUNTIMES["onnxruntime"].open(bundle / "model.onnx", SessionSettings(precision="bfloat16"))
    with pytest.raises(MeasurementError, match=r"'most', .* all, extended, basic, none"):
        RUNTIMES["onnxruntime"].open(bundle / "model.onnx", SessionSettings(graph_optimisation="most"))


@pytest.mark.parametrize(
    ("provider", "name"), [("cuda", "CUDA"), ("tensorrt", "Tensorrt"), ("directml", "Dml")]
)
def test_a_missing_provider_is_a_reason(bundle: Path, provider: Provider, name: str) -> None:
    assert RUNTIMES["onnxruntime"].unavailable("cpu") is None
    reason = RUNTIMES["onnxruntime"].unavailable(provider)
    assert f"no {name}ExecutionProvider" in str(reason)
    with pytest.raises(MeasurementError, match=rf"'{provider}' .* pip install onnxruntime-"):
        RUNTIMES["onnxruntime"].open(bundle / "model.onnx", SessionSettings(provider=provider))


@pytest.mark.parametrize("provider", ["cuda", "tensorrt", "directml"])
def test_a_silent_fallback_is_an_error(
    bundle: Path, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime, "unavailable", lambda provider="cpu": None)
    real = ort.InferenceSession
    monkeypatch.setattr(
        ort,
        "InferenceSession",
        lambda model, options, providers: real(model, options, providers=providers[-1:]),
    )
    with pytest.raises(MeasurementError, match=f"'{provider}' .* fell back to CPUExecutionProvider"):
        RUNTIMES["onnxruntime"].open(bundle / "model.onnx", SessionSettings(provider=provider))


class FakeSession:
    """A fake session on a GPU, which keeps its arguments."""

    used: tuple[str, ...] = ()

    def __init__(
        self, model: str, options: ort.SessionOptions, providers: list[str | tuple[str, dict[str, str]]]
    ) -> None:
        self.options = options
        self.providers = providers
        self.offered = [provider if isinstance(provider, str) else provider[0] for provider in providers]

    def get_providers(self) -> list[str]:
        return list(self.used or self.offered)

    def disable_fallback(self) -> None:
        pass


def test_tensorrt_that_fell_back_to_cuda_is_an_error(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "unavailable", lambda provider="cpu": None)
    monkeypatch.setattr(ort, "InferenceSession", FakeSession)
    settings = SessionSettings(provider="tensorrt")
    session = RUNTIMES["onnxruntime"].open(bundle / "model.onnx", settings)
    assert session.offered == ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    assert ("CUDAExecutionProvider", {"use_tf32": "0"}) in session.providers
    monkeypatch.setattr(FakeSession, "used", tuple(session.offered[1:]))
    with pytest.raises(MeasurementError, match=r"fell back to CUDAExecutionProvider: .* TensorRT"):
        RUNTIMES["onnxruntime"].open(bundle / "model.onnx", settings)


def test_directml_runs_without_memory_pattern_and_in_sequence(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime, "unavailable", lambda provider="cpu": None)
    monkeypatch.setattr(ort, "InferenceSession", FakeSession)
    options = (
        RUNTIMES["onnxruntime"].open(bundle / "model.onnx", SessionSettings(provider="directml")).options
    )
    assert options.enable_mem_pattern is False
    assert options.execution_mode == ort.ExecutionMode.ORT_SEQUENTIAL


@pytest.mark.parametrize(
    ("name", "library"), [("onnxruntime", "onnxruntime"), ("openvino", "openvino"), ("pytorch", "torch")]
)
def test_a_missing_library_is_a_reason(name: str, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    assert str(RUNTIMES[name].unavailable("cpu")).startswith(f"{library} cannot be imported")
    with pytest.raises(MeasurementError, match=f"{library} cannot be imported"):
        RUNTIMES[name].open(Path("model.onnx"), SessionSettings(runtime=name))


def test_a_missing_file_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(MeasurementError, match=r"model\.onnx: no such file"):
        RUNTIMES["onnxruntime"].open(tmp_path / "model.onnx", SessionSettings())


@pytest.mark.parametrize("content", [b"no model", b""], ids=["broken", "empty"])
@pytest.mark.parametrize("name", RUNTIMES)
def test_a_broken_or_empty_file_is_one_clear_line(name: str, content: bytes, tmp_path: Path) -> None:
    reason = RUNTIMES[name].unavailable()
    if reason is not None:
        pytest.skip(reason)
    for file in ("model.onnx", "program.pt2"):
        (tmp_path / file).write_bytes(content)
    with pytest.raises(MeasurementError, match=r"(model\.onnx|program\.pt2): ") as caught:
        RUNTIMES[name].open(tmp_path / "model.onnx", SessionSettings(runtime=name))
    assert "\n" not in str(caught.value)


def logits(bundle: Path) -> NDArray[np.float32]:
    """Return the logits of onnxruntime for TENSOR."""
    return RUNTIMES["onnxruntime"].run(
        RUNTIMES["onnxruntime"].open(bundle / "model.onnx", SessionSettings()), TENSOR
    )


@needs_openvino
@pytest.mark.parametrize("batch", [None, 3])
def test_openvino_agrees_with_onnxruntime(bundle: Path, batch: int | None) -> None:
    runtime = RUNTIMES["openvino"]
    settings = SessionSettings(runtime="openvino", threads=min(2, usable_cores()), batch=batch)
    session = runtime.open(bundle / "model.onnx", settings)
    assert np.allclose(runtime.run(session, TENSOR), logits(bundle), atol=1e-4)
    assert session.get_property("INFERENCE_NUM_THREADS") == settings.threads
    assert session.inputs[0].partial_shape[0].is_static == (batch is not None)
    assert runtime.provider_used(session).startswith("openvino CPU")
    runtime.bind(session, TENSOR)()
    assert runtime.unavailable("cuda") is not None


@needs_openvino
@pytest.mark.skipif("avx512_bf16" not in isa() and "amx_bf16" not in isa(), reason="the CPU lacks bfloat16")
def test_openvino_computes_in_bfloat16_if_the_settings_say_so(bundle: Path) -> None:
    runtime = RUNTIMES["openvino"]
    bfloat16_logits = runtime.run(
        runtime.open(bundle / "model.onnx", SessionSettings(runtime="openvino", precision="bfloat16")), TENSOR
    )
    assert np.allclose(bfloat16_logits, logits(bundle), atol=0.1)


class FakeOpenVINO:
    """A fake library that uses a given precision and number of threads, and keeps the hints it was given."""

    def __init__(self, precision: str, threads: int, hyper_threads: int) -> None:
        self.precision = precision
        self.threads = threads
        self.hyper_threads = hyper_threads
        self.compiled: list[dict[str, object]] = []

    def Core(self) -> FakeOpenVINO:  # noqa: N802 - the library's name
        return self

    def read_model(self, path: str) -> str:
        return "network"

    def compile_model(self, network: str, device: str, hints: dict[str, object]) -> SimpleNamespace:
        self.compiled.append(hints)
        properties = {
            "INFERENCE_NUM_THREADS": self.hyper_threads
            if "ENABLE_HYPER_THREADING" in hints
            else self.threads,
            "INFERENCE_PRECISION_HINT": SimpleNamespace(get_type_name=lambda: self.precision),
        }
        return SimpleNamespace(get_property=properties.__getitem__)


@pytest.mark.parametrize(("precision", "used"), [("float32", "bf16"), ("bfloat16", "f32")])
def test_a_silent_change_of_precision_is_an_error(
    bundle: Path, precision: Literal["float32", "bfloat16"], used: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = FakeOpenVINO(used, 3, 3)
    monkeypatch.setitem(sys.modules, "openvino", library)
    with pytest.raises(MeasurementError, match=f"precision '{precision}' .* {used}"):
        RUNTIMES["openvino"].open(
            bundle / "model.onnx", SessionSettings(runtime="openvino", threads=3, precision=precision)
        )
    hint = {"float32": "f32", "bfloat16": "bf16"}[precision]
    hints = {"INFERENCE_NUM_THREADS": 3, "INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY"}
    assert library.compiled == [hints]


def test_openvino_takes_hyper_threads_if_the_threads_of_the_settings_need_them(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = FakeOpenVINO("f32", 2, 4)
    monkeypatch.setitem(sys.modules, "openvino", library)
    RUNTIMES["openvino"].open(bundle / "model.onnx", SessionSettings(runtime="openvino", threads=4))
    assert [hints.get("ENABLE_HYPER_THREADING") for hints in library.compiled] == [None, True]
    with pytest.raises(MeasurementError, match=r"threads = 8 .* uses 4 here"):
        RUNTIMES["openvino"].open(bundle / "model.onnx", SessionSettings(runtime="openvino", threads=8))


@needs_openvino
def test_openvino_refuses_more_threads_than_it_would_use(bundle: Path) -> None:
    settings = SessionSettings(runtime="openvino", threads=64 * (os.cpu_count() or 1))
    with pytest.raises(MeasurementError, match=f"threads = {settings.threads} asked for"):
        RUNTIMES["openvino"].open(bundle / "model.onnx", settings)


@needs_openvino
def test_openvino_does_not_report_that_it_was_imported() -> None:
    program = (
        "import sys; from pepr_edge.measure.runtimes import openvino as ours; ours.import_library(); "
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert "openvino" in loaded
    assert "openvino_telemetry" not in loaded


def save_program(path: Path) -> NDArray[np.float32]:
    """Write a program with the layers of the bundle's model, and return its logits for TENSOR."""
    import torch

    torch.manual_seed(0)
    convolution = torch.nn.Conv2d(1, 8, 3, padding=1)
    network = torch.nn.Sequential(
        convolution, torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(8, 2)
    )
    example = torch.zeros(2, 1, tiny_bundle.PX, tiny_bundle.PX)
    torch.export.save(
        torch.export.export(network.eval(), (example,), dynamic_shapes=({0: torch.export.Dim("batch")},)),
        path,
    )
    expected: NDArray[np.float32] = network(torch.from_numpy(TENSOR)).detach().numpy()
    return expected


def test_pytorch_runs_the_program_beside_the_model(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    expected = save_program(tmp_path / "program.pt2")
    runtime = RUNTIMES["pytorch"]
    settings = SessionSettings(runtime="pytorch")
    session = runtime.open(tmp_path / "model.onnx", settings)
    assert np.allclose(runtime.run(session, TENSOR), expected, atol=1e-6)
    assert runtime.run(session, TENSOR[:1]).dtype == np.float32
    assert runtime.provider_used(session) == "pytorch cpu"
    runtime.bind(session, TENSOR)()


def test_settings_unsupported_by_pytorch_are_one_clear_line(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    settings = SessionSettings(runtime="pytorch")
    for changes, keyword in (
        ({}, "no such file"),
        ({"provider": "cuda"}, "no CUDA GPU"),
        ({"provider": "tensorrt"}, "'cpu' and 'cuda'"),
        ({"precision": "bfloat16"}, "in float32"),
    ):
        with pytest.raises(MeasurementError, match=keyword):
            RUNTIMES["pytorch"].open(bundle / "model.onnx", settings.model_copy(update=changes))


def test_pytorch_that_uses_other_threads_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    (tmp_path / "program.pt2").write_bytes(b"")
    monkeypatch.setattr(torch, "set_num_threads", lambda threads: None)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    with pytest.raises(MeasurementError, match=r"threads = 4 .* uses 3"):
        RUNTIMES["pytorch"].open(tmp_path / "model.onnx", SessionSettings(runtime="pytorch", threads=4))
