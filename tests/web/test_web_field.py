"""The reports that a real run's page saves come home: `rank --field` reads them, beside one of `bench`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tiny_bundle
from command_line import run as command
from node_tools import runtime_files
from PIL import Image
from test_web_page import driven

from pepr_edge.bundle.read import read_manifest
from pepr_edge.field.report_checksum import is_intact, with_checksum
from pepr_edge.kit import web_kit
from pepr_edge.kit.check import PAGE
from pepr_edge.records import FieldReport, Validity, parse_record
from pepr_edge.run_dir.store import write_record

IMAGES = 12


def site(folder: Path, labels: tuple[str, ...]) -> list[str]:
    """Return the files of a table with images of noise."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    rows = ["path,label"]
    for number in range(IMAGES):
        Image.fromarray(rng.integers(0, 256, (60, 60), dtype=np.uint8)).save(folder / f"{number}.png")
        rows.append(f"{number}.png,{labels[number % len(labels)]}")
    (folder / "site.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return sorted(str(path) for path in folder.iterdir())


def undisturbed(text: str) -> FieldReport:
    """Return the page's report as if nothing had disturbed it: tests do not judge the machine."""
    report = parse_record(text.encode(), FieldReport)
    assert is_intact(report)
    valid = [result.replace(validity=Validity(valid=True)) for result in report.results]
    return with_checksum(report.replace(results=tuple(valid)))


@pytest.mark.slow
def test_rank_reads_the_reports_of_the_page_beside_those_of_bench(
    own_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime_files("wasm")
    bundle = min((own_run / "bundles").iterdir())
    web_kit.make(own_run, tmp_path / "kit", top=1, progress=lambda *step: None)
    evaluate = [{"model": 0, "files": site(tmp_path / "site", read_manifest(bundle).labels)}]
    page = (tmp_path / "kit" / PAGE).as_uri()
    found = driven("chromium", page, measure=True, evaluate=evaluate)
    assert found["faults"] == []
    (tmp_path / "evaluation.json").write_text(found["evaluation"], encoding="utf-8")
    write_record(tmp_path / "report.json", undisturbed(found["report"]))
    tiny_bundle.measure_briefly(monkeypatch)
    done = command(capsys, monkeypatch, "bench", bundle, "--quick", "--out", tmp_path / "bench.json")
    assert done.status in (0, 3), done.err
    reports = [tmp_path / name for name in ("report.json", "bench.json", "evaluation.json")]
    done = command(capsys, monkeypatch, "rank", own_run, "--field", *reports, "--json")
    assert done.status == 0, done.err
    ranking = json.loads(done.out)
    devices = [device["device"] for device in ranking["devices"]]
    assert sum("onnxruntime-web, wasm" in device for device in devices) == 1, devices
    assert len(devices) >= 2
    assert [one["report"] for one in ranking["sites"]] == ["evaluation.json"]
    assert ranking["sites"][0]["images"] == IMAGES
