"""NVML with a fake pynvml: choice of the GPU, counter or power, reasons, closing of the library."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pepr_edge.energy import nvml
from pepr_edge.energy.meter import Meter, MeterSettings


class NVMLError(Exception):
    pass


@dataclass
class Board:
    """A GPU; None for values that it does not report."""

    name: str = "NVIDIA H100"
    uuid: str = "GPU-aaaa"
    energy_mj: float | None = 1000.0
    power_mw: float | None = 50_000.0
    mig: int | None = None


@dataclass
class FakeNvml:
    boards: list[Board]
    opened: int = 0
    answers: bool = True
    module: ModuleType = field(default_factory=lambda: ModuleType("pynvml"))

    def __post_init__(self) -> None:
        def reported(value: float | None) -> float:
            if value is None or not self.answers:
                raise NVMLError("Not Supported")
            return value

        def init() -> None:
            if not self.answers:
                raise NVMLError("Driver Not Loaded")
            self.opened += 1

        def shutdown() -> None:
            self.opened -= 1

        functions: dict[str, Any] = {
            "NVMLError": NVMLError,
            "nvmlInit": init,
            "nvmlShutdown": shutdown,
            "nvmlDeviceGetCount": lambda: len(self.boards),
            "nvmlDeviceGetHandleByIndex": lambda index: self.boards[index],
            "nvmlDeviceGetName": lambda board: board.name,
            "nvmlDeviceGetUUID": lambda board: board.uuid,
            "nvmlDeviceGetMigMode": lambda board: [reported(board.mig), 0],
            "nvmlDeviceGetTotalEnergyConsumption": lambda board: reported(board.energy_mj),
            "nvmlDeviceGetPowerUsage": lambda board: reported(board.power_mw),
        }
        for name, function in functions.items():
            setattr(self.module, name, function)


@pytest.fixture
def boards(monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    fake = FakeNvml([Board()])
    monkeypatch.setitem(sys.modules, "pynvml", fake.module)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    return fake


def settings(**others: Any) -> MeterSettings:
    return MeterSettings(**{"watts_per_core": None, "uses_gpu": True, "powercap": Path("/nowhere"), **others})


def test_the_counter_is_in_joules_and_the_library_is_closed(boards: FakeNvml) -> None:
    handle = nvml.start(settings(), "gpu").handle
    before = nvml.read(handle)
    boards.boards[0].energy_mj = 3500.0
    now = nvml.read(handle)
    assert before is not None
    assert now is not None
    assert nvml.joules(handle, before, now) == pytest.approx(2.5)
    assert nvml.joules(handle, now, before) is None
    nvml.stop(handle)
    assert boards.opened == 0


def test_cpu_and_gpu_are_added(boards: FakeNvml) -> None:
    with Meter(settings(watts_per_core=10.0)) as meter:
        mark = meter.mark()
        boards.boards[0].energy_mj = 8000.0
        use = meter.since(mark)
    assert use.energy.value == pytest.approx(7.0 + 10 * use.cpu_s, abs=2.0)
    assert use.energy.method == "declared"
    assert "NVML energy counter of NVIDIA H100" in use.energy.source
    assert "10 W per core" in use.energy.source
    assert boards.opened == 0


def test_without_the_cpu_part_there_is_no_sum(boards: FakeNvml) -> None:
    with Meter(settings()) as meter:
        mark = meter.mark()
        boards.boards[0].energy_mj = 8000.0
        energy = meter.since(mark).energy
    assert energy.value is None
    assert energy.method == "unavailable"
    assert "watts_per_core is not given" in energy.source


def test_power_is_integrated_where_there_is_no_counter(
    boards: FakeNvml, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nvml, "POWER_PERIOD_S", 0.01)
    boards.boards[0].energy_mj = None
    with Meter(settings(watts_per_core=1e-9)) as meter:
        mark = meter.mark()
        time.sleep(0.1)
        boards.boards[0].power_mw = 150_000.0
        time.sleep(0.1)
        use = meter.since(mark)
    assert use.energy.value is not None
    assert 50 * use.duration_s <= use.energy.value < 150 * (use.duration_s + 0.5)
    assert "sampled every 0.01 s" in use.energy.source


def test_a_trapezium_under_two_samples() -> None:
    gpu = nvml.Gpu(None, None, "any", counts=False)
    assert nvml.joules(gpu, nvml.NvmlReading(1.0, 100.0), nvml.NvmlReading(1.5, 200.0)) == pytest.approx(75.0)


def test_a_gpu_that_stops_responding_does_not_stop_the_work(boards: FakeNvml) -> None:
    with Meter(settings(watts_per_core=10.0)) as meter:
        mark = meter.mark()
        boards.answers = False
        energy = meter.since(mark).energy
    assert energy.value is None
    assert "could not be read" in energy.source


@pytest.mark.parametrize(
    ("visible", "chosen"), [(None, "a"), ("1", "b"), ("1,0", "b"), (" 0", "a"), ("GPU-bb", "b")]
)
def test_the_gpu_is_the_first_visible_one(
    boards: FakeNvml, monkeypatch: pytest.MonkeyPatch, visible: str | None, chosen: str
) -> None:
    boards.boards[:] = [Board(uuid="GPU-aaaa"), Board(uuid="GPU-bbbb")]
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert nvml.start(settings(), "gpu").handle.device.uuid == f"GPU-{chosen * 4}"


@pytest.mark.parametrize("visible", ["", "-1", "7", "nonsense", "GPU-cc"])
def test_no_visible_gpu(boards: FakeNvml, monkeypatch: pytest.MonkeyPatch, visible: str) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert "CUDA shows no GPU here" in str(nvml.unavailable(settings(), "gpu"))
    assert boards.opened == 0


def test_different_gpus_need_an_order(boards: FakeNvml, monkeypatch: pytest.MonkeyPatch) -> None:
    boards.boards[:] = [Board("Quadro", "GPU-aaaa"), Board("RTX 4090", "GPU-bbbb")]
    assert "CUDA_DEVICE_ORDER=PCI_BUS_ID" in str(nvml.unavailable(settings(), "gpu"))
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    assert nvml.unavailable(settings(), "gpu") is None
    assert boards.opened == 0


def test_slices_have_no_counter(boards: FakeNvml, monkeypatch: pytest.MonkeyPatch) -> None:
    boards.boards[0].mig = 1
    assert "divided (MIG)" in str(nvml.unavailable(settings(), "gpu"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-1234")
    assert "slice of a GPU" in str(nvml.unavailable(settings(), "gpu"))
    assert boards.opened == 0


def test_reasons_for_not_using_it(boards: FakeNvml, monkeypatch: pytest.MonkeyPatch) -> None:
    assert nvml.unavailable(settings(), "gpu") is None
    assert "not the processor" in str(nvml.unavailable(settings(), "cpu"))
    assert "other jobs" in str(nvml.unavailable(settings(exclusive=False), "gpu"))
    boards.boards[0] = Board(energy_mj=None, power_mw=None)
    assert "neither its energy nor its power" in str(nvml.unavailable(settings(), "gpu"))
    boards.answers = False
    assert "NVML does not answer (Driver Not Loaded)" in str(nvml.unavailable(settings(), "gpu"))
    assert boards.opened == 0
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert "nvidia-ml-py is missing" in str(nvml.unavailable(settings(), "gpu"))


def test_without_nvml_declared_gpu_watts_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with Meter(settings(watts_per_core=1e-9, gpu_watts=70.0)) as meter:
        mark = meter.mark()
        time.sleep(0.05)
        use = meter.since(mark)
    assert use.energy.value is not None
    # The counters are read just outside the time that is reported; on a busy machine that adds up.
    assert 70 * use.duration_s <= use.energy.value < 70 * (use.duration_s + 0.5)
    assert use.energy.method == "declared"
