"""tools/bench_overhead.py: that the two which it compares both run, by turns, and are both heard."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny_bundle

# `pepr-edge` with brief rules.
BRIEF = """
from pepr_edge.measure import rules
rules.RULES["quick"] = rules.QUICK._replace(warmup_s=0.1, duration_s=1.5)
from pepr_edge.cli import entry
entry()
"""
TOOLS = Path(__file__).resolve().parents[1] / "tools"


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The tool, which is in no package."""
    monkeypatch.syspath_prepend(str(TOOLS))
    return importlib.import_module("bench_overhead")


def test_the_ratio_is_how_much_longer_bench_says(tool: Any) -> None:
    assert tool.Round(bench_s=0.0102, bare_s=0.01).ratio == pytest.approx(1.02)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="pins processes to a core")
def test_a_round(tool: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start = subprocess.Popen

    def start_brief(command: list[str], **settings: Any) -> Any:
        if command[1:3] == ["-m", "pepr_edge"]:
            command = [command[0], "-c", BRIEF, *command[3:]]
        return start(command, **settings)

    monkeypatch.setattr(tool.subprocess, "Popen", start_brief)
    monkeypatch.setattr(tool, "QUICK", tool.QUICK._replace(duration_s=1.5))
    found = tool.compare(
        tiny_bundle.write(tmp_path / "01-tiny@16-fp32"), tmp_path / "report.json", bench_first=True
    )
    assert 0 < found.bench_s < 0.1
    assert 0 < found.bare_s < 0.1
