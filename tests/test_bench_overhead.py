"""tools/bench_overhead.py: that the two which it compares both run, by turns, and are both heard."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny_bundle

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
def test_a_round(tool: Any, tmp_path: Path) -> None:
    found = tool.compare(
        tiny_bundle.write(tmp_path / "01-tiny@16-fp32"), tmp_path / "report.json", bench_first=True
    )
    assert 0 < found.bench_s < 0.01
    assert 0 < found.bare_s < 0.01
