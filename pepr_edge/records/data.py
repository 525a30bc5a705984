"""Records of the data, and of the run that uses them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from pepr_edge.records.base import (
    Candidate,
    Count,
    Interpolation,
    NonNegative,
    Record,
    Sha256,
    Split,
    TaskKind,
    Versioned,
)
from pepr_edge.records.refer import Colour
from pepr_edge.records.weights import InitialWeights

# What a run spends its time on, in the order of the report.
StageName = Literal[
    "images",
    "search",
    "training",
    "repeats",
    "export",
    "choice of variants",
    "measuring",
    "ranking and report",
    "other",
]

PositiveBy = Literal["recipe", "name", "order"]


class Preprocess(Record):
    """How an image becomes the model's input; see `pepr_edge.images.preprocess`.

    `grey_bits`: the depth by which grey images of more than 8 bits are scaled to 8; None: each by its own.
    """

    channels: Literal[1, 3]
    image_size_px: Annotated[int, Field(ge=8, le=4096)]
    interpolation: Interpolation = "bilinear"
    mean: tuple[Annotated[float, Field(ge=-1e6, le=1e6)], ...]
    std: tuple[Annotated[float, Field(ge=1e-9, le=1e6)], ...]
    scale: Annotated[float, Field(ge=1e-3, le=1e6)] = 255.0
    grey_bits: Annotated[int, Field(ge=8, le=16)] | None = None

    @model_serializer(mode="wrap")
    def _only_with_a_depth(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave `grey_bits` out if there is no such depth, as in manifests of version 0.1."""
        values: dict[str, Any] = dump(self)
        if self.grey_bits is None:
            del values["grey_bits"]
        return values


class SplitInfo(Record):
    """Number of images of one split: the total, and by class in the order of the labels."""

    images: Count
    class_counts: tuple[Count, ...]


class GroupValues(Record):
    """One column of subgroups: the names of its values, and the number of the value of each test image.

    Values of few images have no name of their own here.
    """

    names: tuple[str, ...]
    test: tuple[Count, ...]


class DataInfo(Versioned):
    """A dataset as recorded with everything that was trained on it.

    `majority_baseline` is the accuracy on the test split of a model that always predicts the most frequent
    class of the training split. `grey_bits` is the depth of grey images of more than 8 bits; None without
    any. `skipped_images` could not be read and are in no split. `colour`: the images are all grey, or all
    coloured; None: some of each, or not known. `min_side_px` is the shortest side of any image.
    `positive` is the positive of two classes,
    and `positive_by` says how it was chosen: by the recipe, by its name, or as the second label. Both are
    None for more classes, and in earlier records, where it is the second label. `task` says what a label is;
    None in earlier records, where it is one of the classes. `subgroups` has the values of the test images by
    column.
    """

    name: str
    format: str
    sha256: Sha256
    labels: tuple[str, ...]
    channels: Literal[1, 3]
    fraction: float = 1.0
    grey_bits: Annotated[int, Field(ge=8, le=16)] | None = None
    splits: dict[Split, SplitInfo]
    majority_baseline: float
    skipped_images: Count = 0
    notes: tuple[str, ...] = ()
    colour: Colour | None = None
    min_side_px: Count | None = None
    positive: str | None = None
    positive_by: PositiveBy | None = None
    task: TaskKind | None = None
    subgroups: dict[str, GroupValues] = Field(default={})

    @property
    def kind(self) -> TaskKind:
        """What a label is."""
        by_classes: TaskKind = "binary" if len(self.labels) == 2 else "multiclass"
        return self.task or by_classes

    @property
    def positive_index(self) -> int:
        """Class number of the positive of two classes."""
        return 1 if self.positive is None else self.labels.index(self.positive)

    @property
    def positive_label(self) -> str | None:
        """The positive of two classes; None for more."""
        return self.labels[self.positive_index] if self.kind == "binary" else None


class DataFacts(Record):
    """What a manifest says of the data, beside its name and hash: counts, no image and no file name.

    The fields are those of `DataInfo`.
    """

    format: str
    fraction: float = 1.0
    splits: dict[Split, SplitInfo]
    majority_baseline: float
    skipped_images: Count = 0
    notes: tuple[str, ...] = ()
    positive_by: PositiveBy | None = None


class ImageFacts(Record):
    """What "auto" settings are chosen by. `side_px`: the median of the shorter sides of a sample.

    `imbalance`: training images of the most frequent class per one of the rarest; None if labels are no
    classes, and in a run directory of version 0.1.
    """

    train_images: Count
    classes: Count
    side_px: Count
    imbalance: NonNegative | None = None


class RunSettings(Record):
    """The settings that a recipe leaves to the images ("auto"), as a run chose them.

    None or empty: the recipe says it itself. `image_sizes_px` has the size of each architecture.
    `performance`: the metric of the ranking, if unequal classes ask for another one than the task's.
    """

    facts: ImageFacts
    epochs: Count | None = None
    batch_size: Count | None = None
    learning_rate: NonNegative | None = None
    patience: Count | None = None
    image_sizes_px: dict[str, Count] = Field(default={})
    performance: str | None = None


class RunInfo(Versioned):
    """run.json: the recipe, the data and the candidates of a run directory.

    `key` is the hash of all that the run's result depends on. `revisions` are the stages' revisions that its
    results were made with (see `pepr_edge.run_dir.keys`); empty in a run directory of version 0.1.0. `commit`
    is the commit of the checkout that pepr_edge ran from; None if it was installed from a wheel.
    `stage_times_s` is the wall time, by stage, of the process that finished the run; empty before, and in a
    run directory of version 0.1. `settings` are those that the recipe leaves to the images; None without any.
    `weights` has the initial weights by candidate; empty in a run directory of version 0.1.
    """

    key: str
    recipe: str
    status: Literal["running", "finished"]
    candidates: tuple[Candidate, ...]
    data: DataInfo
    pepr_edge: str
    revisions: dict[str, str] = Field(default={})
    commit: str | None = None
    stage_times_s: dict[StageName, NonNegative] = Field(default={})
    settings: RunSettings | None = None
    weights: dict[str, InitialWeights] = Field(default={})
