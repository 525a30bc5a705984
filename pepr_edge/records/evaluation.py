"""Records of `evaluate`: how models do on labelled images of a site, without a trace of a single image.

A count below `MIN_CELL` is hidden: it is None. A group of fewer images is not named at all.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from pepr_edge.records.base import Count, Record, Sha256, Versioned
from pepr_edge.records.decision import Decision
from pepr_edge.records.measurement import DeviceFacts

MIN_CELL = 5
# No metric is outside of [-1, 1], but a mean absolute error of grades, which is below their number.
MetricValue = Annotated[float, Field(ge=-1, le=1e4)]
Name = Annotated[str, Field(max_length=200)]
# A number of images, or None if it is hidden.
Cell = Annotated[int, Field(ge=MIN_CELL)] | None
# A table of a million cells is read in seconds.
MAX_LABELS = 1000
Matrix = Annotated[
    tuple[Annotated[tuple[Cell, ...], Field(max_length=MAX_LABELS)], ...], Field(max_length=MAX_LABELS)
]


class Figure(Record):
    """A metric with its 95 % interval."""

    value: MetricValue
    ci: tuple[MetricValue, MetricValue]


class GroupResult(Record):
    """The images of one group. A metric is None if it is not defined on them, or rests on too few images."""

    group: Name
    n: Annotated[int, Field(ge=MIN_CELL)]
    metrics: dict[Name, Figure | None]


class Subgroups(Record):
    """Performance by the values of one column of the table of images.

    `metric` is the one by which `worst` is the worst group; `worst` is None if the metric is known of fewer
    than two groups, or is the same for all. `hidden_groups` have too few images to be shown, or would let
    others be worked out; `hidden_images` are their images, None if those are few.
    """

    column: Name
    metric: Name
    groups: tuple[GroupResult, ...]
    worst: Name | None = None
    hidden_groups: Count = 0
    hidden_images: Cell = None


class CalibrationResult(Record):
    """How far the probabilities agree with the share of correct decisions.

    `error` is the expected calibration error. A model whose `mean_probability` of the decisions is above the
    share that is correct is too certain.
    """

    error: Figure | None
    mean_probability: Annotated[float, Field(ge=0, le=1)] | None
    share_correct: Annotated[float, Field(ge=0, le=1)] | None


class Referred(Record):
    """Images that the model refers to a person instead of deciding, and how it does on the others."""

    n: Cell
    share: Figure | None
    reasons: dict[Name, Cell]
    metrics_of_others: dict[Name, Figure | None]


class EvaluationResult(Record):
    """How one file of a bundle does on the images of a site.

    Args:
        bundle: name of its folder.
        decision: as stored in the bundle, None in bundles without; all figures are at this decision.
        labels: in the order of the rows and columns of `confusion`.
        n: images with an answer. `unreadable` and `unanswered` ones are beside them.
        metrics: by name, as in the bundle's manifest, so that both can be compared. None: not defined on
            these images, or on fewer than `MIN_CELL`.
        confusion: images by true class (rows) and decision (columns); for several findings an image, such a
            table of two rows for each label: without and with the finding.
        referred: None if the bundle refers no image.
        notes: what a reader must know, in sentences.
    """

    bundle: Name
    artifact_sha256: Sha256
    runtime: Name
    fallback: bool = False
    task: Name
    labels: tuple[Name, ...]
    decision: Decision | None
    n: Annotated[int, Field(ge=MIN_CELL)]
    unreadable: Count = 0
    unanswered: Count = 0
    metrics: dict[Name, Figure | None]
    confusion: Matrix | tuple[Matrix, ...]
    calibration: CalibrationResult
    referred: Referred | None = None
    subgroups: tuple[Subgroups, ...] = ()
    notes: tuple[str, ...] = ()

    def confusion_tables(self) -> list[tuple[tuple[str, ...], Matrix]]:
        """Return each table of `confusion` with the labels of its rows and columns."""
        whole: Any = self.confusion
        if whole and whole[0] and isinstance(whole[0][0], tuple):
            return [((f"no {label}", label), table) for label, table in zip(self.labels, whole, strict=False)]
        return [(self.labels, whole)]


class EvaluationReport(Versioned):
    """evaluate --out: models on the labelled images of one site. Nothing here names an image or a patient.

    `checksum` is the sha256 of all other fields (see `field.report_checksum`), so that a later change is
    noticed.
    """

    kind: Literal["evaluation"] = "evaluation"
    device: DeviceFacts
    results: tuple[EvaluationResult, ...]
    checksum: Sha256 | None = None
