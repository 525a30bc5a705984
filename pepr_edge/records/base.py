"""What all records share: immutable, no unknown keys, no NaN, and the types of their fields."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from pepr_edge.untrusted.documents import json_document, name_fault
from pepr_edge.untrusted.redact import plain_message
from pepr_edge.untrusted.shown import MESSAGE_CHARACTERS, one_line

Method = Literal["measured", "declared", "counted", "unavailable"]
Split = Literal["train", "val", "test"]
# What a label is. The same kinds as in `pepr_edge.tasks`.
TaskKind = Literal["multiclass", "binary", "ordinal", "multilabel"]
# The splits on which a model is evaluated.
EVALUATED_SPLITS: tuple[Split, Split] = ("val", "test")
# Pillow's filters for resizing images.
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0)]
# No time, energy or memory is larger, in SI units; sums of a million stay finite.
MAX_VALUE = 1e18
NonNegative = Annotated[float, Field(ge=0, le=MAX_VALUE)]
R = TypeVar("R", bound="Record")


def plain_name(value: str) -> str:
    """Return a text that becomes a file's name, or a part of one, if it is safe to use as such.

    Raises:
        ValueError: some system would refuse the name, or it leads to another folder.
    """
    fault = name_fault(value)
    if fault:
        raise ValueError(f"expected {fault}")
    return value


FileName = Annotated[str, AfterValidator(plain_name)]
# An error as a library or a log reports it. Folders are removed, because the text goes into reports; so are
# escape sequences, with which libraries colour their messages.
Message = Annotated[str, AfterValidator(plain_message)]


class Record(BaseModel):
    """Base of all records: immutable, no unknown keys, no NaN or infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def replace(self: R, **fields: Any) -> R:
        """Return a copy with other values of some fields, validated (unlike pydantic's `model_copy`)."""
        return type(self).model_validate({**dict(self), **fields})


def parse_record(text: bytes, kind: type[R]) -> R:
    """Return the record in a JSON text.

    Raises:
        ValidationError: its values are none of such a record; see `first_fault` and `other_version`.
        ValueError: it is no JSON that every parser reads alike. The message is one line.
    """
    return kind.model_validate(json_document(text))


def first_fault(fault: ValidationError) -> str:
    """Return place and message of the first error of a document, on one line whatever its keys are."""
    first = fault.errors(include_url=False)[0]
    where = one_line(".".join(str(part) for part in first["loc"])) if first["loc"] else "the file"
    more = f", and {fault.error_count() - 1} more" if fault.error_count() > 1 else ""
    return f"{where}: {one_line(first['msg'], MESSAGE_CHARACTERS)}{more}"


def other_version(fault: ValidationError) -> object | None:
    """Return the document's schema_version if it differs from ours, else None."""
    return next((error["input"] for error in fault.errors() if error["loc"] == ("schema_version",)), None)


class Versioned(Record):
    """A record that is a file of its own."""

    schema_version: Literal[1] = 1


class Quantity(Record):
    """One figure and how it was obtained. The unit is in the name of the field that holds it."""

    value: NonNegative | None
    method: Method
    source: str = ""


class Estimate(Record):
    """A performance with its 95 % interval, on n images of one split."""

    value: float
    ci: tuple[float, float]
    split: Split
    n: int


class Candidate(Record):
    """One model to be tried: an architecture at an image size, with its initial weights.

    `weights` is "pretrained", "scratch" or the name of a file. `interpolation` is the filter that the weights
    expect; None: the recipe names the filter, or the weights expect none.
    """

    architecture: FileName
    image_size_px: int
    weights: str = "scratch"
    weights_sha256: Sha256 | None = None
    interpolation: Interpolation | None = None
    in_channels: Literal[1, 3]
    num_classes: Annotated[int, Field(ge=2)]

    @property
    def id(self) -> str:
        """Name of the candidate's folder, `<architecture>@<px>`."""
        return f"{self.architecture}@{self.image_size_px}"


class Failure(Versioned):
    """failure.json: the stage in which a candidate or a variant failed, the reason, the end of its log."""

    key: str
    candidate: Candidate
    variant: str | None = None
    stage: str
    reason: Message
    log_tail: tuple[Message, ...] = ()
