"""Runs whose recipe says variants = "auto": autotune inside the pipeline."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from small_run import FLAWLESS, Listener, carry_out

from pepr_edge import pipeline
from pepr_edge.bundle.read import read_manifest
from pepr_edge.engine import worker
from pepr_edge.engine.job import CandidateJob
from pepr_edge.errors import MeasurementError
from pepr_edge.field.verify import check
from pepr_edge.records import Artifact
from pepr_edge.run_dir.store import read_record

AUTO = FLAWLESS.replace("keep_performance = 0.0", 'variants = "auto"\ntime_budget_s = 5')


@pytest.mark.slow
def test_autotune_gives_one_row_for_each_candidate_and_a_bundle_with_its_fallback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    view = Listener()
    ranking = carry_out(run, monkeypatch, AUTO, view=view)
    (row,) = ranking.rows
    folder = run / "candidates" / "mobilenetv2_050@48"
    chosen = read_record(folder / "auto" / "export.json", Artifact)
    assert (row.rank, row.variant, row.artifact_sha256) == (1, chosen.variant, chosen.sha256)
    assert chosen.settings is not None
    assert chosen.quality is not None
    assert chosen.quality.passed
    assert [trial.outcome for trial in chosen.rungs].count("chosen") == 1
    assert all(trial.reason for trial in chosen.rungs)
    assert read_record(folder / "fp32" / "export.json", Artifact).rungs == ()
    assert (
        json.loads((folder / "auto" / "profile.json").read_text())["settings"] == chosen.settings.model_dump()
    )
    assert any("the fastest variant that passed" in line for line in view.said)
    assert "How the variants were chosen" in (run / "report.html").read_text(encoding="utf-8")

    bundle = run / str(row.bundle)
    manifest = read_manifest(bundle)
    assert manifest.profile.settings == chosen.settings
    assert (manifest.fallback is None) == (
        chosen.variant == "fp32" and chosen.settings.runtime == "onnxruntime"
    )
    assert check(bundle).reasons == []

    # A variant whose file is damaged, or that another machine chose, is chosen again.
    for damage in ("model", "machine"):
        before = (folder / "auto" / "export.json").stat().st_mtime_ns
        if damage == "model":
            (folder / "auto" / "model.onnx").write_bytes(b"")
        else:
            other = chosen.chosen_on.model_copy(update={"cpu": "another"})  # type: ignore[union-attr]
            made = read_record(folder / "auto" / "export.json", Artifact).model_copy(
                update={"chosen_on": other}
            )
            (folder / "auto" / "export.json").write_text(made.model_dump_json())
        (run / "ranking.json").unlink()
        assert carry_out(run, monkeypatch, AUTO).rows[0].rank == 1
        assert (folder / "auto" / "export.json").stat().st_mtime_ns != before

    # A stop between autotune and the measurement does not repeat autotune.
    stamp = (folder / "auto" / "export.json").stat().st_mtime_ns
    (folder / "auto" / "profile.json").unlink()
    (run / "ranking.json").unlink()
    carry_out(run, monkeypatch, AUTO)
    assert (folder / "auto" / "export.json").stat().st_mtime_ns == stamp


@pytest.mark.slow
def test_a_candidate_without_a_usable_variant_is_a_row_with_the_reason(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)

    def nothing(*_: object) -> None:
        raise MeasurementError("no variant runs here")

    def run_jobs_here(jobs: Sequence[CandidateJob], *given: Any) -> None:
        for job in jobs:
            worker.work(job, io.StringIO())
            given[-1](job)

    monkeypatch.setattr(worker, "select_variant", nothing)
    monkeypatch.setattr(pipeline, "run_jobs", run_jobs_here)
    rows = {row.candidate: row for row in carry_out(run, monkeypatch, AUTO).rows}
    assert rows["mobilenetv2_050@48"].status == "failed"
    assert rows["mobilenetv2_050@48"].reason == "choose: no variant runs here"
