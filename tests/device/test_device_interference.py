from __future__ import annotations

import re
from types import SimpleNamespace

import pytest
import tiny_bundle

from pepr_edge.device import interference
from pepr_edge.device.interference import InterferenceMonitor
from pepr_edge.records import DeviceProfile, SessionSettings

GIB = 1 << 30
UNDISTURBED: dict[str, object] = {
    "on_battery": lambda: False,
    "governor": lambda: "performance",
    "temperature_c": lambda: 60.0,
    "usable_cores": lambda: 2,
    "busy_message": lambda cores: "",
}


@pytest.fixture(autouse=True)
def undisturbed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device on which nothing disturbs."""
    for name, answer in UNDISTURBED.items():
        monkeypatch.setattr(interference, name, answer)
    machine(monkeypatch)


def machine(
    monkeypatch: pytest.MonkeyPatch, mhz: float = 2000.0, max_mhz: float = 2000.0, free: int = GIB
) -> None:
    cores = [SimpleNamespace(current=800.0, max=max_mhz), SimpleNamespace(current=mhz, max=max_mhz)]
    monkeypatch.setattr(interference.psutil, "cpu_freq", lambda percpu: cores)
    monkeypatch.setattr(
        interference.psutil, "virtual_memory", lambda: SimpleNamespace(available=free, total=4 * GIB)
    )


def warnings_of(threads: int = 1, measured: DeviceProfile | None = None) -> list[str]:
    """Return the warnings of one measurement."""
    given: list[str] = []
    monitor = InterferenceMonitor(SessionSettings(threads=threads), first=True, warn=given.append)
    monitor.check()
    monitor.end(measured or tiny_bundle.profile("0" * 64))
    assert list(monitor.warnings) == given
    assert all("\n" not in message for message in given)
    return given


def test_an_undisturbed_device_gives_no_warnings() -> None:
    assert warnings_of() == []


@pytest.mark.parametrize(
    ("name", "answer", "pattern"),
    [
        ("on_battery", True, "on battery: "),
        (
            "governor",
            "powersave",
            "governor is powersave, .* cpupower frequency-set -g performance",
        ),
        ("temperature_c", 91.4, "91 degrees"),
        ("busy_message", "other programs use the CPU (load 2.1 on 2 cores)", r"load 2\.1 on 2 cores\): "),
    ],
)
def test_each_warning_has_its_advice(
    monkeypatch: pytest.MonkeyPatch, name: str, answer: object, pattern: str
) -> None:
    monkeypatch.setattr(interference, name, lambda *_: answer)
    (warning,) = warnings_of()
    assert re.search(pattern, warning)
    assert warning.endswith(("measure again", "beside the figures"))


def test_too_many_threads() -> None:
    assert warnings_of(threads=2) == []
    (warning,) = warnings_of(threads=3)
    assert re.search("3 threads on 2 .* --threads 2", warning)


def test_a_slow_clock_is_that_of_the_fastest_core(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, mhz=1400.0)
    assert warnings_of() == []
    machine(monkeypatch, mhz=1390.0)
    assert "1390 of 2000 MHz: " in warnings_of()[0]
    # A virtual machine does not know its maximum frequency.
    machine(monkeypatch, mhz=1390.0, max_mhz=0.0)
    assert warnings_of() == []


def test_memory_that_is_nearly_out(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, free=150 << 20)
    (warning,) = warnings_of()
    assert "150 MiB of 4096 left" in warning


def test_what_the_hypervisor_took() -> None:
    profile = tiny_bundle.profile("0" * 64)  # 128 latencies of 1 ms on 2 cores
    assert warnings_of(measured=profile.model_copy(update={"steal_s": 0.005, "paced_s": None})) == []
    (warning,) = warnings_of(measured=profile.model_copy(update={"steal_s": 0.0256}))
    assert "took 10 % of the CPU time" in warning
    # In paced load the measurement takes longer than its latencies.
    assert warnings_of(measured=profile.model_copy(update={"steal_s": 0.0256, "paced_s": 0.1})) == []


def test_a_limit_that_is_nearly_reached() -> None:
    profile = tiny_bundle.profile("0" * 64)  # 60 MB
    device = profile.device.model_copy(update={"cgroup_memory_bytes": 60 << 20})
    (warning,) = warnings_of(measured=profile.model_copy(update={"device": device}))
    assert re.search("57 MiB .* limit of 60", warning)


def test_checks_are_rare(monkeypatch: pytest.MonkeyPatch) -> None:
    checks: list[int] = []
    monkeypatch.setattr(interference, "temperature_c", lambda: checks.append(1))
    monitor = InterferenceMonitor(SessionSettings(), first=False)
    for _ in range(100):
        monitor.check()
    assert len(checks) == 1
