from __future__ import annotations

import pytest

from pepr_edge.errors import MeasurementError, RecipeError
from pepr_edge.measure.runtimes import RUNTIMES
from pepr_edge.recipe import Candidates, Device, Export, Recipe, checks
from pepr_edge.records import SessionSettings


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
def test_a_missing_provider_is_reported_with_the_package_to_install(
    provider: str, name: str, package: str
) -> None:
    message = fault(provider=provider)
    assert message.startswith(f'device.provider = "{provider}", ')
    assert f"no {name}" in message
    assert f"pip install {package}" in message


def test_a_provider_without_its_gpu_is_reported_before_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(RUNTIMES["onnxruntime"], "unavailable", lambda provider="cpu": None)
    monkeypatch.setattr(checks, "_has_gpu", lambda: False)
    assert "no NVIDIA GPU" in fault(provider="tensorrt")
    checks.check_machine(recipe(provider="directml"))


def test_pytorch_runs_on_the_cpu_or_an_nvidia_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    message = fault(runtime="pytorch", provider="cuda")
    assert message.startswith('device.provider = "cuda" with device.runtime = "pytorch"')
    assert "'cpu' and 'cuda'" in fault(runtime="pytorch", provider="directml")


def test_a_missing_runtime_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        RUNTIMES["openvino"], "unavailable", lambda provider="cpu": "openvino cannot be imported."
    )
    message = fault(runtime="openvino")
    assert message.startswith('device.runtime = "openvino"')
    assert message.endswith("openvino cannot be imported.")


@pytest.mark.parametrize("name", RUNTIMES)
def test_autotuning_needs_a_runtime_that_takes_part_in_it(name: str) -> None:
    wanted = recipe()
    device = wanted.device.model_copy(update={"runtime": name})
    wanted = wanted.model_copy(update={"device": device, "export": Export(variants=("auto",))})
    faults = [str(error) for error in checks.file_errors(wanted)]
    if RUNTIMES[name].trial_settings(SessionSettings(runtime=name)):
        assert faults == []
    else:
        (line,) = faults
        assert line.startswith(f'device.runtime = "{name}" with export.variants = "auto"')
        assert "\n" not in line
        with pytest.raises(RecipeError, match="autotuning"):
            checks.check_files(wanted)
    named = wanted.model_copy(update={"export": Export(variants=("fp32",))})
    assert list(checks.file_errors(named)) == []
