"""What a worker is given, and how it says how far it is."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from pepr_edge.recipe import Recipe
from pepr_edge.records import Candidate, Record


class Job(BaseModel):
    """One candidate to be trained and exported. Paths are those of this machine, so a Job is never written to a file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    candidate: Candidate
    recipe: Recipe
    data: str
    folder: str
    train_key: str
    threads: int
    exclusive: bool


class Step(Record):
    """How far a worker is. `best` is the best validation performance so far; None before the first epoch is over."""

    stage: str
    done: int
    total: int
    epoch: int = 0
    epochs: int = 0
    best: float | None = None
