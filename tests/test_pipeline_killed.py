"""A run whose process is killed: the same command goes on."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pepr_edge.records import TrainingState, TrainResult
from pepr_edge.run_dir.store import read_record

RECIPE = """
schema_version = 1
name = "killed"
[device]
name = "a test's machine"
threads = 1
[data]
source = "phantom"
phantom_images = 160
[candidates]
architectures = ["test_efficientnet"]
image_size_px = 64
[train]
epochs = 4
batch_size = 8
[export]
variants = ["fp32"]
keep_performance = 0.0
[budgets]
size_mib = 100.0
[profile]
rules = "quick"
"""
CANDIDATE = Path("candidates") / "test_efficientnet@64"


def epochs_of(folder: Path) -> int:
    """Return the number of epochs of an unfinished training; -1 if there is none."""
    path = folder / CANDIDATE / "training.json"
    return len(read_record(path, TrainingState).epochs) if path.is_file() else -1


def killed_once(folder: Path, recipe: Path, reached: Callable[[], bool]) -> None:
    """Start the run, and kill it with its workers as soon as `reached` is true."""
    # Two jobs, so that this one gets half of the threads: on a busy machine more of them wait for each other.
    command = [
        sys.executable,
        "-m",
        "pepr_edge",
        "run",
        str(recipe),
        "--out",
        str(folder),
        "--jobs",
        "2",
        "-q",
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while not reached():
            assert process.poll() is None, "it was done before it could be killed"
            time.sleep(0.005)
        process.kill()


def trained(folder: Path, recipe: Path) -> tuple[TrainResult, dict[str, bytes]]:
    """Let the run go on until it is trained; return its training and its logits."""
    killed_once(folder, recipe, lambda: (folder / CANDIDATE / "train.json").is_file())
    with np.load(folder / CANDIDATE / "logits.npz") as logits:
        return read_record(folder / CANDIDATE / "train.json", TrainResult), {
            split: logits[split].tobytes() for split in logits
        }


@pytest.mark.slow
def test_a_run_that_was_killed_gives_the_same_result(tmp_path: Path) -> None:
    recipe = tmp_path / "killed.toml"
    recipe.write_text(RECIPE)
    killed = tmp_path / "killed"
    whole = tmp_path / "whole"
    killed_once(killed, recipe, lambda: epochs_of(killed) == 0)
    shutil.copytree(killed, whole)  # so that both train in the same mode, whichever was the fastest
    killed_once(killed, recipe, lambda: epochs_of(killed) >= 2)
    time.sleep(0.5)
    epochs = epochs_of(killed)
    assert 2 <= epochs < 4  # no worker outlives the run
    time.sleep(0.5)
    assert epochs_of(killed) == epochs
    expected, expected_logits = trained(whole, recipe)
    resumed, resumed_logits = trained(killed, recipe)
    assert (resumed.checkpoint_sha256, resumed_logits) == (expected.checkpoint_sha256, expected_logits)
    curves = [
        [epoch.model_dump(exclude={"duration_s", "energy_j"}) for epoch in result.epochs]
        for result in (expected, resumed)
    ]
    assert curves[0] == curves[1]
    assert (resumed.cost.images.value or 0) >= (expected.cost.images.value or 0)
