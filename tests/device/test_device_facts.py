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
    result = facts.facts()
    assert result.cpu
    assert result.architecture == platform.machine()
    assert result.cores >= (result.affinity or 1) >= 1
    assert result.memory_bytes == psutil.virtual_memory().total
    assert {"pepr_edge", "numpy", "onnxruntime", "pillow"} <= set(result.versions)


def test_facts_do_not_identify_anyone() -> None:
    result = facts.facts()
    text = json.dumps(result.model_dump()).lower()
    mac = f"{uuid.getnode():012x}"
    # A machine may be called "debian".
    secrets = {platform.node().lower(), getpass.getuser().lower(), mac, ":".join(re.findall("..", mac))} - {
        "",
        *result.os.lower().split(),
    }
    assert not [secret for secret in secrets if re.search(rf"\b{re.escape(secret)}\b", text)]


def test_environment_names_what_is_installed() -> None:
    result = facts.environment(2, "GPU", ("numpy", "no_such_package"))
    assert (result.threads, result.accelerator) == (2, "GPU")
    assert list(result.versions) == ["numpy"]


def test_the_suffix_of_a_custom_kernel_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts.platform, "release", lambda: "6.1.0-ward3-laptop")
    monkeypatch.setattr(facts.sys, "platform", "linux")
    assert "ward3" not in facts.facts().os
    assert facts.facts().os.endswith("Linux 6.1.0")


def test_unreadable_facts_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**_: object) -> None:
        raise OSError

    for name in ("cpu_freq", "sensors_temperatures", "sensors_battery"):
        monkeypatch.setattr(facts.psutil, name, broken, raising=False)
    monkeypatch.setattr(facts.shutil, "which", lambda _: None)
    result = facts.facts()
    assert result.frequency_mhz is None
    assert result.temperature_c is None
    assert result.on_battery is None
    assert result.gpu is None


def test_battery(monkeypatch: pytest.MonkeyPatch) -> None:
    battery = type("Battery", (), {"power_plugged": False})()
    monkeypatch.setattr(facts.psutil, "sensors_battery", lambda: battery, raising=False)
    assert facts.facts().on_battery is True


EPYC = (
    "processor\t: 0\nvendor_id\t: AuthenticAMD\nmodel name\t: AMD EPYC\n"
    "flags\t\t: fpu avx avx2 fma avx512_vnni\n\nprocessor\t: 1\n"
)
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


def test_the_environment_variable_describes_a_restricted_device(monkeypatch: pytest.MonkeyPatch) -> None:
    name = cpu.cpu_name()
    monkeypatch.setenv(cpu.EMULATED, "1 core, 512 MiB")
    assert cpu.emulated() is True
    assert cpu.translated() is False
    assert cpu.cpu_name() == f"{name} (1 core, 512 MiB)"
    monkeypatch.setenv(cpu.EMULATED, "")
    assert cpu.emulated() is False


def test_a_translated_process_does_not_describe_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "translated", lambda: True)
    monkeypatch.setattr(cpu.sys, "platform", "linux")
    monkeypatch.setattr(cpu.cpuid, "flags", lambda: {"avx2", "ssse3"})
    monkeypatch.setenv("QEMU_CPU", "Haswell")
    assert cpu.cpu_name() == "Haswell, emulated"
    assert cpu.isa() == ("ssse3", "avx2")
    assert cpu.emulated() is True


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
def test_cpuid_and_cpuinfo_agree_on_a_real_processor() -> None:
    flags = cpuid.flags()
    if not flags:
        pytest.skip("this C library does not tell")
    names = cpuid.X86 if platform.machine() == "x86_64" else cpuid.ARM64
    assert flags == set(names) & cpu.parse_flags(Path("/proc/cpuinfo").read_text(encoding="utf-8"))


def test_another_kind_of_processor_has_no_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpuid.platform, "machine", lambda: "riscv64")
    assert cpuid.flags() == set()


def test_a_command_that_is_missing_or_fails_returns_none() -> None:
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
def test_usable_cores_are_those_that_the_process_may_use(
    affinity: int | None, limit: float | None, cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu.os, "cpu_count", lambda: 8)
    monkeypatch.setattr(cpu, "affinity", lambda: affinity)
    monkeypatch.setattr(cpu, "cpu_limit", lambda: limit)
    assert cpu.usable_cores() == cores
