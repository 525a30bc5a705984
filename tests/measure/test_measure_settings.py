from __future__ import annotations

import pytest

from pepr_edge.measure import settings
from pepr_edge.measure.runtimes import RUNTIMES
from pepr_edge.measure.settings import as_at_home, of_fallback
from pepr_edge.records import SessionSettings


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


def test_what_can_be_is_as_at_home() -> None:
    home = SessionSettings(
        runtime="openvino", threads=2, spinning=True, arena=False, precision="bfloat16", batch=1
    )
    assert as_at_home(home) == (home, "")
    assert as_at_home(SessionSettings(graph_optimisation="basic")) == (
        SessionSettings(graph_optimisation="basic"),
        "",
    )


def test_threads_are_at_most_the_cores() -> None:
    assert as_at_home(SessionSettings(threads=16)) == (SessionSettings(threads=4), "")
    assert as_at_home(SessionSettings(threads=2), threads=8) == (SessionSettings(threads=8), "")
    assert of_fallback(SessionSettings(runtime="openvino", threads=16, batch=1)) == SessionSettings(threads=4)


def test_a_batch_of_several_is_not_for_the_field() -> None:
    assert as_at_home(SessionSettings(batch=8))[0].batch is None


def test_a_runtime_that_is_not_there_is_replaced_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        RUNTIMES["openvino"], "unavailable", lambda provider="cpu": "openvino cannot be imported."
    )
    found, note = as_at_home(SessionSettings(runtime="openvino", precision="bfloat16", threads=2, batch=1))
    assert found == SessionSettings(threads=2, batch=1)
    assert (
        note
        == "runs with onnxruntime in float32, not with openvino in bfloat16 as at home: openvino cannot be imported."
    )


@pytest.mark.parametrize(
    ("runtime", "words"), [("pytorch", "a bundle holds no program"), ("tflite", "does not know 'tflite'")]
)
def test_a_runtime_that_no_bundle_can_be_run_with_is_replaced(runtime: str, words: str) -> None:
    found, note = as_at_home(SessionSettings(runtime=runtime))
    assert found == SessionSettings()
    assert words in note


def test_a_provider_that_is_not_there_is_the_cpu_and_said() -> None:
    found, note = as_at_home(SessionSettings(provider="tensorrt"))
    assert found == SessionSettings()
    assert note.startswith(
        "runs on the CPU, not with tensorrt as at home: onnxruntime has no TensorrtExecutionProvider here"
    )
    found, note = as_at_home(SessionSettings(runtime="pytorch", provider="cuda"))
    assert found == SessionSettings()
    assert "\n" not in note


def test_bfloat16_needs_a_cpu_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    home = SessionSettings(runtime="openvino", precision="bfloat16")
    monkeypatch.setattr(settings, "isa", lambda: ("avx2",))
    assert as_at_home(home) == (
        SessionSettings(runtime="openvino"),
        "computes in float32, not in bfloat16 as at home: this CPU has no bfloat16.",
    )
    found, note = as_at_home(home, runtime="onnxruntime")
    assert found == SessionSettings()
    assert "onnxruntime computes in what the file has" in note


def test_what_the_user_asks_for_is_never_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        RUNTIMES["openvino"], "unavailable", lambda provider="cpu": "openvino cannot be imported."
    )
    assert as_at_home(SessionSettings(), runtime="openvino", provider="cuda")[0] == SessionSettings(
        runtime="openvino", provider="cuda"
    )
