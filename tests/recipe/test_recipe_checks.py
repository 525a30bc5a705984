from __future__ import annotations

import pytest

from pepr_edge.errors import MeasurementError
from pepr_edge.measure.runtimes import RUNTIMES
from pepr_edge.recipe import Candidates, Device, Export, Recipe, checks


def recipe(**device: object) -> Recipe:
    export = Export(variants=("fp32",)) if device.get("runtime") == "pytorch" else Export()
    return Recipe(
        name="here",
        device=Device.model_validate({"name": "here", **device}),
        candidates=Candidates(architectures=("resnet10t",)),
        export=export,
    )


def fault(**device: object) -> str:
    with pytest.raises(MeasurementError) as caught:
        checks.check_machine(recipe(**device))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("runtime", ["auto", "onnxruntime", "pytorch"])
def test_a_cpu_is_enough(runtime: str) -> None:
    checks.check_machine(recipe(runtime=runtime, allow_bf16=True))


@pytest.mark.parametrize(
    ("provider", "name", "package"),
    [
        ("cuda", "CUDAExecutionProvider", "onnxruntime-gpu"),
        ("tensorrt", "TensorrtExecutionProvider", "onnxruntime-gpu"),
        ("directml", "DmlExecutionProvider", "onnxruntime-directml"),
    ],
)
def test_a_provider_that_is_not_there_is_said_with_what_it_needs(
    provider: str, name: str, package: str
) -> None:
    words = fault(provider=provider)
    assert words.startswith(f'device.provider = "{provider}", but onnxruntime has no {name} here')
    assert words.endswith(f'run: pip install {package}, or set device.provider = "cpu".')


def test_a_provider_without_its_gpu_is_found_before_anything_is_spent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(RUNTIMES["onnxruntime"], "unavailable", lambda provider="cpu": None)
    monkeypatch.setattr(checks, "_has_gpu", lambda: False)
    assert 'device.provider = "tensorrt", but PyTorch finds no NVIDIA GPU here.' in fault(provider="tensorrt")
    checks.check_machine(recipe(provider="directml"))


def test_pytorch_runs_on_the_cpu_or_an_nvidia_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert 'device.provider = "cuda" with device.runtime = "pytorch", but' in fault(
        runtime="pytorch", provider="cuda"
    )
    assert "with the providers 'cpu' and 'cuda' only" in fault(runtime="pytorch", provider="directml")


def test_a_runtime_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        RUNTIMES["openvino"], "unavailable", lambda provider="cpu": "openvino cannot be imported."
    )
    assert fault(runtime="openvino") == 'device.runtime = "openvino", but openvino cannot be imported.'
