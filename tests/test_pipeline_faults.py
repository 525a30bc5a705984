"""A run in which most candidates fail, each in another way."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

RECIPE = """
schema_version = 1
name = "faults"
[device]
name = "a test's machine"
threads = 1
[data]
source = "phantom"
phantom_images = 80
[candidates]
architectures = [
    "test_efficientnet", "faulty_raises", "faulty_nan", "faulty_segfault", "faulty_memory", "faulty_hangs",
    "faulty_exits", "test_resnet",
]
image_size_px = 48
[train]
epochs = 2
[worker]
silence_min = 0.4
memory_mib = 4000
[export]
variants = ["fp32"]
keep_performance = 0.0
[score]
weights = { latency = 1.0 }
[profile]
rules = "quick"
"""
REASONS = {
    "faulty_raises@48": r"train: ZeroDivisionError: a layer that divides by zero",
    "faulty_nan@48": r"train: .* nan .* epoch 1.* train\.learning_rate \(0\.002\).*",
    "faulty_segfault@48": r"train: its process was ended by SIGSEGV",
    "faulty_memory@48": r"train: .*can't allocate memory: you tried to allocate 34359738368 bytes.*",
    "faulty_hangs@48": r"train: it hung: .*worker\.silence_min = 0\.4 minutes",
    "faulty_exits@48": r"train: its process ended with status 1",
}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits memory")
def test_candidates_that_fail_are_rows_with_a_reason_and_the_others_are_ranked(tmp_path: Path) -> None:
    recipe = tmp_path / "faults.toml"
    run = tmp_path / "run"
    recipe.write_text(RECIPE)
    command = [sys.executable, "-m", "pepr_edge", "run", str(recipe), "--out", str(run), "--jobs", "2"]
    faults = {**os.environ, "PYTHONPATH": str(Path(__file__).parent / "faults")}
    done = subprocess.run(command, env=faults, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    rows = {row["candidate"]: row for row in json.loads((run / "ranking.json").read_text())["rows"]}
    assert len(rows) == 8
    for candidate, reason in REASONS.items():
        assert rows[candidate]["status"] == "failed"
        assert re.fullmatch(reason, rows[candidate]["reason"]), rows[candidate]["reason"]
        assert rows[candidate]["rank"] is None
    assert {rows[name]["rank"] for name in ("test_efficientnet@48", "test_resnet@48")} == {1, 2}
    assert "6 of 8 candidates failed" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    log = json.loads((run / "candidates" / "faulty_raises@48" / "failure.json").read_text())["log_tail"]
    assert log[-1] == "ZeroDivisionError: a layer that divides by zero"
