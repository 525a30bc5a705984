"""tools/check_report.py: a report passes in a real browser, and a broken page does not."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import report_records as records

from pepr_edge.report.html import write
from pepr_edge.report.predictions import ModelPredictions

TOOLS = Path(__file__).resolve().parents[2] / "tools"
NAMES = ("resnet18d", "dla46_c", "ghostnet_100", "mnasnet_100", "efficientnet_b0")


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(TOOLS))
    yield importlib.import_module("check_report")
    sys.modules.pop("check_report", None)


@pytest.fixture
def chromium(tool: Any) -> str:
    """Return the path of the browser, if it and playwright are installed."""
    path: str | None = tool.browser_path()
    if path is None or importlib.util.find_spec("playwright") is None:
        pytest.skip("needs Chromium on the PATH and `pip install playwright`")
    return path


def page(folder: Path) -> Path:
    """Write a report of a few models, with all of its sections."""
    run = records.run(NAMES, budgets={"latency_p90_s": 0.002})
    labels = np.arange(60) % 2
    logits = np.random.default_rng(0).normal(0, 1, (60, 2)) + np.eye(2)[labels]
    predictions = ModelPredictions("resnet18d@64", labels, logits, {"int8_static": logits})
    path = folder / "report.html"
    write(replace(records.report_input(run), predictions=(predictions,)), path)
    return path


@pytest.mark.slow
def test_a_report_passes_in_a_browser(tool: Any, chromium: str, tmp_path: Path) -> None:
    axe = os.environ.get("PEPR_AXE")  # axe.min.js of the npm package axe-core, if installed
    shots = tmp_path / "shots"
    assert list(tool.check(page(tmp_path), chromium, Path(axe) if axe else None, shots)) == []
    assert {path.name for path in shots.iterdir()} >= {"light-390.png", "dark-1280.png", "report.pdf"}


@pytest.mark.slow
def test_a_broken_page_fails(tool: Any, chromium: str, tmp_path: Path) -> None:
    path = page(tmp_path)
    text = path.read_text(encoding="utf-8")
    assert "(up ? 1 : -1)" in text
    assert "row.hidden = !" in text
    broken = text.replace("(up ? 1 : -1)", "1").replace("row.hidden = !", "row.hidden = 0 && ")
    wide = '<p style="width: 2000px">wide</p><img src="https://example.invalid/x.png" alt="">'
    broken = broken.replace("</main>", f"{wide}</main>")
    broken = broken.replace("</script>", 'throw new Error("oops");</script>')
    path.write_text(broken, encoding="utf-8")
    faults = "\n".join(tool.check(path, chromium))
    for keyword in (
        "light, 390 px: overflows: the page is 20",
        "dark, 1280 px: overflows",
        "script: oops",
        "console: ",
        "table-ranking by rank",
        "filtered by",
    ):
        assert keyword in faults
