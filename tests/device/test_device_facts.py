from __future__ import annotations

import getpass
import json
import platform
import re
import sys
import uuid
from pathlib import Path

import psutil
import pytest

from pepr_edge.device import cpu, cpuid, facts
from pepr_edge.device.load import load_average, parse_steal, steal_s
from pepr_edge.measure.memory import parse_vm_hwm, peak_memory_bytes


def test_facts_of_this_machine() -> None:
    found = facts.facts()
    assert found.cpu
    assert found.architecture == platform.machine()
    assert found.cores >= (found.affinity or 1) >= 1
    assert found.memory_bytes == psutil.virtual_memory().total
    assert {"pepr_edge", "numpy", "onnxruntime", "pillow"} <= set(found.versions)


def test_facts_identify_nobody() -> None:
    found = facts.facts()
    text = json.dumps(found.model_dump()).lower()
    mac = f"{uuid.getnode():012x}"
    # A machine may be called "debian".
    secrets = {platform.node().lower(), getpass.getuser().lower(), mac, ":".join(re.findall("..", mac))} - {
        "",
        *found.os.lower().split(),
    }
    assert not [secret for secret in secrets if re.search(rf"\b{re.escape(secret)}\b", text)]


def test_environment_names_what_is_installed() -> None:
    found = facts.environment(2, "GPU", ("numpy", "no_such_package"))
    assert (found.threads, found.accelerator) == (2, "GPU")
    assert list(found.versions) == ["numpy"]


def test_a_kernels_own_words_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts.platform, "release", lambda: "6.1.0-ward3-laptop")
    monkeypatch.setattr(facts.sys, "platform", "linux")
    assert "ward3" not in facts.facts().os
    assert facts.facts().os.endswith("Linux 6.1.0")


def test_what_cannot_be_read_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise OSError

    for name in ("cpu_freq", "sensors_temperatures", "sensors_battery"):
        monkeypatch.setattr(facts.psutil, name, broken, raising=False)
    monkeypatch.setattr(facts.shutil, "which", lambda _: None)
    found = facts.facts()
    assert (found.frequency_mhz, found.temperature_c, found.on_battery, found.gpu) == (None, None, None, None)


def test_battery(monkeypatch: pytest.MonkeyPatch) -> None:
    battery = type("Battery", (), {"power_plugged": False})()
    monkeypatch.setattr(facts.psutil, "sensors_battery", lambda: battery, raising=False)
    assert facts.facts().on_battery is True


EPYC = "processor\t: 0\nvendor_id\t: AuthenticAMD\nmodel name\t: AMD EPYC\nflags\t\t: fpu avx avx2 fma avx512_vnni\n\nprocessor\t: 1\n"
PI = (
    "processor\t: 0\nCPU implementer\t: 0x41\nFeatures\t: fp asimd asimddp\n\n"
    "Serial\t\t: 10000000deadbeef\nModel\t\t: Raspberry Pi 5 Model B\n"
)


def test_cpuinfo_of_x86_and_of_a_raspberry_pi() -> None:
    assert cpu.parse_name(EPYC) == "AMD EPYC"
    assert {"avx2", "avx512_vnni"} <= cpu.parse_flags(EPYC)
    assert cpu.parse_name(PI) == "Raspberry Pi 5 Model B"
    assert "asimddp" in cpu.parse_flags(PI)
    assert cpu.parse_name("") is None
    assert cpu.parse_flags("") == set()


@pytest.mark.parametrize(
    ("machine", "cpuinfo", "program", "expected"),
    [
        ("x86_64", EPYC, "python3.11", False),
        ("aarch64", PI, "python3.11", False),
        ("aarch64", EPYC, "python3.11", True),
        ("x86_64", PI, "python3.11", True),
        ("x86_64", EPYC, "qemu-x86_64-static", True),
        ("x86_64", EPYC.replace("AMD EPYC", "QEMU TCG CPU version 2.5+"), "python3.11", True),
        ("x86_64", EPYC.replace("AMD EPYC", "QEMU Virtual CPU version 2.5+"), "python3.11", False),
        ("x86_64", "", "", False),
    ],
)
def test_emulation_is_recognised(machine: str, cpuinfo: str, program: str, expected: bool) -> None:
    assert cpu.is_emulated(machine, cpuinfo, program) is expected


def test_this_machine_is_not_emulated() -> None:
    assert cpu.emulated() is False


def test_whoever_runs_us_may_say_that_this_is_no_whole_device(monkeypatch: pytest.MonkeyPatch) -> None:
    name = cpu.cpu_name()
    monkeypatch.setenv(cpu.EMULATED, "1 core, 512 MiB")
    assert cpu.emulated() is True
    assert cpu.translated() is False
    assert cpu.cpu_name() == f"{name} (1 core, 512 MiB)"
    monkeypatch.setenv(cpu.EMULATED, "")
    assert cpu.emulated() is False


def test_a_translated_process_claims_nothing_of_the_machine_below(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "translated", lambda: True)
    monkeypatch.setattr(cpu.sys, "platform", "linux")
    monkeypatch.setattr(cpu.cpuid, "flags", lambda: {"avx2", "ssse3"})
    monkeypatch.setenv("QEMU_CPU", "Haswell")
    assert cpu.cpu_name() == "Haswell, emulated"
    assert cpu.isa() == ("ssse3", "avx2")
    assert cpu.emulated() is True


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
def test_what_the_process_sees_is_what_the_kernel_tells_of_a_real_processor() -> None:
    seen = cpuid.flags()
    if not seen:
        pytest.skip("this C library does not say")
    names = cpuid.X86 if platform.machine() == "x86_64" else cpuid.ARM64
    assert seen == set(names) & cpu.parse_flags(Path("/proc/cpuinfo").read_text(encoding="utf-8"))


def test_a_processor_of_another_kind_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpuid.platform, "machine", lambda: "riscv64")
    assert cpuid.flags() == set()


def test_a_command_that_is_missing_or_fails_is_none() -> None:
    assert cpu.first_line_of("no-such-command-here") is None
    assert cpu.first_line_of("false") is None


def test_high_water_mark() -> None:
    assert parse_vm_hwm("Name:\tpython\nVmPeak:\t  99 kB\nVmHWM:\t   12345 kB\n") == 12345 * 1024
    assert parse_vm_hwm("VmHWM:\n") is None
    assert parse_vm_hwm("") is None
    assert (peak_memory_bytes() or 0) > 10_000_000


def test_steal() -> None:
    assert parse_steal("cpu  10 20 30 40 50 60 70 250 0 0\n", 100) == 2.5
    assert parse_steal("cpu  10 20 30\n", 100) is None
    assert parse_steal("", 100) is None
    assert (steal_s() or 0.0) >= 0.0
    assert (load_average() or 0.0) >= 0.0


@pytest.mark.parametrize(
    ("affinity", "limit", "cores"), [(None, None, 8), (2, None, 2), (4, 1.5, 2), (4, 0.2, 1), (None, 3.0, 3)]
)
def test_only_the_cores_that_a_process_may_use_are_worth_a_thread(
    affinity: int | None, limit: float | None, cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu.os, "cpu_count", lambda: 8)
    monkeypatch.setattr(cpu, "affinity", lambda: affinity)
    monkeypatch.setattr(cpu, "cpu_limit", lambda: limit)
    assert cpu.usable_cores() == cores
