"""What a training under way leaves in its candidate's folder, read without PyTorch:

training.json     how far it is: written last, so that what it names is whole
training-<n>.pt   all that it takes to go on after epoch n
spent.json        what was spent by about two seconds ago, where that is more than training.json says
probe.json        the cost probe
"""

from __future__ import annotations

import re
from pathlib import Path

from pepr_edge.records import TrainingState
from pepr_edge.run_dir.store import TEMPORARY, is_whole, read_current

TRAINING, SPENT, PROBE = "training.json", "spent.json", "probe.json"
STATE = re.compile(r"training-\d+\.pt")


def state_name(epoch: int) -> str:
    """The file that a training goes on from after an epoch."""
    return f"training-{epoch}.pt"


def resumable(folder: Path, key: str) -> TrainingState | None:
    """The training under way in a candidate's folder if it was made from these inputs and its state is whole."""
    training = read_current(folder / TRAINING, TrainingState, key)
    if training is None or training.state is None:
        return training
    # Only a name that we give ourselves: a record from elsewhere must not point out of the folder.
    ours = training.state == state_name(len(training.epochs)) and training.state_sha256 is not None
    return training if ours and is_whole(folder / training.state, training.state_sha256 or "") else None


def tidy(folder: Path, keep: str | None = None) -> None:
    """Remove the states of earlier epochs, and what a process left that was killed while it wrote."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if (STATE.fullmatch(path.name) or TEMPORARY.fullmatch(path.name)) and path.name != keep:
            path.unlink(missing_ok=True)


def clear(folder: Path) -> None:
    """Remove all of it, once the training is finished."""
    for name in (TRAINING, SPENT):
        (folder / name).unlink(missing_ok=True)
    tidy(folder)
