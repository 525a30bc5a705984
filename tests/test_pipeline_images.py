"""A run on scans, some of them damaged. No output of the run may name the patient."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import made_dicom
import numpy as np
import pytest
import small_run
from small_run import FLAWLESS, Listener

from pepr_edge import pipeline
from pepr_edge.data import SKIPPED
from pepr_edge.data.phantom import images
from pepr_edge.records import DataCheck, RunInfo
from pepr_edge.run_dir.layout import DATA_CHECK
from pepr_edge.run_dir.store import read_record

pytest.importorskip("pydicom")


def scans(folder: Path) -> Path:
    """Write 24 phantoms as DICOM, 12 bits deep, two of them torn."""
    pixels, labels = images(24, seed=0, size_px=24)
    for number, (image, label) in enumerate(zip(pixels.astype(np.uint16) * 16, labels.tolist(), strict=True)):
        made_dicom.write(folder / ("benign", "malignant")[label] / f"NAMED{number:02}", image, BitsStored=12)
    for path in (folder / "benign").iterdir(), (folder / "malignant").iterdir():
        torn = sorted(path)[0]
        torn.write_bytes(torn.read_bytes()[:-99])
    return folder


@pytest.fixture
def run_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], list[str]]:
    """Run a recipe on a folder into tmp_path / "run", without its candidates; return the messages."""
    for stage in ("search", "train_and_export", "complete_search_log", "select_variants", "measure"):
        monkeypatch.setattr(pipeline, stage, lambda results, *_: results)

    def run(folder: Path) -> list[str]:
        data = f'source = "{folder.as_posix()}"\non_bad_image = "skip"'
        recipe = FLAWLESS.replace('source = "phantom"\nphantom_images = 80', data)
        assert data in recipe
        view = Listener()
        small_run.carry_out(tmp_path / "run", monkeypatch, recipe, view=view)
        return view.said

    return run


def test_a_run_on_scans_names_no_patient_and_lists_the_images_it_left_out(
    tmp_path: Path, run_on: Callable[[Path], list[str]]
) -> None:
    run_dir = tmp_path / "run"
    said = run_on(scans(tmp_path / "scans"))
    (note,) = (line for line in said if "benign 1, malignant 1" in line)
    assert "2" in note
    assert any(str(run_dir / SKIPPED) in line for line in said)
    remedy = "2 unreadable images left out: benign 1, malignant 1"
    assert note.endswith(remedy)
    assert remedy in (run_dir / "report.html").read_text(encoding="utf-8")
    checked = read_record(run_dir / DATA_CHECK, DataCheck)
    [problem] = [problem for problem in checked.problems if problem.kind == "unreadable_images"]
    assert (problem.severity, problem.count, problem.remedy) == ("warning", 2, remedy)
    info = read_record(run_dir / "run.json", RunInfo).data
    assert (info.skipped_images, sum(facts.images for facts in info.splits.values())) == (2, 22)
    assert (run_dir / SKIPPED).read_text(encoding="utf-8").count("NAMED") == 2
    at_home = (SKIPPED, DATA_CHECK, "recipe.toml")
    outputs = [path for path in run_dir.rglob("*") if path.is_file() and path.name not in at_home]
    assert {path.name for path in outputs} >= {
        "run.json",
        "events.jsonl",
        "ranking.json",
        "ranking.csv",
        "report.html",
    }
    for path in outputs:
        content = path.read_bytes()
        assert not [word for word in (b"lanted", b"NAMED", bytes(tmp_path)) if word in content], path.name


def test_the_list_is_removed_when_no_image_is_left_out(
    tmp_path: Path, run_on: Callable[[Path], list[str]]
) -> None:
    folder = scans(tmp_path / "scans")
    run_on(folder)
    for row in (tmp_path / "run" / SKIPPED).read_text(encoding="utf-8").splitlines()[1:]:
        (folder / row.split(",")[0]).unlink()
    said = run_on(folder)
    assert not (tmp_path / "run" / SKIPPED).exists()
    assert not [line for line in said if "left out" in line]
