from __future__ import annotations

import importlib.util
import os
import subprocess
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
from pepr_edge.measure.interleaved_timing import TimingRules, time_interleaved
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
# Answers `time` with latencies of one length that nobody has to wait for.
STEADY = "ready()\nfor line in sys.stdin: say(time=[%g] * json.loads(line)['time'])"

Start = Callable[..., ModelProcess]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start contestants whose process is a script, and end them with the test."""
    started: list[ModelProcess] = []

    def begin(script: str, **options: float) -> ModelProcess:
        path = tmp_path / f"{len(started)}.py"
        path.write_text(READY + textwrap.dedent(script))
        started.append(
            ModelProcess(Path("model.onnx"), SessionSettings(), SHAPE, [sys.executable, str(path)], **options)
        )
        return started[-1]

    yield begin
    for contestant in started:
        contestant.close()


def test_a_contestant_runs_the_model(bundle: Path, manifest: Manifest) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, tiny_bundle.PX, tiny_bundle.PX, 1), dtype=np.uint8)
    with ModelProcess(bundle / "model.onnx", SessionSettings(batch=1), SHAPE) as contestant:
        assert contestant.provider_used == "CPUExecutionProvider"
        assert min(contestant.load_s, contestant.first_s) > 0
        latencies = contestant.time(7)
        assert len(latencies) == 7
        assert min(latencies) > 0
        peak = contestant.peak_memory_bytes()
        assert peak is None or 10_000_000 < peak < 300_000_000
        runtime = RUNTIMES["onnxruntime"]
        expected = selftest.make(
            runtime, runtime.open(bundle / "model.onnx", SessionSettings()), pixels, manifest.preprocess
        )
        assert np.allclose(contestant.logits(pixels, manifest.preprocess), expected, atol=1e-5)
        assert len(psutil.Process().children()) == 1
    assert psutil.Process().children() == []
    with pytest.raises(MeasurementError, match="was ended"):
        contestant.time(1)


def test_two_contestants_race(bundle: Path) -> None:
    settings = {"any": SessionSettings(), "spinning": SessionSettings(threads=2, spinning=True, batch=1)}
    opened = {name: ModelProcess(bundle / "model.onnx", each, SHAPE) for name, each in settings.items()}
    found = time_interleaved(opened, BRIEF)
    for contestant in opened.values():
        contestant.close()
    assert list(found) == ["any", "spinning"]
    assert all(len(raced.latencies_s) >= BRIEF.round_runs and raced.reason == "" for raced in found.values())


def test_openvino_races_too(bundle: Path) -> None:
    if importlib.util.find_spec("openvino") is None:
        pytest.skip("openvino is not installed")
    with ModelProcess(
        bundle / "model.onnx", SessionSettings(runtime="openvino", batch=1), SHAPE
    ) as contestant:
        assert contestant.provider_used == "openvino CPU"
        assert len(contestant.time(3)) == 3


def test_blocks_take_turns_and_another_is_first_each_round(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = {"a": start(STEADY % 0.01), "b": start(STEADY % 0.011), "c": start(STEADY % 0.012)}
    turns: list[str] = []
    names = {id(contestant): name for name, contestant in opened.items()}
    real = ModelProcess.time

    def noted(self: ModelProcess, count: int) -> list[float]:
        turns.append(f"{names[id(self)]}{count}")
        return real(self, count)

    monkeypatch.setattr(ModelProcess, "time", noted)
    rules = TimingRules(warmup_runs=1, warmup_s=0.0, round_runs=15, final_runs=20, final_s=0.0)
    found = time_interleaved(opened, rules)
    # Warm-up, then rounds of 50 ms each until all have 15, then until all have 20.
    assert turns[:3] == ["a1", "b1", "c1"]
    assert turns[3:] == ["a5", "b5", "c4", "b5", "c4", "a5", "c4", "a5", "b5", "c4", "b5", "c4", "a5"]
    assert [len(raced.latencies_s) for raced in found.values()] == [20, 20, 20]


def test_those_far_behind_are_out_after_the_heats(start: Start) -> None:
    opened = {"fast": start(STEADY % 0.010), "near": start(STEADY % 0.0125), "far": start(STEADY % 0.014)}
    found = time_interleaved(opened, TimingRules(warmup_s=0.0))
    assert [len(raced.latencies_s) for raced in found.values()] == [150, 124, 16]
    assert all(raced.reason == "" for raced in found.values())


def test_slow_ones_need_fewer_runs(start: Start) -> None:
    found = time_interleaved({"slow": start(STEADY % 0.6)}, TimingRules(final_s=0.0))
    assert len(found["slow"].latencies_s) == 10


def test_time_runs_out(start: Start) -> None:
    begin = time.perf_counter()
    sleeping = (
        "ready()\nfor line in sys.stdin:\n time.sleep(0.05); say(time=[0.05] * json.loads(line)['time'])"
    )
    found = time_interleaved({"a": start(sleeping), "b": start(sleeping)}, TimingRules(limit_s=0.3))
    assert time.perf_counter() - begin < 5
    assert all(raced.latencies_s for raced in found.values())


DEATHS = [
    pytest.param("os.kill(os.getpid(), signal.SIGSEGV)", "the process was ended by SIGSEGV", marks=posix),
    ("print('out of luck', file=sys.stderr); sys.exit(7)", "ended with status 7 (out of luck)"),
    ("time.sleep(60)", "gave no answer within 1 s"),
    ("print('rubbish', flush=True)", "gave an answer that is none (b'rubbish"),
    ("say(time=['fast'], ready=[])", "gave an answer that is none"),
    (
        "say(time=[float('nan')] * 5, ready={'load_s': -1, 'first_s': 0, 'provider_used': ''})",
        "gave an answer that is none",
    ),
    ("os.write(1, b'torn'); os.close(1); time.sleep(60)", "the process stopped answering"),
    ("say(error='this graph\\ncannot be run')", "this graph cannot be run"),
]


@pytest.mark.parametrize(("death", "words"), DEATHS)
def test_a_process_that_cannot_open_the_model_is_one_clear_line(
    start: Start, death: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pepr_edge.measure.model_process.END_S", 0.2)
    with pytest.raises(MeasurementError) as caught:
        start(death, limit_s=1.0)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert psutil.Process().children() == []


@pytest.mark.parametrize(("death", "words"), DEATHS)
def test_one_that_dies_in_the_race_loses_alone(
    start: Start, death: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pepr_edge.measure.model_process.END_S", 0.2)
    dying = start(
        f"ready()\nfor line in [*map(lambda _: sys.stdin.readline(), range(1))]: pass\n{death}\ntime.sleep(60)",
        limit_s=1.0,
    )
    found = time_interleaved({"dying": dying, "well": start(STEADY % 0.01)}, BRIEF)
    assert found["dying"].latencies_s == []
    assert words in found["dying"].reason == dying.reason
    assert len(found["well"].latencies_s) >= BRIEF.final_runs


def test_nobody_left_is_no_fault(start: Start) -> None:
    dying = start("ready()\nsys.stdin.readline()\nsys.exit(1)")
    assert time_interleaved({"dying": dying}, BRIEF)["dying"].latencies_s == []
    assert time_interleaved({}, BRIEF) == {}


def test_a_program_that_is_not_there_is_one_clear_line() -> None:
    with pytest.raises(
        MeasurementError, match=r"^/no/program: cannot be started \(No such file or directory\)\.$"
    ):
        ModelProcess(Path("model.onnx"), SessionSettings(), SHAPE, ["/no/program"])


def test_a_model_that_is_none_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(MeasurementError, match=r"model\.onnx: onnxruntime cannot load this model"):
        ModelProcess(tmp_path / "model.onnx", SessionSettings(), SHAPE)


def test_an_interrupt_takes_the_process_along(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    contestant = start(STEADY % 0.01)

    def interrupt(*_: object) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(ModelProcess, "_exchange", interrupt)
    with pytest.raises(KeyboardInterrupt):
        time_interleaved({"a": contestant}, BRIEF)
    assert psutil.Process().children() == []


def test_only_the_standard_library_is_imported_before_the_runtime() -> None:
    heavy = {"numpy", "onnxruntime", "pydantic", "psutil", "click"}
    words = f"import sys, pepr_edge.measure.model_process_main; print(sorted({heavy} & set(sys.modules)))"
    assert (
        subprocess.run(
            [sys.executable, "-c", words], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )
