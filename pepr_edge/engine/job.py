"""The job of a worker, and the steps by which it reports its progress."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pepr_edge.recipe import Recipe
from pepr_edge.records import Candidate, Record

DISK_FULL = 28  # exit status of a worker that found no room on the disk, as errno's ENOSPC

# "screen": write the files of the untrained candidate, to be measured on the device.
# "probe": find out the cost of an epoch.
# "train": train until an epoch, to go on later; export nothing.
# "conclude": take the best epoch of those until an epoch as the result, and export it.
# "complete": train all epochs, and export the result.
# "select_variant": choose a variant of the trained candidate by measuring (autotune).
JobKind = Literal["screen", "probe", "train", "conclude", "complete", "select_variant"]
FIRST_STAGES = {"screen": "first look", "select_variant": "choose"}


class CandidateJob(BaseModel):
    """Work on one candidate. Paths are those of this machine, so a job is never written to a file.

    `until_epoch` is the last epoch of the kinds "train" and "conclude"; None for all others.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: JobKind = "complete"
    candidate: Candidate
    recipe: Recipe
    data: str
    folder: str
    train_key: str
    threads: int
    exclusive: bool
    until_epoch: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _has_its_epoch(self) -> CandidateJob:
        if (self.until_epoch is not None) != (self.kind in ("train", "conclude")):
            raise ValueError(f"until_epoch = {self.until_epoch} in a job of the kind {self.kind!r}")
        return self

    @property
    def stage(self) -> str:
        """Name of the first stage."""
        return FIRST_STAGES.get(self.kind, "train")


class Step(Record):
    """Progress of a worker. `best` is the best validation performance so far; None in the first epoch."""

    stage: str
    done: int
    total: int
    epoch: int = 0
    epochs: int = 0
    best: float | None = None
