from __future__ import annotations

import made_records
import pytest

from pepr_edge.energy import nvml, rapl
from pepr_edge.errors import MeasurementError, RecipeError
from pepr_edge.measure import settings
from pepr_edge.measure.runtimes import RUNTIMES
from pepr_edge.recipe import (
    Budgets,
    Candidates,
    Device,
    Export,
    Recipe,
    ScoreSettings,
    SearchSettings,
    Workstation,
    checks,
)
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


def test_fewer_cores_than_the_device_are_said_where_the_runtime_starts_no_more_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(settings, "usable_cores", lambda: 2)
    note = checks.fewer_threads(Device(name="d", runtime="openvino", threads=4))
    assert note is not None
    assert note.startswith("device.threads = 4, but openvino starts at most 2 on this machine")
    assert checks.fewer_threads(Device(name="d", runtime="openvino", threads=2)) is None
    assert checks.fewer_threads(Device(name="d", threads=4)) is None


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


@pytest.fixture
def without_counters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rapl, "unavailable", lambda settings, part: "no RAPL zone")
    monkeypatch.setattr(nvml, "unavailable", lambda settings, part: "no NVIDIA GPU")


def with_sections(**sections: object) -> Recipe:
    return recipe().model_copy(update=sections)


def test_without_counters_and_watts_a_note_says_that_time_is_ranked(without_counters: None) -> None:
    note = checks.check_energy(recipe(), exclusive=True)
    assert note is not None
    assert "no RAPL zone" in note
    assert "training time" in note
    assert "[workstation] watts_per_core" in note
    assert "\n" not in note


def test_no_note_where_energy_is_known_or_has_no_weight(
    without_counters: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    declared = with_sections(workstation=Workstation(watts_per_core=5.0))
    assert checks.check_energy(declared, exclusive=True) is None
    by_latency = with_sections(score=ScoreSettings(weights={"latency": 1.0}))
    assert checks.check_energy(by_latency, exclusive=True) is None
    monkeypatch.setattr(rapl, "unavailable", lambda settings, part: None if settings.exclusive else "shared")
    assert checks.check_energy(recipe(), exclusive=True) is None
    assert "shared" in (checks.check_energy(recipe(), exclusive=False) or "")


def test_a_gpu_without_counter_asks_for_its_watts(
    without_counters: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nvml, "unavailable", lambda settings, part: None if settings.exclusive else "shared")
    declared = with_sections(workstation=Workstation(watts_per_core=5.0))
    assert checks.check_energy(declared, exclusive=True) is None
    assert "[workstation] gpu_watts" in (checks.check_energy(declared, exclusive=False) or "")


def test_a_limit_of_energy_needs_a_known_energy(without_counters: None) -> None:
    limited = with_sections(search=SearchSettings(max_energy_wh=2.0))
    with pytest.raises(RecipeError, match=r"search\.max_energy_wh = 2,.*watts_per_core"):
        checks.check_energy(limited, exclusive=True)


def test_co2eq_needs_a_country() -> None:
    weighted = with_sections(score=ScoreSettings(weights={"train_co2eq": 1.0}))
    limited = with_sections(search=SearchSettings(max_co2eq_g=5.0))
    for wanted in (weighted, limited):
        with pytest.raises(RecipeError, match=r'workstation\.country = "DNK"'):
            checks.check_files(wanted)
        checks.check_files(wanted.model_copy(update={"workstation": Workstation(country="DNK")}))


def test_a_memory_budget_below_any_runtime_is_refused() -> None:
    small = with_sections(budgets=Budgets(peak_memory_mib=10))
    with pytest.raises(RecipeError, match=r"budgets\.peak_memory_mib = 10,"):
        checks.check_files(small)
    with pytest.raises(RecipeError, match=r"device\.memory_mib = 16,"):
        checks.check_files(recipe(memory_mib=16))
    checks.check_files(recipe(memory_mib=64))


@pytest.mark.parametrize("name", ["auroc", "balanced_accuracy", "accuracy", "sensitivity_at_specificity_0.9"])
def test_the_metric_must_be_defined_by_the_validation_images(name: str) -> None:
    info = made_records.info("small").data
    wanted = with_sections(score=ScoreSettings(performance=name))
    checks.check_metric(wanted, info)
    one_class = info.splits["val"].replace(class_counts=(info.splits["val"].images, 0))
    without = info.replace(splits={**info.splits, "val": one_class})
    if "accuracy" in name:
        checks.check_metric(wanted, without)
        return
    with pytest.raises(RecipeError, match=r"yes 0.*data\.val_fraction"):
        checks.check_metric(wanted, without)


def test_a_metric_of_no_images_is_not_defined() -> None:
    info = made_records.info("small").data
    empty = info.splits["val"].replace(images=0, class_counts=(0, 0))
    with pytest.raises(RecipeError, match="no 0, yes 0"):
        checks.check_metric(recipe(), info.replace(splits={**info.splits, "val": empty}))
