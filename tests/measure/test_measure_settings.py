from __future__ import annotations

import pytest

from pepr_edge.measure import settings
from pepr_edge.measure.runtimes import RUNTIMES
from pepr_edge.measure.settings import device_settings, fallback_settings, request_here
from pepr_edge.records import ProfileRequest, SessionSettings


@pytest.fixture(autouse=True)
def device(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device with four cores and bfloat16, where OpenVINO is installed."""
    monkeypatch.setattr(settings, "usable_cores", lambda: 4)
    monkeypatch.setattr(settings, "isa", lambda: ("avx2", "avx512_bf16"))
    monkeypatch.setattr(
        RUNTIMES["openvino"],
        "unavailable",
        lambda provider="cpu": None if provider == "cpu" else "on the CPU only.",
    )


def test_supported_settings_are_as_at_home() -> None:
    home = SessionSettings(
        runtime="openvino", threads=2, spinning=True, arena=False, precision="bfloat16", batch=1
    )
    assert device_settings(home) == (home, "")
    assert device_settings(SessionSettings(graph_optimisation="basic")) == (
        SessionSettings(graph_optimisation="basic"),
        "",
    )


def test_threads_are_at_most_the_cores() -> None:
    assert device_settings(SessionSettings(threads=16)) == (SessionSettings(threads=4), "")
    assert device_settings(SessionSettings(threads=2), threads=8) == (SessionSettings(threads=8), "")
    assert fallback_settings(SessionSettings(runtime="openvino", threads=16, batch=1)) == SessionSettings(
        threads=4
    )


@pytest.mark.parametrize(("runtime", "expected"), [("openvino", 2), ("onnxruntime", 8), ("pytorch", 8)])
def test_a_workstation_with_fewer_cores_measures_with_the_threads_that_start(
    monkeypatch: pytest.MonkeyPatch, runtime: str, expected: int
) -> None:
    monkeypatch.setattr(settings, "usable_cores", lambda: 2)
    of_device = SessionSettings.model_validate({"runtime": runtime, "threads": 8})
    request = ProfileRequest(sha256="0" * 64, settings=of_device, rules="look", input_shape=(1, 3, 32, 32))
    here = request_here(request)
    assert here.settings == of_device.model_copy(update={"threads": expected})
    assert here.model_copy(update={"settings": of_device}) == request


def test_a_batch_of_several_is_not_for_the_field() -> None:
    assert device_settings(SessionSettings(batch=8))[0].batch is None


def test_a_missing_runtime_is_replaced_and_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        RUNTIMES["openvino"], "unavailable", lambda provider="cpu": "openvino cannot be imported."
    )
    adapted, note = device_settings(
        SessionSettings(runtime="openvino", precision="bfloat16", threads=2, batch=1)
    )
    assert adapted == SessionSettings(threads=2, batch=1)
    assert note.startswith("runs with onnxruntime in float32, not with openvino in bfloat16")
    assert note.endswith(": openvino cannot be imported.")


@pytest.mark.parametrize(
    ("runtime", "keyword"), [("pytorch", "a bundle holds no program"), ("tflite", "does not know 'tflite'")]
)
def test_a_runtime_unfit_for_bundles_is_replaced(runtime: str, keyword: str) -> None:
    adapted, note = device_settings(SessionSettings(runtime=runtime))
    assert adapted == SessionSettings()
    assert keyword in note


def test_a_missing_provider_is_replaced_by_the_cpu_and_noted() -> None:
    adapted, note = device_settings(SessionSettings(provider="tensorrt"))
    assert adapted == SessionSettings()
    assert note.startswith("runs on the CPU, not with tensorrt")
    assert "TensorrtExecutionProvider" in note
    adapted, note = device_settings(SessionSettings(runtime="pytorch", provider="cuda"))
    assert adapted == SessionSettings()
    assert "\n" not in note


def test_bfloat16_needs_a_cpu_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    home = SessionSettings(runtime="openvino", precision="bfloat16")
    monkeypatch.setattr(settings, "isa", lambda: ("avx2",))
    adapted, note = device_settings(home)
    assert adapted == SessionSettings(runtime="openvino")
    assert "no bfloat16" in note
    adapted, note = device_settings(home, runtime="onnxruntime")
    assert adapted == SessionSettings()
    assert "precision of the file" in note


def test_the_users_choice_is_never_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        RUNTIMES["openvino"], "unavailable", lambda provider="cpu": "openvino cannot be imported."
    )
    assert device_settings(SessionSettings(), runtime="openvino", provider="cuda")[0] == SessionSettings(
        runtime="openvino", provider="cuda"
    )
