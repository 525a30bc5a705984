from __future__ import annotations

import re
from types import SimpleNamespace

import pytest
import tiny_bundle

from pepr_edge.device import interference
from pepr_edge.device.interference import InterferenceMonitor
from pepr_edge.records import DeviceProfile, SessionSettings

GIB = 1 << 30
CALM: dict[str, object] = {
    "on_battery": lambda: False,
    "governor": lambda: "performance",
    "temperature_c": lambda: 60.0,
    "usable_cores": lambda: 2,
    "busy": lambda cores: "",
}


@pytest.fixture(autouse=True)
def calm(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device on which nothing disturbs."""
    for name, answer in CALM.items():
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


def seen(threads: int = 1, measured: DeviceProfile | None = None) -> list[str]:
    """Warnings of one measurement."""
    told: list[str] = []
    one = InterferenceMonitor(SessionSettings(threads=threads), first=True, tell=told.append)
    one.check()
    one.end(measured or tiny_bundle.profile("0" * 64))
    assert list(one.warnings) == told
    assert all("\n" not in words for words in told)
    return told


def test_a_calm_device_warns_of_nothing() -> None:
    assert seen() == []


@pytest.mark.parametrize(
    ("name", "answer", "words"),
    [
        ("on_battery", True, "on battery: plug the device in"),
        (
            "governor",
            "powersave",
            "the frequency governor is powersave, .* cpupower frequency-set -g performance",
        ),
        ("temperature_c", 91.4, "the processor is at 91 degrees Celsius: give it air"),
        ("busy", "other programs are at work (load 2.1 on 2 cores)", r"load 2\.1 on 2 cores\): close them"),
    ],
)
def test_each_state_has_its_advice(
    monkeypatch: pytest.MonkeyPatch, name: str, answer: object, words: str
) -> None:
    monkeypatch.setattr(interference, name, lambda *_: answer)
    (found,) = seen()
    assert re.search(words, found)
    assert found.endswith(("measure again", "beside the figures"))


def test_too_many_threads() -> None:
    assert seen(threads=2) == []
    assert seen(threads=3) == ["3 threads on 2 usable cores: give at most --threads 2"]


def test_a_slow_clock_is_that_of_the_fastest_core(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, mhz=1400.0)
    assert seen() == []
    machine(monkeypatch, mhz=1390.0)
    assert seen()[0].startswith("the processor runs at 1390 of 2000 MHz: ")
    # A virtual machine does not tell the greatest.
    machine(monkeypatch, mhz=1390.0, max_mhz=0.0)
    assert seen() == []


def test_memory_that_is_nearly_out(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, free=150 << 20)
    assert seen() == ["memory is nearly out, 150 MiB of 4096 left: close other programs and measure again"]


def test_what_the_hypervisor_took() -> None:
    calm = tiny_bundle.profile("0" * 64)  # 128 latencies of 1 ms on 2 cores
    assert seen(measured=calm.model_copy(update={"steal_s": 0.005, "paced_s": None})) == []
    (words,) = seen(measured=calm.model_copy(update={"steal_s": 0.0256}))
    assert words.startswith("other virtual machines took 10% of the CPU time: ")
    # Paced, it all takes longer than its latencies.
    assert seen(measured=calm.model_copy(update={"steal_s": 0.0256, "paced_s": 0.1})) == []


def test_a_limit_that_is_nearly_reached() -> None:
    calm = tiny_bundle.profile("0" * 64)  # 60 MB
    device = calm.device.model_copy(update={"cgroup_memory_bytes": 60 << 20})
    assert seen(measured=calm.model_copy(update={"device": device}))[0].startswith(
        "the model's 57 MiB nearly fill the limit of 60: "
    )


def test_looks_are_rare(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    monkeypatch.setattr(interference, "temperature_c", lambda: looks.append(1))
    one = InterferenceMonitor(SessionSettings(), first=False)
    for _ in range(100):
        one.check()
    assert len(looks) == 1
