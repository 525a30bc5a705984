from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from pepr_edge.records import Candidate, Epoch, TrainingState
from pepr_edge.run_dir.store import write_record
from pepr_edge.run_dir.training_files import clear, resumable, tidy
from pepr_edge.train.cost import no_cost

CANDIDATE = Candidate(architecture="test_efficientnet", image_size_px=32, in_channels=1, num_classes=2)
EPOCH = Epoch(epoch=1, train_loss=1, val_loss=1, val_performance=0.5, duration_s=1, energy_j=None)
SHA = hashlib.sha256(b"state").hexdigest()


def put(folder: Path, state: str | None, sha: str | None = SHA, epochs: int = 1) -> TrainingState:
    """Write the record of an unfinished training, and the file that it names."""
    training = TrainingState(
        key="a key",
        candidate=CANDIDATE,
        num_params=3,
        layout="contiguous",
        precision="float32",
        probes=(),
        epochs=(EPOCH,) * epochs,
        epochs_wanted=4,
        best_epoch=1,
        cost=no_cost(),
        state=state,
        state_sha256=sha,
    )
    folder.mkdir(exist_ok=True)
    write_record(folder / "training.json", training)
    if state is not None:
        (folder / state).write_bytes(b"state")
    return training


def test_a_training_resumes_from_a_whole_state(tmp_path: Path) -> None:
    assert resumable(tmp_path, "a key") is None
    assert resumable(tmp_path, put(tmp_path, "training-1.pt").key) == put(tmp_path, "training-1.pt")
    assert resumable(tmp_path, "another key") is None


def test_before_the_first_epoch_there_is_no_state(tmp_path: Path) -> None:
    assert put(tmp_path, None, None, 0) == resumable(tmp_path, "a key")


@pytest.mark.parametrize(
    ("state", "sha", "epochs"),
    [
        ("../training-1.pt", SHA, 1),
        ("training-2.pt", SHA, 1),
        ("training-1.pt", None, 1),
        ("training-1.pt", "0" * 64, 1),
    ],
)
def test_a_training_does_not_resume_from_another_state(
    tmp_path: Path, state: str, sha: str | None, epochs: int
) -> None:
    put(tmp_path / "job", state, sha, epochs)
    assert resumable(tmp_path / "job", "a key") is None


def test_only_files_that_are_no_longer_needed_are_removed(tmp_path: Path) -> None:
    for name in (
        "training-1.pt",
        "training-2.pt",
        ".training-3.pt.9.tmp",
        "training.json",
        "spent.json",
        "probe.json",
        "train.json",
        "log.txt",
    ):
        (tmp_path / name).touch()
    tidy(tmp_path, keep="training-2.pt")
    assert {path.name for path in tmp_path.iterdir()} == {
        "training-2.pt",
        "training.json",
        "spent.json",
        "probe.json",
        "train.json",
        "log.txt",
    }
    clear(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"probe.json", "train.json", "log.txt"}
