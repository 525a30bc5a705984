"""What a worker is given, and how it says how far it is."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from pepr_edge.recipe import Recipe
from pepr_edge.records import Candidate, Record

DISK_FULL = 28  # exit status of a worker that found no room on the disk, as errno's ENOSPC


class CandidateJob(BaseModel):
    """One candidate to be trained and exported. Paths are those of this machine, so it is never written to a file.

    `until_epoch`: leave the training once so many epochs are done, to go on later, and export nothing; 0: only probe what an epoch costs.
    With `conclude`, take the best of these epochs for the result instead, and export it. None: train all epochs.
    `screening`: train nothing, but write the files of the untrained candidate, to be measured on the device. `choose`: the candidate is
    trained and its float32 file made; climb its ladder of variants.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    candidate: Candidate
    recipe: Recipe
    data: str
    folder: str
    train_key: str
    threads: int
    exclusive: bool
    until_epoch: Annotated[int, Field(ge=0)] | None = None
    conclude: bool = False
    screening: bool = False
    choose: bool = False

    @property
    def stage(self) -> str:
        """What it begins with."""
        return "first look" if self.screening else "choose" if self.choose else "train"


class Step(Record):
    """How far a worker is. `best` is the best validation performance so far; None before the first epoch is over."""

    stage: str
    done: int
    total: int
    epoch: int = 0
    epochs: int = 0
    best: float | None = None
