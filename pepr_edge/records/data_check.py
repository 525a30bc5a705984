"""Records of a look at a dataset: what was understood of it, and what looks wrong."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pepr_edge.records.base import Count, Record, Split, TaskKind, Versioned

Severity = Literal["error", "warning", "note"]


class Problem(Record):
    """Something that looks wrong with a dataset, or that was decided about it.

    `severity`: an error stops a run; a warning may make its result wrong; a note tells a decision. `count` is
    the number of images, files, names or columns. `examples`, at most three, may be names of patients, so
    they stay on this machine. `remedy` says what was found and what to do; it goes into reports, so it names
    no file.
    """

    kind: Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]
    severity: Severity
    count: Count
    examples: tuple[str, ...] = ()
    remedy: str


class CopiedImage(Record):
    """One image of a set of copies. `label`: its class or its findings."""

    image: str
    split: Split
    label: str


class CopySet(Record):
    """Images that are copies, nearly the same, or turned. `kind` is that of the problem that counts the set.

    A set that counts for two problems, since its images differ in split and in label, is there twice.
    """

    kind: str
    images: tuple[CopiedImage, ...]


class Columns(Record):
    """The columns of a table, or the arrays of a file: those that were used, and those that were not."""

    used: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()


class DataCheck(Versioned):
    """What was understood of a dataset, and its problems.

    `class_counts` and the counts of `splits` are in the order of `labels`; the splits are those of a run.
    `given_splits` are defined by the data itself. `groups` is the number of groups whose images stay in one
    split; None if none are named. `sizes_px`: width and height of the smallest and the largest image.
    `split_images` are the images of each split: with several findings an image, they are not the sum of the
    counts. `task` is the kind of the task. `copies` are all sets of images that problems count; they name
    images, so they stay on this machine. All is empty or None if an error made it unknown.
    """

    name: str
    format: str | None = None
    images: Count = 0
    labels: tuple[str, ...] = ()
    class_counts: tuple[Count, ...] = ()
    splits: dict[Split, tuple[Count, ...]] = Field(default={})
    split_images: dict[Split, Count] = Field(default={})
    task: TaskKind | None = None
    given_splits: tuple[Split, ...] = ()
    groups: Count | None = None
    channels: Literal[1, 3] | None = None
    sizes_px: tuple[tuple[Count, Count], tuple[Count, Count]] | None = None
    columns: Columns = Columns()
    problems: tuple[Problem, ...] = ()
    copies: tuple[CopySet, ...] = ()

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that stop a run."""
        return tuple(problem for problem in self.problems if problem.severity == "error")
