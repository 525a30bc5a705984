"""A run whose recipe leaves settings to the images."""

from __future__ import annotations

from pathlib import Path

import pytest
import small_run
from small_run import FLAWLESS, Listener

from pepr_edge import pipeline
from pepr_edge.errors import RunError
from pepr_edge.records import RunInfo
from pepr_edge.run_dir.keys import train_key
from pepr_edge.run_dir.reader import load
from pepr_edge.run_dir.store import read_record, write_record

AUTO = FLAWLESS.replace("image_size_px = 48", 'image_size_px = "auto"').replace(
    "epochs = 2", 'epochs = "auto"\nbatch_size = "auto"\nlearning_rate = "auto"\npatience = "auto"'
)


@pytest.fixture(autouse=True)
def without_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    for stage in ("search", "train_and_export", "complete_search_log", "select_variants", "measure"):
        monkeypatch.setattr(pipeline, stage, lambda results, *_: results)


def carry_out(run_dir: Path, monkeypatch: pytest.MonkeyPatch, images: int) -> list[str]:
    view = Listener()
    text = AUTO.replace("phantom_images = 80", f"phantom_images = {images}")
    assert text.count('"auto"') == 5
    small_run.carry_out(run_dir, monkeypatch, text, view=view)
    return view.said


def test_settings_are_recorded_and_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = carry_out(tmp_path / "run", monkeypatch, 80)
    info = read_record(tmp_path / "run" / "run.json", RunInfo)
    settings = info.settings
    assert settings is not None
    facts = {"train_images": 52, "classes": 2, "side_px": 64, "imbalance": 1.6}
    assert settings.facts.model_dump() == facts
    assert [candidate.image_size_px for candidate in info.candidates] == [64]
    train = load(tmp_path / "run").recipe.train
    chosen = (settings.epochs, settings.batch_size, settings.learning_rate, settings.patience)
    assert (train.epochs, train.batch_size, train.learning_rate, train.patience) == chosen
    assert sum(f"{settings.epochs} epochs" in line for line in said) == 1


def test_other_images_give_other_settings_and_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = []
    for images in (80, 600):
        carry_out(tmp_path / "run", monkeypatch, images)
        results = load(tmp_path / "run")
        keys.append(train_key(results.info.candidates[0], results.recipe, results.info.data))
        assert results.info.settings is not None
        keys.append(str(results.info.settings.epochs))
    assert len(set(keys)) == 4


def test_a_run_directory_without_the_values_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    carry_out(tmp_path / "run", monkeypatch, 80)
    path = tmp_path / "run" / "run.json"
    write_record(path, read_record(path, RunInfo).replace(settings=None))
    with pytest.raises(RunError, match=r"run\.json: train\.epochs.* \"auto\""):
        load(tmp_path / "run")
