"""`pepr-edge report`: page and figures of a finished run, without and with a field report."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import command_line
import numpy as np
import pytest
from made_records import bench, field_report
from small_run import GOOD

from pepr_edge.field.report_checksum import with_checksum
from pepr_edge.records import Ranking
from pepr_edge.report.from_run import model_predictions, operating_points
from pepr_edge.run_dir.reader import load, read_ranking
from pepr_edge.run_dir.store import read_record, write_record
from pepr_edge.scoring.operating_point import CALIBRATED


@pytest.mark.slow
def test_each_figure_is_written_as_image_and_as_data(
    own_run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command_line.run(capsys, monkeypatch, "report", own_run).status == 0
    files = {path.name for path in (own_run / "report").iterdir()}
    for name in (
        "latency",
        "isoclines",
        "parameters",
        "latencies",
        "curves",
        "energy",
        "life",
        "variants",
        "roc_1",
        "confusion_1",
    ):
        assert {f"{name}.svg", f"{name}.png", f"{name}.csv"} <= files
    rows = list(
        csv.DictReader((own_run / "report" / "confusion_1.csv").read_text(encoding="utf-8").splitlines())
    )
    with np.load(own_run / "candidates" / f"{GOOD}@48" / "fp32" / "predictions.npz") as answers:
        n = len(answers["test"])
    assert sum(int(row["images"]) for row in rows) == 2 * n  # as trained, and of the best file


@pytest.mark.slow
def test_a_report_of_the_field_and_again_of_the_run(
    own_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ranking = read_record(own_run / "ranking.json", Ranking)
    shas = [row.artifact_sha256 for row in ranking.rows if row.rank]
    measured = [
        bench("x", 0.25, 2**28).model_copy(update={"artifact_sha256": sha256, "latencies_s": (0.25,) * 100})
        for sha256 in shas
    ]
    there = tmp_path / "there.json"
    write_record(there, with_checksum(field_report(*measured, cpu="an old laptop")))
    done = command_line.run(capsys, monkeypatch, "report", own_run, "--field", there, "--json")
    assert (done.status, done.err) == (0, "")
    assert json.loads(done.out) == {
        "report": str(own_run / "report.html"),
        "figures": str(own_run / "report"),
    }
    page = (own_run / "report.html").read_text(encoding="utf-8")
    assert "On the devices." in page
    assert "an old laptop, 1 thread" in (own_run / "report" / "latencies.csv").read_text(encoding="utf-8")
    assert command_line.run(capsys, monkeypatch, "report", own_run).status == 0
    assert "an old laptop" not in (own_run / "report.html").read_text(encoding="utf-8")


def test_predictions_are_read_from_the_run_and_damaged_ones_left_out(own_run: Path) -> None:
    results, ranking = load(own_run), read_ranking(own_run)
    (found,) = model_predictions(results, ranking)
    assert found.candidate == f"{GOOD}@48"
    assert next(iter(found.files)) == ranking.rows[0].variant  # the best ranked first
    assert set(found.files) == {"fp32", "int8_static"}
    assert all(logits.shape == (len(found.labels), 2) for logits in found.models().values())
    assert found.rule is not None
    for point in operating_points(results, ranking):
        assert CALIBRATED in point.performance
        assert "expected_calibration_error" in point.performance  # before and after
    assert not list(model_predictions(replace(results, entries=()), ranking))
    (own_run / "candidates" / f"{GOOD}@48" / "logits.npz").write_bytes(b"damaged")
    assert not list(model_predictions(results, ranking))


def test_one_run_directory_at_a_time(
    finished: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    done = command_line.run(capsys, monkeypatch, "report", finished, "other")
    assert done.status == 2
    assert "one run directory at a time" in done.err
