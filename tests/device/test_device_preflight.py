from __future__ import annotations

import faulthandler
import json
import os
import signal
from pathlib import Path
from types import SimpleNamespace

import command_line
import pytest
import tiny_bundle

from pepr_edge.device import preflight
from pepr_edge.errors import MeasurementError

MODERN = (*preflight.NEEDED, "avx2", "fma")


@pytest.fixture
def x86(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A plain x86 machine, whatever this one is, on which nothing is tried."""
    monkeypatch.setattr(preflight.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(preflight, "cpu_name", lambda: "Intel Core 2")
    monkeypatch.setattr(
        preflight, "_dies_of_import", lambda: pytest.fail("tried, though the flags can be trusted")
    )
    return monkeypatch


def test_a_processor_that_has_what_is_needed_passes(x86: pytest.MonkeyPatch) -> None:
    x86.setattr(preflight, "isa", lambda: MODERN)
    assert preflight.cpu_fault() is None


def test_one_that_lacks_it_is_named_with_what_it_lacks(x86: pytest.MonkeyPatch) -> None:
    x86.setattr(preflight, "isa", lambda: ("ssse3",))
    x86.setattr(preflight, "_dies_of_import", lambda: True)
    fault = preflight.cpu_fault()
    assert fault is not None
    missing = ", ".join(name for name in preflight.NEEDED if name != "ssse3")
    assert fault.startswith(f"this processor (Intel Core 2) lacks {missing}: numpy and onnxruntime")
    assert "\n" not in fault


@pytest.mark.parametrize("machine", ["aarch64", "arm64"])
def test_arm_has_all_that_is_needed(machine: str, x86: pytest.MonkeyPatch) -> None:
    x86.setattr(preflight.platform, "machine", lambda: machine)
    x86.setattr(preflight, "isa", lambda: ())
    assert preflight.cpu_fault() is None


@pytest.mark.parametrize("dies", [False, True])
@pytest.mark.parametrize("flags", [(), ("ssse3",), ("ssse3", "sse4_2")])
def test_what_lacks_something_or_does_not_say_is_tried(
    flags: tuple[str, ...], dies: bool, x86: pytest.MonkeyPatch
) -> None:
    x86.setattr(preflight, "isa", lambda: flags)
    x86.setattr(preflight, "_dies_of_import", lambda: dies)
    assert (preflight.cpu_fault() is not None) is dies


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("dies", [False, True])
def test_the_trial_sees_a_process_die(dies: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def end() -> None:
        if dies:
            faulthandler.disable()
            os.kill(os.getpid(), signal.SIGILL)
        os._exit(0)

    monkeypatch.setattr(preflight, "_import_and_exit", end)
    assert preflight._dies_of_import() is dies


@pytest.mark.parametrize(("status", "dies"), [(0, False), (1, False), (0xC000001D, True)])
def test_without_fork_another_process_tries(status: int, dies: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "fork", raising=False)
    monkeypatch.setattr(preflight.subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=status))
    assert preflight._dies_of_import() is dies


@pytest.mark.parametrize(
    ("version", "is_64_bit", "found"),
    [((3, 9), True, "this Python is 3.9,"), ((3, 12), False, "this Python is 3.12 of 32 bit,")],
)
def test_the_wrong_python_is_named(version: tuple[int, int], is_64_bit: bool, found: str) -> None:
    assert str(preflight.python_fault(version, is_64_bit)).startswith(
        f"{found} expected 3.10 or later of 64 bit"
    )
    assert preflight.python_fault((3, 10), True) is None


def test_free_memory_counts_swap() -> None:
    text = "MemTotal: 4000 kB\nMemAvailable:    1000 kB\nSwapFree:   24 kB\n"
    assert preflight.parse_free(text) == 1024 * 1024
    assert preflight.parse_free("MemAvailable: 1000 kB\n") == 1000 * 1024
    assert preflight.parse_free("SwapFree: 24 kB\n") is None
    assert preflight.parse_free("") is None


def test_what_a_model_needs_is_its_peak_at_home_or_its_file(tmp_path: Path) -> None:
    assert preflight.needed_memory_bytes(tmp_path) is None
    (tmp_path / "model.onnx").write_bytes(b"x" * 300)
    (tmp_path / "manifest.json").write_text('{"profile": {"peak_mem')
    assert preflight.needed_memory_bytes(tmp_path) == 300
    for peak, needed in ((200, 300), (400, 400), (None, 300), ("many", 300)):
        (tmp_path / "manifest.json").write_text(json.dumps({"profile": {"peak_memory_bytes": peak}}))
        assert preflight.needed_memory_bytes(tmp_path) == needed
    assert preflight.memory_fault(tmp_path, 300) is None
    assert preflight.memory_fault(tmp_path, None) is None
    assert "needs about 0 MiB of memory" in str(preflight.memory_fault(tmp_path, 299))


def test_a_full_disk_is_said_before_an_hour_of_measuring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "not" / "yet" / "report.json"
    assert preflight.disk_fault(out, 1) is None
    monkeypatch.setattr(preflight, "REPORT_BYTES", 1 << 60)
    assert str(preflight.disk_fault(out, 1)).startswith(f"{tmp_path}: ")
    monkeypatch.setattr(preflight, "machine_fault", lambda: None)
    with pytest.raises(MeasurementError, match="are free on this disk"):
        preflight.check([tmp_path], out)
    preflight.check([tmp_path])


@pytest.mark.parametrize("words", [("bench",), ("predict",), ("verify",)])
def test_the_field_commands_ask_first(
    words: tuple[str, ...],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(preflight, "machine_fault", lambda: "no machine for this.")
    image = ("x.png",) if words == ("predict",) else ()
    done = command_line.run(capsys, monkeypatch, *words, tmp_path, *image)
    assert (done.status, done.out, done.err) == (1, "", "error: no machine for this.\n")
    assert command_line.run(capsys, monkeypatch, *words, "--help").status == 0


def test_too_little_memory_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tiny_bundle.write(tmp_path / "01-tiny@16-fp32")
    monkeypatch.setattr(preflight, "available_memory_bytes", lambda: 10 << 20)
    done = command_line.run(capsys, monkeypatch, "verify", bundle)
    words = "needs about 57 MiB of memory, 10 MiB are free. Close other programs and try again, or use the bundle of a smaller model."
    assert (done.status, done.out, done.err) == (1, "", f"error: {bundle}: {words}\n")


def test_doctor_goes_on_and_tells(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "machine_fault", lambda: "no machine for this.")
    done = command_line.run(capsys, monkeypatch, "doctor", "--json")
    assert done.status == 0
    (row,) = json.loads(done.out)["abilities"]
    assert (row["available"], row["reason"]) == (False, "no machine for this.")


@pytest.mark.parametrize("where", ["cli.verify._check", "device.preflight.check"])
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (
            ImportError("IMPORTANT: read this\n\nOriginal error was: failed to map\n"),
            "cannot be loaded on this machine: Original error was: failed to map.",
        ),
        (MemoryError(), "memory ran out."),
    ],
)
def test_what_fails_to_load_is_one_line(
    fault: Exception,
    said: str,
    where: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise fault

    monkeypatch.setattr(f"pepr_edge.{where}", fail)
    done = command_line.run(capsys, monkeypatch, "verify", tiny_bundle.write(tmp_path / "01-tiny@16-fp32"))
    assert done.status == 1
    assert said in done.err
    assert done.err.count("\n") == 1


@pytest.mark.skipif(os.name != "posix", reason="there is no ulimit")
def test_a_limit_of_the_address_space_is_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    monkeypatch.setattr(resource, "getrlimit", lambda _: (40 << 20, resource.RLIM_INFINITY))
    assert preflight.available_memory_bytes() == 40 << 20
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert preflight.available_memory_bytes() != 40 << 20
