from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pepr_edge.errors import MeasurementError
from pepr_edge.measure import worker
from pepr_edge.measure.job import Block, MeasurementJob, MeasurementRules
from pepr_edge.measure.runtimes import RUNTIMES

RULES = MeasurementRules(warmup_runs=3, warmup_s=0.0, queries=20, duration_s=0.0, cap_s=10.0)


class Counter:
    """A fake inference of known duration, which counts its calls."""

    def __init__(self, duration_s: float = 0.0) -> None:
        self.calls = 0
        self._duration_s = duration_s

    def __call__(self) -> None:
        self.calls += 1
        time.sleep(self._duration_s)


def timed(
    call: Counter, rules: MeasurementRules, paced_s: float | None, typical_s: float
) -> tuple[list[float], float]:
    """Return the latencies of all blocks, and the duration in the last one."""
    messages: list[dict[str, Any]] = []
    worker.timed(call, rules, paced_s, typical_s, messages.append)
    blocks = [Block(**message["block"]) for message in messages]
    assert [block.duration_s for block in blocks] == sorted(block.duration_s for block in blocks)
    latencies_s = [block.latencies_s for block in blocks]
    return list(chain.from_iterable(latencies_s)), blocks[-1].duration_s


def test_only_the_standard_library_is_imported_before_the_clock_runs() -> None:
    heavy = {"numpy", "onnxruntime", "pydantic", "psutil", "click", "subprocess", "platform"}
    program = f"import sys, pepr_edge.measure.worker; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_error_without_text_is_reported_by_its_type(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(model: Path, settings: object) -> None:
        raise MeasurementError

    job = MeasurementJob("memory", str(bundle / "model.onnx"), {"runtime": "onnxruntime"}, (1, 1, 8, 8))
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(job._asdict())))
    monkeypatch.setattr(RUNTIMES["onnxruntime"], "open", fail)
    monkeypatch.setattr(worker, "own_stdout", lambda: sys.stdout)
    assert worker.main() == 1
    assert "MeasurementError" in json.loads(capfd.readouterr().out)["error"]


def test_noise_is_seeded_normal_float32() -> None:
    noise = worker.noise((1, 3, 32, 32))
    assert noise.dtype == np.float32
    assert noise.shape == (1, 3, 32, 32)
    assert np.array_equal(noise, worker.noise((1, 3, 32, 32)))
    assert abs(float(noise.mean())) < 0.1
    assert float(noise.std()) == pytest.approx(1.0, abs=0.1)


def test_warm_up_meets_runs_and_seconds() -> None:
    call = Counter()
    assert len(worker.warm_up(call, RULES)) == call.calls == 3
    begin = time.perf_counter()
    assert len(worker.warm_up(Counter(0.001), RULES._replace(warmup_s=0.05))) > 3
    assert time.perf_counter() - begin >= 0.05


def test_every_latency_is_kept() -> None:
    call = Counter()
    latencies, duration_s = timed(call, RULES, None, 0.1)
    assert len(latencies) == call.calls >= RULES.queries
    assert sum(latencies) <= duration_s


def test_minimum_queries_and_minimum_time_both_hold() -> None:
    _, duration_s = timed(Counter(), RULES._replace(duration_s=0.1), None, 0.02)
    assert duration_s >= 0.1
    latencies, _ = timed(Counter(0.001), RULES._replace(queries=50), None, 0.1)
    assert len(latencies) >= 50


def test_the_cap_ends_it() -> None:
    latencies, _ = timed(Counter(0.02), RULES._replace(queries=1000, cap_s=0.1), None, 1.0)
    assert 1 < len(latencies) < 50


def test_paced_load_keeps_its_schedule() -> None:
    call = Counter(0.001)
    begin = time.perf_counter()
    latencies = worker.paced(call, 10, 0.01, begin)
    # The tenth starts 90 ms after the first. The wait is not part of a latency.
    assert time.perf_counter() - begin >= 0.09
    assert sorted(latencies)[5] < 0.008


def test_a_late_paced_query_starts_at_once() -> None:
    begin = time.perf_counter()
    worker.paced(Counter(0.005), 10, 0.001, begin)
    assert 0.05 <= time.perf_counter() - begin < 0.5


def test_paced_blocks_follow_one_schedule() -> None:
    call = Counter()
    _, duration_s = timed(call, RULES._replace(queries=12), 0.1, 0.0)
    # Blocks of five: the block of the twelfth query is completed.
    assert call.calls == 15
    assert duration_s >= 1.4
