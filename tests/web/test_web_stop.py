"""The buttons "Stop" of check and measurement: the page goes on, and no report holds half a measurement."""

from __future__ import annotations

from typing import Any

import pytest
import tiny_bundle
from node_tools import executable, run_script, runtime_files
from test_web_page import TIMEOUT_S

from pepr_edge.field.report_checksum import is_intact
from pepr_edge.kit import web_page
from pepr_edge.kit.check import PAGE
from pepr_edge.records import FieldReport, parse_record

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    runtime = runtime_files("wasm")
    folder = tmp_path_factory.mktemp("stop")
    bundle = tiny_bundle.write(folder / "bundles" / "01-tiny@16-int8_static", fallback=True)
    page = folder / PAGE
    page.write_text(web_page.page([bundle], runtime, "2026-01-01"), encoding="utf-8")
    job = {
        "executable": executable("chromium"),
        "url": page.as_uri(),
        "file": str(tiny_bundle.image(folder / "one.png")),
    }
    result = run_script("stop.mjs", job, timeout_s=TIMEOUT_S)
    assert isinstance(result, dict)
    return result


def test_the_page_goes_on(found: dict[str, Any]) -> None:
    assert found["faults"] == []
    assert (found["before"]["stopIsOff"], found["before"]["barIsHidden"]) == (True, True)
    assert (found["during"]["stopIsOff"], found["during"]["barIsHidden"]) == (False, False)
    assert found["predicted"] == "1 image: 1 with an answer."
    for step in ("first", "second", "third"):
        assert found[step]["status"].startswith("Stopped.")
        assert (found[step]["stopIsOff"], found[step]["barIsHidden"]) == (True, True)


def test_a_check_that_was_stopped_fails_no_model(found: dict[str, Any]) -> None:
    assert found["checked"]["stopped"] == 0
    assert found["checked"]["again"].startswith("2 of 2")


def test_what_was_stopped_is_in_no_report(found: dict[str, Any]) -> None:
    assert found["savedDuring"] == found["first"]["saved"] == "Nothing is measured yet."
    assert (found["first"]["rows"], found["first"]["plots"]) == ([], 0)
    report = parse_record(found["second"]["saved"].encode(), FieldReport)
    assert is_intact(report)
    (result,) = report.results
    assert len(result.latencies_s) >= 128
    assert (len(found["second"]["rows"]), found["second"]["plots"]) == (1, 1)
    assert "int8_static" in found["second"]["rows"][0]


def test_what_was_measured_before_is_kept(found: dict[str, Any]) -> None:
    assert found["third"]["rows"] == found["second"]["rows"]
    assert found["third"]["saved"] == found["second"]["saved"]
