"""What all records share: immutable, no unknown keys, no NaN, and the types of their fields."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from pepr_edge.untrusted.documents import name_fault
from pepr_edge.untrusted.redact import redact_paths

Method = Literal["measured", "declared", "counted", "unavailable"]
Split = Literal["train", "val", "test"]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0)]
NonNegative = Annotated[float, Field(ge=0)]


def plain_name(value: str) -> str:
    """A text that becomes a file's name, or a part of one.

    Raises:
        ValueError: no system would take it for one, or it leads elsewhere.
    """
    if fault := name_fault(value):
        raise ValueError(f"expected {fault}")
    return value


FileName = Annotated[str, AfterValidator(plain_name)]
# What went wrong, as a library or a log says it: it goes into reports, and from there to others.
Message = Annotated[str, AfterValidator(redact_paths)]


class Record(BaseModel):
    """Base of all records: immutable, no unknown keys, no NaN or infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def first_fault(fault: ValidationError) -> str:
    """Where and what the first fault of a document is, on one line whatever its keys are."""
    first = fault.errors()[0]
    where = " ".join(".".join(str(part) for part in first["loc"]).split()) or "the file"
    return f"{where}: {first['msg']}"


def other_version(fault: ValidationError) -> object | None:
    """The schema_version of a document that is of another version than this; None where that is not what is wrong with it."""
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
    """One model to be tried: an architecture at an image size, from some initial weights ("pretrained", "scratch" or a file's name)."""

    architecture: FileName
    image_size_px: int
    weights: str = "scratch"
    weights_sha256: Sha256 | None = None
    in_channels: Literal[1, 3]
    num_classes: Annotated[int, Field(ge=2)]

    @property
    def id(self) -> str:
        """Name of the candidate's folder, `<architecture>@<px>`."""
        return f"{self.architecture}@{self.image_size_px}"


class Failure(Versioned):
    """A candidate or a variant that did not get through: the stage, the reason in one line, the end of its log."""

    key: str
    candidate: Candidate
    variant: str | None = None
    stage: str
    reason: Message
    log_tail: tuple[Message, ...] = ()
