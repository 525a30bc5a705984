from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest
import tiny_bundle

from pepr_edge.errors import MeasurementError
from pepr_edge.measure import process
from pepr_edge.measure.job import MeasurementJob
from pepr_edge.records import SessionSettings

posix = pytest.mark.skipif(os.name != "posix", reason="the fake child is a shell script")


def job(model: Path, **changes: object) -> MeasurementJob:
    made = MeasurementJob(
        "latency",
        str(model),
        SessionSettings().model_dump(),
        (1, 1, tiny_bundle.PX, tiny_bundle.PX),
        tiny_bundle.FAST,
        None,
    )
    return made._replace(**changes)  # type: ignore[arg-type]


@pytest.fixture
def child_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Run a shell script in place of the worker."""

    def put(script: str) -> None:
        path = tmp_path / "child.sh"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setattr(process.sys, "executable", str(path))

    return put


def test_a_file_that_is_no_model_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(MeasurementError, match=r"model\.onnx: .* cannot load") as caught:
        process.measure_latency(job(tmp_path / "model.onnx"))
    assert "\n" not in str(caught.value)


def test_an_input_that_does_not_fit_ends_with_the_last_line(bundle: Path) -> None:
    with pytest.raises(MeasurementError, match=r"^model\.onnx: .* status 1 \(.+\)\.$") as caught:
        process.measure_latency(job(bundle / "model.onnx", input_shape=(1, 3, 8, 8)))
    assert "\n" not in str(caught.value)


@posix
@pytest.mark.parametrize(
    ("script", "keyword"),
    [
        ("kill -KILL $$", "SIGKILL, .* memory"),
        ("kill -ILL $$", "SIGILL, .* instruction"),
        ("echo trouble >&2; exit 7", r"status 7 \(trouble\)"),
        ("cat >/dev/null; exit 0", "status 0"),
        ("cat >/dev/null; printf '{\"progr'; exit 3", "status 3"),
    ],
)
def test_a_child_that_dies_is_one_clear_line(child_is, script: str, keyword: str) -> None:  # type: ignore[no-untyped-def]
    child_is(script)
    with pytest.raises(MeasurementError, match=rf"^model\.onnx: .* {keyword}"):
        process.measure_memory(job(Path("model.onnx"), kind="memory"))


@posix
def test_a_child_that_hangs_is_ended(child_is, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(process, "SILENCE_S", 0.2)
    child_is("exec sleep 600")
    with pytest.raises(MeasurementError, match=r"^model\.onnx: .* hung: .* 0\.2 s\.$"):
        process.measure_memory(job(Path("model.onnx"), kind="memory"))


@posix
def test_a_large_stderr_does_not_block(child_is) -> None:  # type: ignore[no-untyped-def]
    child_is(
        "cat >/dev/null; yes warning | head -c 1000000 >&2; "
        'echo \'{"result": {"stages_bytes": {"end": null}}}\''
    )
    assert process.measure_memory(job(Path("model.onnx"), kind="memory")).stages_bytes == {"end": None}


def test_an_interrupt_ends_the_child(bundle: Path) -> None:
    def interrupt(*_: float) -> None:
        raise KeyboardInterrupt

    before = psutil.Process().children()
    with pytest.raises(KeyboardInterrupt):
        process.measure_latency(
            job(bundle / "model.onnx", rules=tiny_bundle.FAST._replace(duration_s=60.0)), interrupt
        )
    assert psutil.Process().children() == before


def test_a_file_called_numpy_in_the_working_directory_is_not_imported(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit('the wrong numpy')")
    monkeypatch.chdir(tmp_path)
    assert process.measure_memory(job(bundle / "model.onnx", kind="memory")).stages_bytes["end"]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs VmHWM")
def test_memory_is_the_childs_own(bundle: Path) -> None:
    ballast = b"x" * 400_000_000
    stages = process.measure_memory(job(bundle / "model.onnx", kind="memory")).stages_bytes
    assert list(stages) == ["import", "load", "first", "end"]
    values = [value for value in stages.values() if value is not None]
    assert len(values) == 4
    assert values == sorted(values)
    assert 10_000_000 < values[-1] < 300_000_000 < len(ballast)
