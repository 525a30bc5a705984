"""The job of a worker, and what it reports: the steps of its progress, and its end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pepr_edge.recipe import Recipe
from pepr_edge.recipe.settings import ResolvedRecipe
from pepr_edge.records import Candidate, Interpolation, Record
from pepr_edge.run_dir.layout import repeat_folder

DISK_FULL = 28  # exit status of a worker that found no room on the disk, as errno's ENOSPC

# "screen": write the files of the untrained candidate, to be measured on the device.
# "probe": find out the cost of an epoch.
# "train": train until an epoch, to go on later; export nothing.
# "conclude": take the best epoch of those until an epoch as the result, and export it.
# "complete": train all epochs, and export the result.
# "repeat": one of several trainings of the candidate, all epochs or until an epoch; export nothing.
# "export": export the best of these trainings.
# "select_variant": choose a variant of the trained candidate by measuring (autotune).
# "step_costs": measure the training steps of several candidates in turn.
JobKind = Literal[
    "screen", "probe", "train", "conclude", "complete", "repeat", "export", "select_variant", "step_costs"
]
FIRST_STAGES = {
    "screen": "screening",
    "export": "export",
    "select_variant": "choose",
    "step_costs": "cost of training steps",
}
# The kinds that work on a training that is done, in the folder of its candidate.
AFTER_TRAINING: tuple[JobKind, ...] = ("export", "select_variant")
# The kinds for which the initial weights make no difference.
WITHOUT_WEIGHTS: tuple[JobKind, ...] = ("screen", *AFTER_TRAINING)


# Size in pixels, and filter.
ImageKind = tuple[int, Interpolation]


@dataclass(frozen=True)
class CandidateFiles:
    """Files of this machine for the jobs of a run.

    `images` are the folders of prepared images, by size in pixels and filter. `weights` are the files of the
    initial weights, by the candidate's id; one that is trained from scratch has none.
    """

    images: Mapping[ImageKind, Path]
    weights: Mapping[str, Path]

    def images_of(self, candidate: Candidate, recipe: Recipe) -> Path:
        """Return the folder of a candidate's images."""
        return self.images[candidate.image_size_px, recipe.data.filter_for(candidate)]

    def weights_of(self, candidate: Candidate) -> str:
        """Return the path of a candidate's initial weights; empty from scratch."""
        return str(self.weights.get(candidate.id, ""))


class StepCostSubject(BaseModel):
    """A trained candidate whose steps are to be measured: its prepared images, its folder, key and mode."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    candidate: Candidate
    data: str
    folder: str
    key: str
    layout: Literal["contiguous", "channels_last"]
    precision: Literal["float32", "bfloat16", "float16"]
    threads: int


class TeacherJob(BaseModel):
    """What a student learns from: a trained candidate's folder, its prepared images, and its key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: str
    data: str
    train_key: str


class CandidateJob(BaseModel):
    """Work on one candidate. Paths are those of this machine, so a job is never written to a file.

    `weights_file` holds the initial weights; empty if the job needs none. `folder` is that of the candidate;
    of the kind "repeat", that of the repeat. `repeat` is the number of the training that the job makes or
    exports, and `recipe.seed` the seed to train with. `until_epoch` is the last epoch of the kinds "train"
    and "conclude"; None for all others, unless a "repeat" has one.

    The kind "step_costs" works on its `subjects`, the first of which is the job's candidate; its `folder` is
    a temporary one. `teacher` is for a "repeat" that is the training of a student.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: JobKind = "complete"
    candidate: Candidate
    recipe: ResolvedRecipe
    data: str
    weights_file: str = ""
    folder: str
    train_key: str
    threads: int
    exclusive: bool
    until_epoch: Annotated[int, Field(ge=1)] | None = None
    repeat: Annotated[int, Field(ge=0)] = 0
    subjects: tuple[StepCostSubject, ...] = ()
    teacher: TeacherJob | None = None

    @model_validator(mode="after")
    def _has_its_epoch(self) -> CandidateJob:
        is_given = self.until_epoch is not None
        if self.kind != "repeat" and is_given != (self.kind in ("train", "conclude")):
            raise ValueError(f"until_epoch = {self.until_epoch} in a job of the kind {self.kind!r}")
        return self

    @property
    def training_folder(self) -> Path:
        """The folder of the training that the job makes or exports."""
        folder = Path(self.folder)
        return repeat_folder(folder, self.repeat) if self.kind in AFTER_TRAINING else folder

    @property
    def label(self) -> str:
        """Name of the candidate, with the seed if it is trained with several."""
        return f"{self.candidate.id} seed {self.recipe.seed}" if self.kind == "repeat" else self.candidate.id

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


class JobEnd(Record):
    """The end of a job: the exit status of its process, the negative number of a signal if it died of one.

    `stays` is True if the worker waits for the next job.
    """

    status: int
    stays: bool
