"""`pepr-edge bench` that is interrupted or killed: what it leaves behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import command_line
import psutil
import pytest
import tiny_bundle
from bench_command import measure_undisturbed

from pepr_edge.cli.progress import TerminalView
from pepr_edge.cli.signals import signals_as_interrupt
from pepr_edge.field import bench as field_bench
from pepr_edge.field.report_checksum import is_intact
from pepr_edge.records import FieldReport


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure briefly, on a device without interference."""
    measure_undisturbed(monkeypatch)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return tiny_bundle.write(tmp_path / "01-tiny@16-fp32")


def test_an_early_interrupt_ends_with_130_and_leaves_no_report(
    bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(field_bench, "profile", interrupt)
    out = bundle.parent / "report.json"
    assert command_line.run(capsys, monkeypatch, "bench", bundle, "--out", out).status == 130
    assert not out.exists()


def test_sigterm_keeps_measured_results(
    bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_bundle.fake_profile(monkeypatch)
    out = bundle.parent / "report.json"
    monkeypatch.setattr(TerminalView, "bar", ended_at_the_first_step)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        done = command_line.run(capsys, monkeypatch, "bench", "--quick", bundle, "--out", out)
        os.kill(os.getpid(), signal.SIGTERM)  # the process is about to end: a second signal changes nothing
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert done.status == 130
    report = FieldReport.model_validate_json(out.read_bytes())
    assert report.partial
    (partial,) = report.results
    assert f"{len(partial.latencies_s)} latencies of 01-tiny@16-fp32" in done.err
    assert "marked partial" in done.err


@contextmanager
def ended_at_the_first_step(view: object, label: str) -> Iterator[SimpleNamespace]:
    yield SimpleNamespace(update=lambda *_: os.kill(os.getpid(), signal.SIGTERM))


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_a_killed_process_leaves_a_partial_report(bundle: Path) -> None:
    out = bundle.parent / "report.json"
    command = [sys.executable, "-m", "pepr_edge", "bench", bundle, "--out", out]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as parent:
        until(out.exists)
        children = psutil.Process(parent.pid).children()
        parent.kill()
    report = FieldReport.model_validate_json(out.read_bytes())
    assert report.partial
    assert is_intact(report)
    (partial,) = report.results
    assert partial.partial
    assert not partial.validity.valid
    assert len(partial.latencies_s) > 128
    # The measuring process notices that its parent is gone.
    assert len(children) == 1
    assert psutil.wait_procs(children, timeout=30)[1] == []


def until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there is no SIGHUP here")
def test_a_signal_that_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals_as_interrupt():
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)
