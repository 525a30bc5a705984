"""The files of an unfinished training in its candidate's folder, read without PyTorch.

training.json     its progress: written last, so that the files it names are complete
training-<n>.pt   all that is needed to resume after epoch n
spent.json        the cost until about two seconds ago, where that is more than training.json says
probe.json        the cost probe, which stays
"""

from __future__ import annotations

from pathlib import Path

from pepr_edge.records import TrainingState
from pepr_edge.run_dir.layout import SPENT, STATE, TRAINING, UNFINISHED_CANDIDATE_FILE, state_name
from pepr_edge.run_dir.store import is_intact, read_current


def resumable(folder: Path, key: str) -> TrainingState | None:
    """Return the unfinished training of a folder if it has this key and its state file is whole."""
    training = read_current(folder / TRAINING, TrainingState, key)
    if training is None or training.state is None:
        return training
    # Only a name that we give ourselves: a record from elsewhere must not point out of the folder.
    if training.state != state_name(len(training.epochs)) or training.state_sha256 is None:
        return None
    return training if is_intact(folder / training.state, training.state_sha256) else None


def tidy(folder: Path, keep: str | None = None) -> None:
    """Remove the states of earlier epochs, and files that a killed process was still writing."""
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        is_old = STATE.fullmatch(path.name) or UNFINISHED_CANDIDATE_FILE.fullmatch(path.name)
        if is_old and path.name != keep:
            path.unlink(missing_ok=True)


def clear(folder: Path) -> None:
    """Remove all of these files but the cost probe, once the training is finished."""
    for name in (TRAINING, SPENT):
        (folder / name).unlink(missing_ok=True)
    tidy(folder)
