from __future__ import annotations

import importlib.util
import os
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import tiny_bundle

from pepr_edge.errors import MeasurementError
from pepr_edge.measure import selftest
from pepr_edge.measure.interleaved_timing import (
    ParticipantLatencies,
    TimingRules,
    latency_ratio,
    time_interleaved,
)
from pepr_edge.measure.line_process import LineProcess
from pepr_edge.measure.model_process import ModelProcess
from pepr_edge.measure.runtimes import RUNTIMES
from pepr_edge.records import Manifest, SessionSettings

SHAPE = (1, 1, tiny_bundle.PX, tiny_bundle.PX)
BRIEF = TimingRules(warmup_s=0.0, block_s=0.01, final_s=0.05)
posix = pytest.mark.skipif(os.name != "posix", reason="needs signals")

READY = """
import json, os, signal, sys, time
job = json.loads(sys.stdin.readline())
def say(**answer): print(json.dumps(answer), flush=True)
def ready(): say(ready={"load_s": 0.1, "first_s": 0.01, "provider_used": "none"})
"""
# Answers `time` at once, with equal latencies.
STEADY = "ready()\nfor line in sys.stdin: say(time=[%g] * json.loads(line)['time'])"

Start = Callable[..., ModelProcess]


@pytest.fixture
def others() -> set[psutil.Process]:
    """The children that earlier tests left, such as multiprocessing's fork server."""
    return set(psutil.Process().children())


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start model processes that run a script, and end them with the test."""
    started: list[ModelProcess] = []

    def begin(script: str, **options: float) -> ModelProcess:
        path = tmp_path / f"{len(started)}.py"
        path.write_text(READY + textwrap.dedent(script))
        started.append(
            ModelProcess(Path("model.onnx"), SessionSettings(), SHAPE, [sys.executable, str(path)], **options)
        )
        return started[-1]

    yield begin
    for process in started:
        process.close()


def test_a_process_runs_the_model(bundle: Path, manifest: Manifest, others: set[psutil.Process]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, tiny_bundle.PX, tiny_bundle.PX, 1), dtype=np.uint8)
    with ModelProcess(bundle / "model.onnx", SessionSettings(batch=1), SHAPE) as process:
        assert process.provider_used == "CPUExecutionProvider"
        assert min(process.load_s, process.first_s) > 0
        latencies = process.time(7)
        assert len(latencies) == 7
        assert min(latencies) > 0
        peak = process.peak_memory_bytes()
        assert peak is None or 10_000_000 < peak < 300_000_000
        runtime = RUNTIMES["onnxruntime"]
        session = runtime.open(bundle / "model.onnx", SessionSettings())
        expected = selftest.session_answers(runtime, session, pixels, manifest.preprocess).logits
        assert np.allclose(process.logits(pixels, manifest.preprocess), expected, atol=1e-5)
        assert len(set(psutil.Process().children()) - others) == 1
    assert not set(psutil.Process().children()) - others
    with pytest.raises(MeasurementError, match="was ended"):
        process.time(1)


def test_two_models_are_timed(bundle: Path) -> None:
    settings = {"any": SessionSettings(), "spinning": SessionSettings(threads=2, spinning=True, batch=1)}
    processes = {name: ModelProcess(bundle / "model.onnx", each, SHAPE) for name, each in settings.items()}
    results = time_interleaved(processes, BRIEF)
    for process in processes.values():
        process.close()
    assert list(results) == ["any", "spinning"]
    assert all(
        len(result.latencies_s) >= BRIEF.round_runs and result.reason == "" for result in results.values()
    )


def test_openvino_is_timed_too(bundle: Path) -> None:
    if importlib.util.find_spec("openvino") is None:
        pytest.skip("openvino is not installed")
    with ModelProcess(bundle / "model.onnx", SessionSettings(runtime="openvino", batch=1), SHAPE) as process:
        assert process.provider_used == "openvino CPU"
        assert len(process.time(3)) == 3


def test_blocks_take_turns_and_each_round_starts_with_the_next(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    processes = {"a": start(STEADY % 0.01), "b": start(STEADY % 0.011), "c": start(STEADY % 0.012)}
    turns: list[str] = []
    names = {id(process): name for name, process in processes.items()}
    real = ModelProcess.time

    def recorded(self: ModelProcess, count: int) -> list[float]:
        turns.append(f"{names[id(self)]}{count}")
        return real(self, count)

    monkeypatch.setattr(ModelProcess, "time", recorded)
    rules = TimingRules(warmup_runs=1, warmup_s=0.0, round_runs=15, final_runs=20, final_s=0.0)
    results = time_interleaved(processes, rules)
    # Warm-up, then rounds of 50 ms each until all have 15, then until all have 20.
    assert turns[:3] == ["a1", "b1", "c1"]
    assert turns[3:] == ["a5", "b5", "c4", "b5", "c4", "a5", "c4", "a5", "b5", "c4", "b5", "c4", "a5"]
    assert [len(result.latencies_s) for result in results.values()] == [20, 20, 20]


def test_slow_participants_are_pruned_after_the_first_rounds(start: Start) -> None:
    processes = {"fast": start(STEADY % 0.010), "near": start(STEADY % 0.0123), "far": start(STEADY % 0.014)}
    results = time_interleaved(processes, TimingRules(warmup_s=0.0))
    assert [len(result.latencies_s) for result in results.values()] == [150, 124, 16]
    assert all(result.reason == "" for result in results.values())


def test_pruning_compares_rounds_that_are_shared(start: Start) -> None:
    """A slow model needs more rounds; here it gets three times slower after the rounds of the other."""
    drifting = """
    ready()
    calls = 0
    for line in sys.stdin:
        calls += 1
        count = json.loads(line)["time"]
        say(time=[0.05 if calls < 5 else 0.15] * count)
    """
    processes = {"steady": start(STEADY % 0.04), "drifting": start(drifting)}
    rules = TimingRules(warmup_runs=1, warmup_s=0.0, block_s=0.12, final_runs=20, final_s=0.0)
    results = time_interleaved(processes, rules)
    # By its median latency it would be pruned.
    assert len(results["drifting"].latencies_s) == 20


def test_a_ratio_rests_on_the_rounds_of_both() -> None:
    own = ParticipantLatencies([], "", {0: 1.0, 1: 3.0, 2: 9.0, 5: 1.0})
    other = ParticipantLatencies([], "", {0: 2.0, 1: 6.0, 2: 18.0, 3: 1.0, 4: 1.0})
    assert latency_ratio(own, other) == 0.5
    assert latency_ratio(other, own) == 2.0
    assert latency_ratio(own, ParticipantLatencies([], "it died", {})) is None


def test_slow_models_need_fewer_runs(start: Start) -> None:
    results = time_interleaved({"slow": start(STEADY % 0.6)}, TimingRules(final_s=0.0))
    assert len(results["slow"].latencies_s) == 10


def test_the_time_limit_ends_the_rounds(start: Start) -> None:
    begin = time.perf_counter()
    sleeping = (
        "ready()\nfor line in sys.stdin:\n time.sleep(0.05); say(time=[0.05] * json.loads(line)['time'])"
    )
    results = time_interleaved({"a": start(sleeping), "b": start(sleeping)}, TimingRules(limit_s=0.3))
    assert time.perf_counter() - begin < 30
    assert all(result.latencies_s for result in results.values())


DEATHS = [
    pytest.param("os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV", marks=posix),
    ("print('out of luck', file=sys.stderr); sys.exit(7)", "ended with status 7 (out of luck)"),
    ("time.sleep(60)", "no answer within 1 s"),
    ("print('rubbish', flush=True)", "invalid answer (b'rubbish"),
    ("say(time=['fast'], ready=[])", "invalid answer"),
    (
        "say(time=[float('nan')] * 5, ready={'load_s': -1, 'first_s': 0, 'provider_used': ''})",
        "invalid answer",
    ),
    ("os.write(1, b'torn'); os.close(1); time.sleep(60)", "stopped answering"),
    ("say(error='this graph\\ncannot be run')", "this graph cannot be run"),
    ("say(error=' ')", "without a reason"),
]


@pytest.mark.parametrize(("death", "keyword"), DEATHS)
def test_a_process_that_cannot_open_the_model_is_one_clear_line(
    start: Start, death: str, keyword: str, monkeypatch: pytest.MonkeyPatch, others: set[psutil.Process]
) -> None:
    monkeypatch.setattr("pepr_edge.measure.line_process.EXIT_LIMIT_S", 0.2)
    with pytest.raises(MeasurementError) as caught:
        start(death, limit_s=1.0)
    assert keyword in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not set(psutil.Process().children()) - others


@pytest.mark.parametrize(("death", "keyword"), DEATHS)
def test_a_process_that_dies_has_no_latencies_and_the_others_go_on(
    start: Start, death: str, keyword: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pepr_edge.measure.line_process.EXIT_LIMIT_S", 0.2)
    dying = start(f"ready()\nsys.stdin.readline()\n{death}\ntime.sleep(60)", limit_s=1.0)
    results = time_interleaved({"dying": dying, "well": start(STEADY % 0.01)}, BRIEF)
    assert results["dying"].latencies_s == []
    assert keyword in results["dying"].reason == dying.reason
    assert len(results["well"].latencies_s) >= BRIEF.final_runs


def test_no_participant_left_is_no_error(start: Start) -> None:
    dying = start("ready()\nsys.stdin.readline()\nsys.exit(1)")
    assert time_interleaved({"dying": dying}, BRIEF)["dying"].latencies_s == []
    assert time_interleaved({}, BRIEF) == {}


def test_a_missing_program_is_one_clear_line() -> None:
    with pytest.raises(MeasurementError, match=r"^/no/program: cannot be started"):
        ModelProcess(Path("model.onnx"), SessionSettings(), SHAPE, ["/no/program"])


@pytest.mark.parametrize("folder", [".", "a" * 200])
def test_a_file_that_is_no_model_is_one_clear_line(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir(exist_ok=True)
    model = tmp_path / folder / "model.onnx"
    model.write_bytes(b"no model")
    with pytest.raises(MeasurementError, match=r"model\.onnx: .* cannot load"):
        ModelProcess(model, SessionSettings(), SHAPE)


def test_an_interrupt_ends_the_process(
    start: Start, monkeypatch: pytest.MonkeyPatch, others: set[psutil.Process]
) -> None:
    process = start(STEADY % 0.01)

    def interrupt(*_: object) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(LineProcess, "post", interrupt)
    with pytest.raises(KeyboardInterrupt):
        time_interleaved({"a": process}, BRIEF)
    assert not set(psutil.Process().children()) - others
