"""Runs that train candidates with several seeds, through all stages."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import small_run
from small_run import Listener

from pepr_edge.ranking import rank
from pepr_edge.recipe.variants import load as load_variant
from pepr_edge.records import Manifest, Ranking, TrainingState
from pepr_edge.run_dir.keys import export_key
from pepr_edge.run_dir.reader import Results, load
from pepr_edge.run_dir.store import read_record
from pepr_edge.search import repeats

NAMES = ("test_efficientnet", "test_resnet")
RECIPE = f"""
schema_version = 1
name = "repeats"
[device]
name = "a test's machine"
threads = 1
[data]
source = "phantom"
phantom_images = 80
[candidates]
architectures = ["{NAMES[0]}", "{NAMES[1]}"]
image_size_px = 32
[train]
epochs = 2
repeats = 2
[workstation]
watts_per_core = 5.0
[export]
variants = ["fp32"]
keep_performance = 0.0
[profile]
rules = "quick"
"""
AUTO = RECIPE.replace("repeats = 2", 'repeats = "auto"\nmax_repeats = 3')


def rank_as_unsettled(results: Results) -> Ranking:
    """Rank a run whose candidates all may be first, whatever a few images say of them.

    The spread over seeds counts as unknown, so that it ends no repeats.
    """
    ranking = rank(results)
    rows = []
    for number, row in enumerate(ranking.rows, start=1):
        rows.append(row.replace(status="ok", reason="", rank=number, rank_ci=(1, len(ranking.rows))))
    return ranking.replace(rows=tuple(rows), settled=False, sources=("images",))


def events(folder: Path, name: str) -> list[dict[str, object]]:
    lines = (folder / "events.jsonl").read_text().splitlines()
    found: list[dict[str, object]] = [json.loads(line) for line in lines]
    return [event for event in found if event["event"] == name]


def check_deployed(results: Results, seeds: int) -> None:
    """Each candidate has this number of seeds, and its export and profile are of the best."""
    for entry in results.entries:
        assert len(entry.repeats) == seeds
        assert entry.trained is not None
        assert entry.artifact is not None
        assert entry.profile is not None
        best = max(trained.performance["val_accuracy"].value for trained in entry.repeats)
        assert entry.trained.performance["val_accuracy"].value == best
        assert [trained.seed for trained in entry.repeats] == list(range(seeds))


@pytest.fixture(scope="module")
def repeated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run with two seeds of each candidate; not to be changed."""
    folder = tmp_path_factory.mktemp("runs") / "repeats"
    with pytest.MonkeyPatch.context() as patch:
        small_run.carry_out(folder, patch, RECIPE)
    return folder


@pytest.mark.slow
def test_two_seeds_are_trained_and_the_best_is_exported(repeated: Path) -> None:
    check_deployed(load(repeated), 2)
    for name in NAMES:
        folder = repeated / "candidates" / f"{name}@32"
        assert (folder / "seed-1" / "train.json").is_file()
        assert not list(folder.glob("seed-*/*/"))
        assert not list(folder.glob("**/training-*.pt")), "no state is left of a finished training"
    assert len(events(repeated, "repeated")) == 4
    ranking = read_record(repeated / "ranking.json", Ranking)
    for row in ranking.rows:
        assert row.repeats == 2
        assert row.performance_sd is not None
        assert row.test_performance_mean is not None
    assert ranking.spent_time_s is not None
    assert ranking.spent_energy_j is not None
    cost = [trained.cost for entry in load(repeated).entries for trained in entry.repeats]
    steps_s = sum(one.duration_s.value or 0.0 for one in cost)
    assert steps_s < (ranking.spent_time_s.value or 0.0)


@pytest.mark.slow
def test_a_bundle_says_how_many_seeds_there_were(repeated: Path) -> None:
    bundles = sorted((repeated / "bundles").glob("*/"))
    assert bundles
    for bundle in bundles:
        manifest = read_record(bundle / "manifest.json", Manifest)
        assert manifest.seeds is not None
        assert manifest.seeds.count == 2
        assert "2 models were trained" in (bundle / "MODEL_CARD.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_auto_repeats_to_its_max_and_exports_the_best(
    repeated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = small_run.copy(repeated, tmp_path / "run")
    monkeypatch.setattr(repeats, "rank", rank_as_unsettled)
    view = Listener()
    small_run.carry_out(folder, monkeypatch, AUTO, view=view)
    results = load(folder)
    check_deployed(results, 3)
    assert [event["seed"] for event in events(folder, "repeated")][4:] == [2, 2]
    assert "max_repeats = 3" in str(events(folder, "repeats")[-1]["reason"])
    assert any("max_repeats = 3" in line for line in view.said)
    fp32 = load_variant("fp32")
    for entry in results.entries:
        assert entry.trained is not None
        assert entry.artifact is not None
        assert entry.artifact.key == export_key(entry.trained, fp32, results.recipe, results.info.revisions)


@pytest.mark.slow
def test_a_run_that_was_killed_in_a_repeat_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = RECIPE.replace("epochs = 2", "epochs = 4").replace(f', "{NAMES[1]}"', "")
    recipe = tmp_path / "killed.toml"
    recipe.write_text(text)
    folder = tmp_path / "run"
    repeat = folder / "candidates" / f"{NAMES[0]}@32" / "seed-1"
    command = [sys.executable, "-m", "pepr_edge", "run", str(recipe), "--out", str(folder), "-q"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while not (repeat / "training-1.pt").is_file():
            assert process.poll() is None, "it was done before it could be killed"
            assert not (repeat / "train.json").is_file()
            time.sleep(0.005)
        process.kill()
    first = (repeat.parent / "train.json").stat().st_mtime_ns
    done = len(read_record(repeat / "training.json", TrainingState).epochs)
    assert done >= 1
    small_run.carry_out(folder, monkeypatch, text)
    check_deployed(load(folder), 2)
    assert (repeat.parent / "train.json").stat().st_mtime_ns == first, "the first seed is not trained again"
    assert not (repeat / "training.json").is_file()
