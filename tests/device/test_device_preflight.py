from __future__ import annotations

import faulthandler
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import command_line
import pytest
import tiny_bundle

from pepr_edge.device import preflight
from pepr_edge.errors import MeasurementError

MODERN = (*preflight.REQUIRED, "avx2", "fma")


@pytest.fixture
def x86(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A plain x86 machine, on which the import must not be tried."""
    monkeypatch.setattr(preflight.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(preflight, "cpu_name", lambda: "Intel Core 2")
    monkeypatch.setattr(preflight, "_import_is_fatal", lambda: pytest.fail("tried, though the flags suffice"))
    return monkeypatch


def test_a_processor_with_all_required_flags_passes(x86: pytest.MonkeyPatch) -> None:
    x86.setattr(preflight, "isa", lambda: MODERN)
    assert preflight.cpu_fault() is None


def test_missing_flags_are_named_with_the_processor(x86: pytest.MonkeyPatch) -> None:
    x86.setattr(preflight, "isa", lambda: ("ssse3",))
    x86.setattr(preflight, "_import_is_fatal", lambda: True)
    fault = preflight.cpu_fault()
    assert fault is not None
    missing = ", ".join(name for name in preflight.REQUIRED if name != "ssse3")
    assert f"(Intel Core 2) lacks {missing}:" in fault
    assert "\n" not in fault


@pytest.mark.parametrize("machine", ["aarch64", "arm64"])
def test_arm_needs_no_check(machine: str, x86: pytest.MonkeyPatch) -> None:
    x86.setattr(preflight.platform, "machine", lambda: machine)
    x86.setattr(preflight, "isa", lambda: ())
    assert preflight.cpu_fault() is None


@pytest.mark.parametrize("dies", [False, True])
@pytest.mark.parametrize("flags", [(), ("ssse3",), ("ssse3", "sse4_2")])
def test_without_the_flags_the_import_is_tried(
    flags: tuple[str, ...], dies: bool, x86: pytest.MonkeyPatch
) -> None:
    x86.setattr(preflight, "isa", lambda: flags)
    x86.setattr(preflight, "_import_is_fatal", lambda: dies)
    assert (preflight.cpu_fault() is not None) is dies


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("dies", [False, True])
def test_a_process_that_dies_of_the_import_is_detected(dies: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def end() -> None:
        if dies:
            faulthandler.disable()
            os.kill(os.getpid(), signal.SIGILL)
        os._exit(0)

    monkeypatch.setattr(preflight, "_import_and_exit", end)
    assert preflight._import_is_fatal() is dies


@pytest.mark.parametrize(("status", "dies"), [(0, False), (1, False), (0xC000001D, True)])
def test_without_fork_a_new_process_tries_the_import(
    status: int, dies: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "fork", raising=False)
    monkeypatch.setattr(preflight.subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=status))
    assert preflight._import_is_fatal() is dies


@pytest.mark.parametrize(
    ("version", "is_64_bit", "name"),
    [((3, 9), True, "3.9,"), ((3, 12), False, "3.12 of 32 bit,")],
)
def test_the_wrong_python_is_named(version: tuple[int, int], is_64_bit: bool, name: str) -> None:
    assert f"{name} expected 3.10 or later" in str(preflight.python_fault(version, is_64_bit))
    assert preflight.python_fault((3, 10), True) is None


def test_free_memory_counts_swap() -> None:
    text = "MemTotal: 4000 kB\nMemAvailable:    1000 kB\nSwapFree:   24 kB\n"
    assert preflight.parse_free(text) == 1024 * 1024
    assert preflight.parse_free("MemAvailable: 1000 kB\n") == 1000 * 1024
    assert preflight.parse_free("SwapFree: 24 kB\n") is None
    assert preflight.parse_free("") is None


def test_needed_memory_is_the_peak_at_home_or_the_file_size(tmp_path: Path) -> None:
    assert preflight.needed_memory_bytes(tmp_path) is None
    (tmp_path / "model.onnx").write_bytes(b"x" * 300)
    (tmp_path / "manifest.json").write_text('{"profile": {"peak_mem')
    assert preflight.needed_memory_bytes(tmp_path) == 300
    for peak, needed in ((200, 300), (400, 400), (None, 300), ("many", 300)):
        (tmp_path / "manifest.json").write_text(json.dumps({"profile": {"peak_memory_bytes": peak}}))
        assert preflight.needed_memory_bytes(tmp_path) == needed
    assert preflight.memory_fault(tmp_path, 300) is None
    assert preflight.memory_fault(tmp_path, None) is None
    assert "about 0 MiB" in str(preflight.memory_fault(tmp_path, 299))


def test_a_full_disk_is_reported_before_measuring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "not" / "yet" / "report.json"
    assert preflight.disk_fault(out, 1) is None
    monkeypatch.setattr(preflight, "REPORT_BYTES", 1 << 60)
    assert str(preflight.disk_fault(out, 1)).startswith(f"{tmp_path}: ")
    monkeypatch.setattr(preflight, "machine_fault", lambda: None)
    with pytest.raises(MeasurementError, match="free on this disk"):
        preflight.check(1, out)
    preflight.check(1)


@pytest.mark.parametrize("command", ["bench", "predict", "verify"])
def test_the_field_commands_check_first(
    command: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(preflight, "machine_fault", lambda: "no machine for this.")
    image = ("x.png",) if command == "predict" else ()
    done = command_line.run(capsys, monkeypatch, command, tmp_path, *image)
    assert (done.status, done.out, done.err) == (1, "", "error: no machine for this.\n")
    assert command_line.run(capsys, monkeypatch, command, "--help").status == 0


def test_too_little_memory_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tiny_bundle.write(tmp_path / "01-tiny@16-fp32")
    monkeypatch.setattr(preflight, "available_memory_bytes", lambda: 10 << 20)
    done = command_line.run(capsys, monkeypatch, "verify", bundle)
    assert (done.status, done.out) == (1, "")
    assert re.match(rf"error: {re.escape(str(bundle))}: .* 57 MiB .* 10 MiB .*\.\n$", done.err)


def test_doctor_reports_it(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "machine_fault", lambda: "no machine for this.")
    done = command_line.run(capsys, monkeypatch, "doctor", "--json")
    assert done.status == 0
    (row,) = json.loads(done.out)["abilities"]
    assert (row["available"], row["reason"]) == (False, "no machine for this.")


@pytest.mark.parametrize("where", ["cli.verify._check", "device.preflight.check"])
@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            ImportError("IMPORTANT: read this\n\nOriginal error was: failed to map\n"),
            "Original error was: failed to map.",
        ),
        (MemoryError(), "memory"),
    ],
)
def test_a_failed_import_is_one_line(
    error: Exception,
    message: str,
    where: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(f"pepr_edge.{where}", fail)
    done = command_line.run(capsys, monkeypatch, "verify", tiny_bundle.write(tmp_path / "01-tiny@16-fp32"))
    assert done.status == 1
    assert message in done.err
    assert done.err.count("\n") == 1


@pytest.mark.skipif(os.name != "posix", reason="there is no ulimit")
def test_a_limit_of_the_address_space_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    monkeypatch.setattr(resource, "getrlimit", lambda _: (40 << 20, resource.RLIM_INFINITY))
    assert preflight.available_memory_bytes() == 40 << 20
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert preflight.available_memory_bytes() != 40 << 20


@pytest.mark.parametrize(
    ("numpy", "runtime", "fits"),
    [
        ("2.1.0", "1.18.1", False),
        ("2.0.0rc1", "1.16.3", False),
        ("2.1.0", "1.19.0", True),
        ("2.4.6", "1.23.0", True),
        ("1.26.4", "1.18.1", True),
        ("1.26.4", "1.23.0", True),
        (None, "1.18.1", True),
        ("2.1.0", None, True),
    ],
)
def test_numpy_and_onnxruntime_must_fit_each_other(
    numpy: str | None, runtime: str | None, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = {"numpy": numpy, "onnxruntime": runtime}
    monkeypatch.setattr(preflight, "_installed", versions.get)
    fault = preflight.packages_fault()
    assert (fault is None) == fits
    assert fits or "pip install" in str(fault)


def test_verify_does_not_blame_the_bundle_for_packages(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tiny_bundle.write(tmp_path / "01-tiny@16-fp32")
    versions = {"numpy": "2.1.0", "onnxruntime": "1.18.0"}
    monkeypatch.setattr(preflight, "_installed", versions.get)
    done = command_line.run(capsys, monkeypatch, "verify", bundle)
    assert (done.status, done.out, done.err.count("\n")) == (1, "", 1)
    assert "numpy 2.1.0" in done.err
    assert bundle.name not in done.err


@pytest.mark.parametrize(
    "fault",
    [
        "raise ImportError('numpy.core.multiarray failed to import')",
        "raise AttributeError('_ARRAY_API not found')",
    ],
)
@pytest.mark.parametrize("command", ["verify", "predict"])
def test_an_import_that_fails_in_any_way_is_one_line(fault: str, command: str, tmp_path: Path) -> None:
    bundle = tiny_bundle.write(tmp_path / "01-tiny@16-fp32")
    (tmp_path / "broken" / "onnxruntime").mkdir(parents=True)
    (tmp_path / "broken" / "onnxruntime" / "__init__.py").write_text(fault)
    image = [tiny_bundle.image(tmp_path / "x.png")] if command == "predict" else []
    done = subprocess.run(
        [sys.executable, "-m", "pepr_edge", command, bundle, *image],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "broken")},
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert "numpy and onnxruntime" in done.stderr
    assert "altered" not in done.stderr
    assert "Do not use" not in done.stderr
