"""A run on scans: some bad, all of a patient whom nothing that the run leaves may name."""

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
from pepr_edge.records import RunInfo
from pepr_edge.run_dir.store import read_record

pytest.importorskip("pydicom")


def scans(folder: Path) -> Path:
    """24 phantoms as DICOM, 12 bits deep, two of them torn."""
    pixels, labels = images(24, seed=0, size_px=24)
    for number, (image, label) in enumerate(zip(pixels.astype(np.uint16) * 16, labels.tolist(), strict=True)):
        made_dicom.write(folder / ("benign", "malignant")[label] / f"NAMED{number:02}", image, BitsStored=12)
    for path in (folder / "benign").iterdir(), (folder / "malignant").iterdir():
        torn = sorted(path)[0]
        torn.write_bytes(torn.read_bytes()[:-99])
    return folder


@pytest.fixture
def run_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], list[str]]:
    """Run a recipe on a folder into tmp_path / "run", without the candidates, which only see what was prepared; gives what was said."""
    for stage in ("search", "make", "choose", "measure"):
        monkeypatch.setattr(pipeline, stage, lambda *given: None)
    monkeypatch.setattr(pipeline.drive, "finalise", lambda results: None)

    def run(folder: Path) -> list[str]:
        data = f'source = "{folder.as_posix()}"\non_bad_image = "skip"'
        recipe = FLAWLESS.replace('source = "phantom"\nphantom_images = 80', data)
        assert data in recipe
        view = Listener()
        small_run.carry_out(tmp_path / "run", monkeypatch, recipe, view=view)
        return view.said

    return run


def test_a_run_on_scans_names_nobody_and_lists_what_it_left_out(
    tmp_path: Path, run_on: Callable[[Path], list[str]]
) -> None:
    run_dir, note = tmp_path / "run", "2 images that could not be read left out: benign 1, malignant 1"
    said = run_on(scans(tmp_path / "scans"))
    assert f"note: {note}" in said
    assert f"{run_dir / SKIPPED} names the images that were left out, and why" in said
    assert note in (run_dir / "report.html").read_text(encoding="utf-8")
    info = read_record(run_dir / "run.json", RunInfo).data
    assert (info.skipped_images, sum(facts.images for facts in info.splits.values())) == (2, 22)
    assert (run_dir / SKIPPED).read_text(encoding="utf-8").count("NAMED") == 2
    left = [
        path for path in run_dir.rglob("*") if path.is_file() and path.name not in (SKIPPED, "recipe.toml")
    ]
    assert {path.name for path in left} >= {
        "run.json",
        "events.jsonl",
        "ranking.json",
        "ranking.csv",
        "report.html",
    }
    for path in left:
        content = path.read_bytes()
        assert not [word for word in (b"lanted", b"NAMED", bytes(tmp_path)) if word in content], path.name


def test_the_list_goes_when_nothing_is_left_out_any_more(
    tmp_path: Path, run_on: Callable[[Path], list[str]]
) -> None:
    folder = scans(tmp_path / "scans")
    run_on(folder)
    for row in (tmp_path / "run" / SKIPPED).read_text(encoding="utf-8").splitlines()[1:]:
        (folder / row.split(",")[0]).unlink()
    said = run_on(folder)
    assert not (tmp_path / "run" / SKIPPED).exists()
    assert not [line for line in said if "left out" in line]
